"""A row that could not run is refused, by ``full_clean()`` as by forms; one that has run its course is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.db.models import F
from django.forms import modelform_factory
from django.test import override_settings

from django_jobs import clock, crontab
from django_jobs.beat.validation import problems
from django_jobs.exceptions import InvalidSchedule
from django_jobs.models import PeriodicTask
from django_jobs.models.periodic import Origin
from tests.beat_code.conftest import ADD, ECHO, NOTHING

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def now() -> Any:
    with clock.use(NOW.timestamp):
        yield


def unsaved(**columns: Any) -> PeriodicTask:
    return PeriodicTask(**{"name": "nightly", "task": NOTHING, "schedule": "30 2 * * *", **columns})


@pytest.mark.parametrize(
    ("columns", "field", "expected"),
    [
        ({"task": ""}, "task", "Name a task."),
        ({"task": "tests.app.jobs.nothin"}, "task", "Did you mean 'tests.app.jobs.nothing'?"),
        ({"schedule": "30 25 * * *"}, "schedule", "25"),
        ({"schedule": ""}, "schedule", "There is no schedule."),
        ({"schedule": "0 0 31 2 *"}, "schedule", ""),
        ({"schedule": "at 2020-01-01 00:00"}, "schedule", "This moment has passed."),
        ({"timezone": "Europe/Berlim"}, "timezone", "Europe/Berlim"),
        ({"args": "[1"}, "args", "args is no JSON: "),
        ({"args": "{}"}, "args", "args must be a list in JSON"),
        ({"args": "[" * 100_000}, "args", "args is no JSON: "),
        ({"args": "[NaN]", "task": ECHO}, "args", 'A job carries {"$": "float", "v": "nan"}'),
        ({"kwargs": '{"value": {"x": 1e999}}', "task": ECHO}, "kwargs", "kwargs has a number that JSON has not"),
        ({"args": json.dumps(["x" * 1_048_576]), "task": ECHO}, "args", "MAX_PAYLOAD'] allows 1,048,576. Store"),
        ({"kwargs": json.dumps({"value": "\u00e9" * 200_000}), "task": ECHO}, "kwargs", "1,200,"),
        ({"headers": json.dumps({"x": "x" * 1_048_576})}, "headers", "Store the data"),
        ({"args": '[{"$": "nobody", "v": 1}]', "task": ECHO}, "args", "'nobody', which nobody registered here"),
        ({"args": '[{"$": "decimal", "v": "x"}]', "task": ECHO}, "args", "cannot be rebuilt"),
        ({"args": "[1]", "task": ADD}, "args", "missing a required argument: 'b'"),
        ({"args": "[1]", "kwargs": '{"a": 2, "b": 3}', "task": ADD}, "kwargs", "multiple values"),
        ({"kwargs": '{"c": 2}', "task": ADD}, "kwargs", "unexpected keyword argument 'c'"),
        ({"kwargs": '{"a": 2}', "task": ADD}, "kwargs", "missing a required argument: 'b'"),
        ({"kwargs": '{"valu": 2}', "task": ECHO}, "kwargs", "Did you mean 'value'?"),
        ({"args": "[1, 2, 3]", "task": ADD}, "args", "too many"),
        ({"kwargs": "[]"}, "kwargs", "kwargs must be an object in JSON"),
        ({"headers": "[]"}, "headers", "headers must be an object in JSON"),
        ({"headers": '{"a": 1}'}, "headers", "that of 'a' is not"),
        ({"queue": "a b"}, "queue", "1 to 64 letters"),
        ({"priority": 101}, "priority", "from -100 to 100"),
        ({"expires": 0}, "expires", "1 or more"),
        ({"expires": NOW}, "expires", "is `ends`"),
        ({"jitter": timedelta(hours=1)}, "jitter", "whole seconds"),
        ({"start_deadline": 0}, "start_deadline", "1 or more"),
        ({"jitter": -1}, "jitter", "0 or more"),
        ({"starts": datetime(1, 1, 1, tzinfo=UTC)}, "starts", "from the year 1900 on"),
        ({"starts": datetime(1, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))}, "starts", "from the year 1900 on"),
        ({"ends": datetime(9999, 12, 31, 23, tzinfo=ZoneInfo("America/Lima"))}, "ends", "In UTC no calendar has"),
        ({"starts": NOW, "ends": NOW}, "ends", "before it starts"),
        ({"ends": NOW + timedelta(hours=1)}, "ends", "before its first run"),
        ({"starts": NOW + DAY, "ends": NOW + DAY + timedelta(hours=1)}, "ends", "before its first run"),
    ],
)
def test_what_could_not_run(columns: dict[str, Any], field: str, expected: str):
    row = unsaved(**columns)
    found = problems(row)
    assert list(found) == [field]
    assert expected in found[field]
    with pytest.raises(ValidationError) as raised:
        row.clean_fields()
    assert field in raised.value.message_dict


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"args": "", "kwargs": "", "headers": ""},
        {"schedule": "0 0 29 2 *"},
        {"schedule": "every 15 minutes", "starts": NOW - DAY},
        {"schedule": "at 2026-03-01 05:00", "timezone": "America/Los_Angeles"},
        {"args": '[{"$": "decimal", "v": "1.10"}]', "task": ECHO},
        {"args": "[1]", "kwargs": '{"b": 2}', "task": ADD, "queue": "mail", "priority": -100, "jitter": 0},
        {"starts": NOW - DAY, "ends": NOW + DAY},
        {"starts": datetime(1900, 1, 1, tzinfo=UTC), "ends": datetime(9999, 12, 31, tzinfo=UTC)},
        {"args": '[{"$": "float", "v": "nan"}]', "task": ECHO},
        {"args": json.dumps(["x" * 1_048_000]), "task": ECHO},
    ],
)
def test_what_can_run(columns: dict[str, Any]):
    assert problems(unsaved(**columns)) == {}
    unsaved(**columns).clean_fields()


def test_values_have_the_text_of_what_code_writes():
    row = unsaved(schedule=timedelta(seconds=7), task=ECHO, kwargs={"value": Decimal("1.10")})
    assert (row.schedule, row.kwargs) == ("every 7 seconds", '{"value":{"$":"decimal","v":"1.10"}}')
    assert problems(row) == {}
    row.schedule, row.args = 900, ("x",)
    assert (row.schedule, row.args) == ("every 15 minutes", '["x"]')
    row.schedule = crontab(hour=3, minute=0)
    assert row.schedule == "0 3 * * *"
    with pytest.raises(InvalidSchedule, match="seconds"):
        row.schedule = 0
    with pytest.raises(TypeError, match="kwargs must be a list, a dictionary"):
        row.kwargs = {7: "x"}


@pytest.mark.django_db
def test_queries_take_what_code_writes():
    row = unsaved(schedule=NOW + DAY)
    row.save()
    once = PeriodicTask.objects.filter(schedule=NOW + DAY)
    assert once.update(schedule=7 * DAY, kwargs={"full": True}) == 1
    row.refresh_from_db()
    assert (row.schedule, row.kwargs) == ("every 1 week", '{"full":true}')
    assert PeriodicTask.objects.filter(planned_schedule=F("schedule")).count() == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"enabled": False},
        {"planned_schedule": "at 2020-01-01 00:00"},
        {"origin": Origin.CODE},
    ],
    ids=["off", "planned already", "declared"],
)
def test_a_moment_that_has_passed_may_stay(columns: dict[str, Any]):
    assert problems(unsaved(schedule="at 2020-01-01 00:00", **columns)) == {}


def test_what_has_ended_can_be_described():
    assert problems(unsaved(ends=NOW - DAY, planned_schedule="30 2 * * *")) == {}
    assert problems(unsaved(ends=NOW - DAY, enabled=False)) == {}


def test_without_time_zones_in_the_database():
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        naive = datetime(2026, 3, 1, 14)  # noqa: DTZ001
        assert problems(unsaved(starts=naive, ends=naive + DAY)) == {}
        assert list(problems(unsaved(ends=naive))) == ["ends"]


@pytest.mark.django_db
def test_a_row_whose_name_is_taken_is_refused_with_the_rest():
    unsaved().save()
    with pytest.raises(ValidationError) as raised:
        unsaved(task="gone").full_clean()
    assert list(raised.value.message_dict) == ["task", "name"]


@pytest.mark.django_db
def test_a_form_of_some_fields_judges_these_alone():
    row = unsaved(task="gone")
    row.save()
    form = modelform_factory(PeriodicTask, fields=["schedule", "args"])(
        {"schedule": "nonsense", "args": "[1"}, instance=row
    )
    assert set(form.errors) == {"schedule", "args"}
    form = modelform_factory(PeriodicTask, fields=["schedule"])({"schedule": "@daily"}, instance=row)
    assert form.is_valid(), "its task is not this form's"
