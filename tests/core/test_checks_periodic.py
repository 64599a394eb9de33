"""What the checks say of periodic tasks: of what code declares, and of the rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.checks import Error, run_checks
from django.core.checks import Warning as Caution
from django.db import OperationalError, connection
from django.test import override_settings
from django.utils import timezone

from django_jobs.beat import examination
from django_jobs.beat.sync import sync
from django_jobs.checks import TAG, periodic
from django_jobs.models import PeriodicTask
from tests.beat.conftest import UNREADABLE
from tests.beat_code.conftest import ADD, NOTHING, declaring, edit, entry

ABOUT_ROWS = ("W031", "W032", "W033", "W034", "W035", "W036", "W037", "W038", "W039")


def said(*, deploy: bool = True) -> list[tuple[str, str, str]]:
    """Return number, text and hint of each message about periodic tasks."""
    wanted = {f"{TAG}.{number}": number for number in (*ABOUT_ROWS, "E017")}
    return [
        (wanted[str(found.id)], found.msg, str(found.hint or ""))
        for found in run_checks(tags=[TAG], include_deployment_checks=deploy)
        if found.id in wanted
    ]


def made(name: str = "nightly", **columns: Any) -> PeriodicTask:
    return PeriodicTask.objects.create(**{"name": name, "task": NOTHING, "schedule": "@daily", **columns})


def planned(name: str = "nightly", **columns: Any) -> PeriodicTask:
    """Return a row that beat has planned."""
    return made(name, **{"planned_schedule": "@daily", "planned_enabled": True, **columns})


@pytest.mark.django_db
def test_every_wrong_declaration_is_named_without_a_database(django_assert_num_queries: Any):
    with declaring(one=entry(quue=1), two=entry(task="gone"), three=entry()), django_assert_num_queries(0):
        found = [message for message in run_checks(tags=[TAG]) if message.id == f"{TAG}.E017"]
    assert [type(message) for message in found] == [Error, Error]
    assert "['one'] has no key 'quue'. Did you mean 'queue'?" in found[0].msg
    assert "['two']['task']: No task is called 'gone'." in found[1].msg


@pytest.mark.django_db
def test_a_schedule_that_is_no_dictionary_is_said_once():
    with override_settings(DJANGO_JOBS={"SCHEDULE": ["nightly"]}):
        assert [message.id for message in run_checks(tags=[TAG])] == [f"{TAG}.E002"]
        assert said() == []


@pytest.mark.django_db
def test_all_is_well():
    planned(next_run=timezone.now() + timedelta(hours=1))
    with declaring(hourly=entry(schedule="@hourly")):
        sync()
        assert said() == []


@pytest.mark.django_db
def test_without_deploy_the_rows_are_not_read(django_assert_num_queries: Any):
    made(task="gone")
    with django_assert_num_queries(0):
        assert said(deploy=False) == []


@pytest.mark.django_db
@pytest.mark.parametrize("never_planned", [True, False])
def test_moments_that_nobody_fires(never_planned: bool):
    long_ago = timezone.now() - timedelta(hours=3)
    if never_planned:
        made(created=long_ago)
    else:
        planned(next_run=long_ago)
        planned("newer", next_run=timezone.now() - timedelta(minutes=5))
        planned("in time", next_run=timezone.now() - timedelta(seconds=5))
    planned("off", enabled=False, next_run=long_ago)
    ((number, text, hint),) = said()
    assert number == "W032"
    assert "overdue: 'nightly' for 3 h" in text
    assert text.startswith("One periodic task is " if never_planned else "2 periodic tasks are ")
    assert "manage.py runbeat" in hint


@pytest.mark.django_db
def test_a_row_that_was_made_just_now_is_not_overdue():
    made()
    planned("enabled just now", planned_enabled=False)
    assert said() == []


@pytest.mark.django_db
def test_tasks_that_do_not_exist():
    made(task="gone")
    made("off", task="gone", enabled=False)
    ((number, text, hint),) = said()
    assert (number, "'nightly' (gone)" in text, "'off'" in text) == ("W033", True, False)
    assert "aliases=" in hint


@pytest.mark.django_db
@pytest.mark.parametrize("columns", [{"schedule": "every now and then"}, {"timezone": "Europe/Berlim"}])
def test_rows_that_cannot_be_planned(columns: dict[str, str]):
    made(**columns)
    ((number, text, _),) = said()
    assert (number, "'nightly' (" in text) == ("W035", True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"kwargs": '{"x": 1}'}, "kwargs: These arguments do not fit"),
        ({"kwargs": "{'full': True}"}, "kwargs is no JSON: "),
        ({"args": '["x"]', "task": ADD}, "args: These arguments do not fit"),
        ({"priority": 101}, "priority"),
        ({"queue": "a b"}, "queue"),
    ],
)
def test_jobs_that_cannot_run(columns: dict[str, Any], words: str):
    made(**columns)
    made("off", enabled=False, **columns)
    ((number, text, hint),) = said()
    assert (number, "'nightly' (" in text, words in text, "'off'" in text) == ("W037", True, True, False)
    assert "jobs schedule disable" in hint


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"schedule": "at 2020-01-01 00:00"}, "its moment has passed"),
        ({"ends": datetime(2020, 1, 1, tzinfo=UTC)}, "it has ended"),
    ],
)
def test_moments_that_have_passed(columns: dict[str, Any], words: str):
    planned(
        planned_schedule=columns.get("schedule", "@daily"), next_run=None, planned_ends=columns.get("ends"), **columns
    )
    planned("has run", planned_schedule="at 2020-01-01 00:00", schedule="at 2020-01-01 00:00", next_run=None,
            last_run=timezone.now())  # fmt: skip
    ((number, text, _),) = said()
    assert (number, f"'nightly' ({words})" in text, "has run" in text) == ("W038", True, False)


@pytest.mark.django_db
def test_a_row_that_cannot_be_read():
    made("other", task="gone")
    change, words = UNREADABLE[connection.vendor]
    row = planned(next_run=timezone.now() + timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE django_jobs_periodictask SET {change} WHERE id = %s", [row.pk])
    found = {number: text for number, text, _ in said()}
    assert found["W039"] == f"One periodic task cannot be read: 'nightly' (key {row.pk}: {words})."
    assert "'other' (gone)" in found["W033"], "the others are looked at all the same"


@pytest.mark.django_db
def test_many_are_counted_and_some_are_named():
    for number in range(7):
        made(str(number), task="gone")
    ((_, text, _),) = said()
    assert text.startswith("7 periodic tasks are ")
    assert text.endswith("'4' (gone), and 2 more.")


@pytest.mark.django_db
def test_what_was_never_synced():
    with declaring(nightly=entry()):
        ((number, text, hint),) = said()
        assert (number, "nightly: created" in text, "jobs schedule sync" in hint) == ("W034", True, True)
        sync()
        assert said() == []
        edit(priority=3)
        assert said() == [], "an operator's edit stays"
    with declaring(nightly=entry(description="new")):
        ((number, _, _),) = said()
        assert number == "W034"


@pytest.mark.django_db
def test_a_name_that_the_admin_has():
    made()
    with declaring(nightly=entry()):
        ((number, text, _),) = said()
    assert (number, "'nightly'" in text) == ("W036", True)


@pytest.mark.django_db(transaction=True)
def test_a_missing_table_is_a_warning():
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE django_jobs_periodictask RENAME TO away")
    try:
        found = run_checks(tags=[TAG], include_deployment_checks=True)
    finally:
        with connection.schema_editor() as editor:
            editor.execute("ALTER TABLE away RENAME TO django_jobs_periodictask")
    (message,) = [message for message in found if message.id == f"{TAG}.W031"]
    assert isinstance(message, Caution)
    assert "cannot be asked about periodic tasks" in message.msg
    assert message.hint == "Run manage.py migrate."


@pytest.mark.django_db
@pytest.mark.parametrize(("vendor", "said_here"), [("postgresql", 0), ("mysql", 1)])
def test_a_database_that_is_away_is_said_once(vendor: str, said_here: int, monkeypatch: pytest.MonkeyPatch):
    def away() -> None:
        raise OperationalError("gone away")

    monkeypatch.setattr(examination, "examine", away)
    monkeypatch.setattr(connection, "vendor", vendor)
    assert len(periodic.check_periodic_tasks(None)) == said_here
