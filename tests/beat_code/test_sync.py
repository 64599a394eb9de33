"""Rows follow the code, operators' edits stay, and what the code does not say any more is retired."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from django_jobs import crontab
from django_jobs.beat.sync import Kind, drift, sync
from django_jobs.models import PeriodicTask
from django_jobs.models.periodic import Origin
from django_jobs.serializers import loads
from tests.beat_code.conftest import ECHO, declaring, edit, entry, kinds, row, synced

pytestmark = pytest.mark.django_db


def test_what_is_declared_is_made():
    told = synced(
        nightly=entry(
            task=ECHO,
            schedule=crontab(hour=3, minute=0),
            args=[1],
            queue="mail",
            priority=7,
            headers={"a": "b"},
            expires=timedelta(minutes=5),
            timezone="Europe/Berlin",
            one_off=True,
            starts=datetime(2030, 1, 1, tzinfo=UTC),
            catch_up="skip",
            overlap="skip",
            start_deadline=60,
            jitter=10,
            description="Every night.",
        )
    )
    assert told == ["nightly: created"]
    made = row()
    assert (made.origin, made.task, made.schedule, made.timezone) == ("code", ECHO, "0 3 * * *", "Europe/Berlin")
    assert (json.loads(made.args), json.loads(made.headers)) == ([1], {"a": "b"})
    assert (made.queue, made.priority, made.expires, made.one_off) == ("mail", 7, 300, True)
    assert (made.starts, made.ends) == (datetime(2030, 1, 1, tzinfo=UTC), None)
    assert (made.catch_up, made.overlap, made.start_deadline, made.jitter) == ("skip", "skip", 60, 10)
    assert (made.enabled, made.description) == (True, "Every night.")
    made.full_clean()


def test_a_second_sync_finds_nothing_to_do(django_assert_num_queries: Any):
    synced(nightly=entry(), hourly=entry(schedule="@hourly"))
    with declaring(nightly=entry(), hourly=entry(schedule="@hourly")), django_assert_num_queries(1):
        assert sync() == []


def test_values_that_json_has_not_come_back_as_they_were():
    given = {"day": date(2026, 1, 2), "price": Decimal("1.10"), "every": timedelta(hours=1), "some": {"b", "a", "c"}}
    synced(nightly=entry(task=ECHO, args=[given]))
    (value,) = loads(row().args)
    assert value == given
    assert synced(nightly=entry(task=ECHO, args=[{**given, "some": {"c", "a", "b"}}])) == []


def test_what_nobody_edited_follows_the_code():
    synced(nightly=entry(priority=1))
    assert synced(nightly=entry(schedule="@hourly")) == [
        "nightly: updated: schedule from '30 2 * * *' to '@hourly', priority from 1 to None"
    ]
    assert (row().schedule, row().priority) == ("@hourly", None)


def test_an_edit_stays_while_other_columns_follow():
    synced(nightly=entry(priority=1))
    edit(schedule="0 5 * * *", enabled=False)
    told = synced(nightly=entry(schedule="@hourly", priority=2))
    assert told[0] == "nightly: updated: priority from 1 to 2"
    assert "schedule is '0 5 * * *', the code says '@hourly'" in told[1]
    assert "enabled is False, the code says True" in told[1]
    assert (row().schedule, row().enabled, row().priority) == ("0 5 * * *", False, 2)
    assert drift(row()) == {"schedule": ("@hourly", "0 5 * * *"), "enabled": (True, False)}


def test_an_edit_that_is_taken_back_follows_the_code_again():
    synced(nightly=entry())
    edit(schedule="0 5 * * *")
    synced(nightly=entry())
    edit(schedule="30 2 * * *")
    synced(nightly=entry())
    assert drift(row()) == {}
    synced(nightly=entry(schedule="@hourly"))
    assert row().schedule == "@hourly"


def test_another_spelling_is_no_edit():
    synced(nightly=entry(task=ECHO, args=[[1, 2]], schedule="every 60 minutes"))
    edit(args="[[1,2]]", schedule="every  1 hour", kwargs=" {} ")
    assert synced(nightly=entry(task=ECHO, args=[[1, 2]], schedule="every 60 minutes")) == []


def test_what_is_declared_no_more_is_retired_and_comes_back():
    synced(nightly=entry(), hourly=entry(schedule="@hourly"))
    assert synced(hourly=entry(schedule="@hourly")) == ["nightly: retired: the code does not declare it any more"]
    assert (row().enabled, row().declared, row().origin) == (False, "", Origin.CODE)
    assert synced(hourly=entry(schedule="@hourly")) == []
    assert synced(nightly=entry(schedule="@daily"), hourly=entry(schedule="@hourly")) == [
        "nightly: restored: schedule from '30 2 * * *' to '@daily', enabled from False to True"
    ]
    assert (row().enabled, row().retired) == (True, "")


def test_an_operator_may_go_on_with_what_was_retired():
    synced(nightly=entry())
    synced()
    edit(enabled=True)
    assert synced() == []
    assert row().enabled


@pytest.mark.parametrize("edited", [{"enabled": False}, {"schedule": "0 5 * * *"}, {"priority": 9}])
def test_an_edit_survives_that_its_row_is_retired(edited: dict[str, Any]):
    synced(nightly=entry())
    edit(**edited)
    synced()
    synced(nightly=entry(description="back"))
    assert {name: getattr(row(), name) for name in edited} == edited
    assert row().enabled is edited.get("enabled", True)
    assert row().description == "back"


def test_an_edit_while_it_was_retired_survives_too():
    synced(nightly=entry())
    synced()
    edit(schedule="0 5 * * *", enabled=True)
    synced(nightly=entry())
    assert (row().schedule, row().enabled) == ("0 5 * * *", True)
    synced()
    synced(nightly=entry())
    assert (row().schedule, row().enabled) == ("0 5 * * *", True)


OLD, NEW = entry(schedule="0 1 * * *"), entry(schedule="0 2 * * *", priority=5)


@pytest.mark.parametrize("edited", ["0 1 * * *", "0 2 * * *", "0 3 * * *"], ids=["to the old", "to the new", "else"])
@pytest.mark.parametrize("before", [[OLD], [OLD, NEW], [OLD, NEW, OLD]], ids=["before", "while", "and back"])
def test_a_deployment_that_rolls_loses_no_edit(before: list[dict[str, Any]], edited: str):
    for code in before:
        synced(nightly=code)
    was = row().schedule
    edit(schedule=edited)
    for code in (NEW, OLD, NEW, OLD, NEW):
        synced(nightly=code)
    assert row().schedule == (edited if edited != was else NEW["schedule"])
    assert row().priority == 5


def test_a_deployment_that_rolls_with_a_new_name_loses_no_edit():
    for code in ({"hourly": entry()}, {"hourly": entry(), "nightly": entry()}):
        synced(**code)
    edit(schedule="0 5 * * *")
    for code in ({"hourly": entry()}, {"hourly": entry(), "nightly": entry(schedule="0 6 * * *")}) * 2:
        synced(**code)
    assert (row().schedule, row().enabled) == ("0 5 * * *", True)


def test_what_was_edited_is_remembered_while_it_is_retired():
    for code in (OLD, NEW):
        synced(nightly=code)
    edit(schedule=OLD["schedule"])
    synced(nightly=OLD)  # which says what somebody has written there, and has not decided it
    synced()
    synced(nightly=NEW)
    assert row().schedule == OLD["schedule"]


def test_a_row_of_the_admin_is_left_alone():
    PeriodicTask.objects.create(name="nightly", task=ECHO, args="[1]", schedule="@daily")
    before = PeriodicTask.objects.values().get()
    assert synced(nightly=entry()) == [
        "nightly: conflict: the admin has one of this name, which is left alone; rename one of the two"
    ]
    assert PeriodicTask.objects.values().get() == before
    assert synced() == []


def test_what_has_run_its_one_time_is_no_drift():
    synced(nightly=entry(one_off=True))
    edit(enabled=False)
    assert synced(nightly=entry(one_off=True)) == []
    assert not row().enabled


def test_without_time_zones_in_the_database():
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        given = entry(starts=datetime(2030, 1, 1), ends=datetime(2031, 1, 1, tzinfo=UTC))  # noqa: DTZ001
        synced(nightly=given)
        assert (row().starts, row().ends) == (datetime(2030, 1, 1), datetime(2031, 1, 1, 1))  # noqa: DTZ001
        assert synced(nightly=given) == []
        assert drift(row()) == {}


def test_a_dry_run_changes_nothing_and_says_everything():
    synced(kept=entry(), gone=entry())
    edit("kept", priority=3)
    PeriodicTask.objects.create(name="theirs", task=ECHO, args="[1]", schedule="@daily")
    before = list(PeriodicTask.objects.order_by("pk").values())
    with declaring(kept=entry(description="new"), made=entry(), theirs=entry()):
        told = sync(dry_run=True)
        assert kinds(told) == [
            ("kept", Kind.UPDATED),
            ("kept", Kind.KEPT),
            ("made", Kind.CREATED),
            ("theirs", Kind.CONFLICT),
            ("gone", Kind.RETIRED),
        ]
        assert list(PeriodicTask.objects.order_by("pk").values()) == before
        assert kinds(sync()) == kinds(told)
    assert list(PeriodicTask.objects.order_by("pk").values()) != before


@pytest.mark.parametrize("damaged", ["{}", "[]", "null", "{", '{"values": 7, "edited": []}'])
def test_a_memory_that_somebody_has_damaged_stops_nothing(damaged: str):
    synced(nightly=entry(), gone=entry())
    PeriodicTask.objects.update(declared=damaged, priority=7)
    synced(nightly=entry())
    kept, retired = PeriodicTask.objects.get(name="nightly"), PeriodicTask.objects.get(name="gone")
    assert (kept.priority, kept.enabled, retired.enabled) == (7, True, False)
    assert drift(kept)["priority"] == (None, 7)
