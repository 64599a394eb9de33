"""Rows that SQL has damaged: they stop no others, are said in words, and go on when they are corrected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError, connections
from django.test import override_settings

from django_jobs.beat import damage, rows
from django_jobs.beat.examination import Trouble, examine
from django_jobs.beat.sync import Kind, sync
from django_jobs.envelope import decode
from django_jobs.management.beating import prepare_beat
from django_jobs.models import PeriodicTask
from tests.beat.conftest import UNREADABLE, MakeRow, fire, runs_of, waiting
from tests.operate.conftest import run_jobs
from tests.worker.conftest import wait_for

pytestmark = pytest.mark.usefixtures("beat_settings")
only_database = pytest.mark.parametrize("beat_settings", ["database"], indirect=True)

#: What SQL may write into a row, and no model can read, or write back.
DAMAGES = {
    "postgres": (
        "total_runs = 9223372036854775807",
        "ends = 'infinity'",
        "starts = '-infinity'",
        "created = '-infinity'",
        "next_run = '-infinity'",
        "last_run = 'infinity'",
        "ends = '12000-01-01'",
        "next_run = '0044-03-15 BC'",
    ),
    "mariadb": (
        "total_runs = 9223372036854775807",
        "last_job = 'garbage'",
        "enabled = 2",
        "starts = '0000-00-00 00:00:00'",
        "created = '0000-00-00 00:00:00'",
        "next_run = '0000-00-00 00:00:00'",
    ),
    "sqlite": (
        "total_runs = 9223372036854775807",
        "total_runs = 'abc'",
        "last_job = 'garbage'",
        "starts = '2026-02-30 10:00:00'",
        "starts = 'garbage'",
        "created = 'garbage'",
        "next_run = '2026-02-30 10:00:00'",
        "next_run = 1",
        "description = CAST(x'ff' AS TEXT)",
    ),
}
CASES = [(alias, change) for alias, changes in DAMAGES.items() for change in changes]
#: How UNREADABLE is corrected. What is no part of the plan would count at the next look, an hour later.
CORRECTED = {
    "postgresql": "ends = NULL",
    "mysql": "created = '2026-01-01', planned_schedule = ''",
    "sqlite": "ends = NULL",
}
Break = Callable[[PeriodicTask], str]


def fired_rows() -> list[str]:
    """Return the rows of which the broker has jobs."""
    return [decode(found.body, job_id=found.id, queue="default").headers["periodic_task"] for found in waiting()]


def change_by_sql(alias: str, row: PeriodicTask, change: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"UPDATE django_jobs_periodictask SET {change} WHERE id = %s", [row.pk])


@pytest.fixture
def damaged(alias: str) -> Break:
    """Return a function that makes a row unreadable, and returns what is said of it."""

    def make(row: PeriodicTask) -> str:
        change, said = UNREADABLE[connections[alias].vendor]
        change_by_sql(alias, row, change)
        return said

    return make


# Beat


@pytest.mark.parametrize(("alias", "change"), CASES, indirect=["alias"])
def test_a_row_that_nobody_can_read_or_write_stops_nobody(alias: str, make_row: MakeRow, change: str) -> None:
    bad = make_row("bad", due=5)
    for number in range(3):
        make_row(f"good {number}")
    change_by_sql(alias, bad, change)
    fire(alias)
    fire(alias)
    fired = fired_rows()
    assert sorted(name for name in fired if name != "bad") == [f"good {number}" for number in range(3)]
    # Some of it is read as something else, and then it just runs.
    refused = runs_of(alias, periodic_task=bad.pk, outcome="refused")
    assert fired.count("bad") + len(refused) == 1
    assert all(run.detail for run in refused)
    assert fire(alias).rows == 0, "it is not looked at again and again"


def test_a_row_is_set_aside_in_words_and_goes_on_when_it_is_corrected(
    alias: str, make_row: MakeRow, damaged: Break, caplog: pytest.LogCaptureFixture
) -> None:
    bad = make_row("bad", due=5, schedule="every second")
    said = damaged(bad)
    fire(alias)
    (run,) = runs_of(alias)
    assert run.detail == f"The row with the key {bad.pk} cannot be read: {said}. Correct it by SQL."
    assert f"The periodic task with the key {bad.pk} cannot be used as it is: {run.detail}" in caplog.text
    change_by_sql(alias, bad, CORRECTED[connections[alias].vendor])
    wait_for(lambda: fire(alias).rows == 0 and runs_of(alias, outcome="sent"), what="a run of the corrected row")
    assert len(runs_of(alias, outcome="refused")) == 1
    bad.refresh_from_db()
    assert bad.wake == bad.next_run
    assert bad.next_run is not None
    assert bad.next_run - datetime.now(UTC) < timedelta(seconds=2)


def test_a_damaged_row_that_is_disabled_is_left_in_peace(alias: str, make_row: MakeRow, damaged: Break) -> None:
    bad = make_row("bad", due=5, enabled=False)
    damaged(bad)
    change_by_sql(alias, bad, "schedule = 'every minute'")
    fire(alias)
    assert runs_of(alias) == []
    assert fire(alias).rows == 0
    assert rows.look(alias) is None


@only_database
@pytest.mark.parametrize(
    ("alias", "change"),
    [("postgres", "next_run = 'infinity'"), ("sqlite", "next_run = 'never'")],
    indirect=["alias"],
)
def test_a_next_run_that_never_comes_does_not_keep_beat_busy(alias: str, make_row: MakeRow, change: str) -> None:
    change_by_sql(alias, make_row("bad"), change)
    outlook = rows.look(alias)
    assert outlook is not None
    assert outlook.seconds == 1.0
    make_row("good", due=-600)
    assert fire(alias).rows == 0


def test_what_beat_itself_has_noted_is_forgotten_when_it_is_damaged(alias: str, make_row: MakeRow) -> None:
    change = {"postgresql": "last_run = 'infinity'"}.get(connections[alias].vendor, "last_job = 'garbage'")
    bad = make_row("bad", due=5, schedule="every second")
    change_by_sql(alias, bad, change)
    fire(alias)
    assert [run.outcome for run in runs_of(alias)] == ["refused"]
    wait_for(lambda: fire(alias).rows == 0 and runs_of(alias, outcome="sent"), what="its next run")


def test_what_cannot_even_be_set_aside_stops_nobody(
    alias: str, make_row: MakeRow, damaged: Break, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    damaged(make_row("bad", due=5))
    make_row("good")

    def refuse(*args: Any) -> bool:
        raise DataError("the database does not take it")

    monkeypatch.setattr(rows, "set_aside", refuse)
    fire(alias)
    assert fired_rows() == ["good"]
    assert "cannot be used, nor be set aside" in caplog.text


# Everything else that reads rows


def test_rows_are_read_without_those_that_cannot_be(alias: str, make_row: MakeRow, damaged: Break) -> None:
    made = [make_row(f"row {number}") for number in range(7)]
    said, *_ = [damaged(made[number]) for number in (0, 3, 4)]
    sound, broken = damage.read(PeriodicTask.objects.using(alias).order_by("-name"))
    assert [row.name for row in sound] == ["row 6", "row 5", "row 2", "row 1"]
    assert [row.name for row in broken] == ["row 4", "row 3", "row 0"]
    assert str(broken[-1]) == f"'row 0' (key {made[0].pk}: {said})"
    sound, broken = damage.read(PeriodicTask.objects.using(alias).order_by("name")[2:5])
    assert ([row.name for row in sound], [row.name for row in broken]) == (["row 2"], ["row 3", "row 4"])
    assert damage.find(alias, made[1].pk) is None
    found = damage.find(alias, made[0].pk)
    assert found is not None
    assert (found.name, found.why) == ("row 0", said)


@only_database
@pytest.mark.parametrize("alias", ["sqlite"], indirect=True)
def test_a_name_that_is_no_text(alias: str, make_row: MakeRow) -> None:
    bad = make_row("bad")
    change_by_sql(alias, bad, "name = CAST(x'ff' AS TEXT)")
    _, (broken,) = damage.read(PeriodicTask.objects.using(alias))
    assert broken.name == f"key {bad.pk}"
    assert broken.broken.keys() == {"name"}


@only_database
def test_other_errors_are_not_taken_for_damage(alias: str) -> None:
    assert not damage.is_unreadable(OperationalError("the server has gone"))
    assert not damage.is_unreadable(KeyError("x"))


@only_database
def test_the_code_is_followed_by_all_other_rows(
    alias: str, make_row: MakeRow, damaged: Break, beat_settings: dict[str, Any]
) -> None:
    entries = {name: {"task": "tests.app.jobs.nothing", "schedule": "0 3 * * *"} for name in ("a", "b")}
    with override_settings(DJANGO_JOBS=beat_settings | {"SCHEDULE": entries}):
        sync()
        said = damaged(PeriodicTask.objects.using(alias).get(name="a"))
    entries["b"]["schedule"] = "0 4 * * *"
    with override_settings(DJANGO_JOBS=beat_settings | {"SCHEDULE": entries}):
        changes = prepare_beat()
        assert [(change.name, change.kind) for change in changes] == [("a", Kind.UNREADABLE), ("b", Kind.UPDATED)]
        assert str(changes[0]) == f"a: unreadable: {said}; correct it by SQL"
        assert [change.kind for change in sync()] == [Kind.UNREADABLE]
    assert PeriodicTask.objects.using(alias).get(name="b").schedule == "0 4 * * *"
    with override_settings(DJANGO_JOBS=beat_settings):
        assert [(change.name, change.kind) for change in sync()] == [("a", Kind.UNREADABLE), ("b", Kind.RETIRED)]


@only_database
def test_operators_are_told(alias: str, make_row: MakeRow, damaged: Break) -> None:
    make_row("good", due=-600)
    bad = make_row("bad", due=600)
    said = damaged(bad)
    advice = f"{said}, which cannot be read: correct the row with the key {bad.pk} by SQL"
    listed = {line.split()[0]: line for line in run_jobs("schedule", "list").out.splitlines()}
    assert listed.keys() == {"name", "good", "bad"}
    assert advice in listed["bad"]
    found = {row["name"]: row for row in run_jobs("schedule", "list", "--json").document}
    assert found["bad"].keys() == found["good"].keys()
    assert found["bad"]["problems"] == {said.partition(" ")[0]: advice}
    coming = run_jobs("schedule", "next")
    assert (coming.code, "  good" in coming.out) == (0, True)
    assert f"'bad' (key {bad.pk}: {said}) cannot be read." in coming.out
    for action in ("next", "run", "enable"):
        answer = run_jobs("schedule", action, "bad")
        assert (answer.code, advice in answer.err) == (1, True), action


@only_database
def test_a_damaged_row_can_be_disabled(alias: str, make_row: MakeRow, damaged: Break) -> None:
    bad = make_row("bad", due=5)
    damaged(bad)
    answer = run_jobs("schedule", "disable", "bad")
    assert (answer.code, answer.out) == (0, "bad: disabled.\n")
    fire(alias)
    assert runs_of(alias) == []
    assert fire(alias).rows == 0
    (line,) = [line for line in run_jobs("schedule", "list").out.splitlines() if line.startswith("bad")]
    assert "disabled" in line


@only_database
def test_the_doctor_names_them(alias: str, make_row: MakeRow, damaged: Break) -> None:
    make_row("good", due=-600)
    bad = make_row("bad", due=600)
    said = damaged(bad)
    found = [one for one in examine() if one.trouble is Trouble.DAMAGED]
    assert [one.text for one in found] == [f"One periodic task cannot be read: 'bad' (key {bad.pk}: {said})."]
    assert "in the table django_jobs_periodictask." in found[0].hint
