"""One moment becomes one job, in one transaction, on every database and with every kind of broker."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import InterfaceError, OperationalError, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_jobs import clock, dispatch, signals
from django_jobs.beat import announcing, firing, rows
from django_jobs.beat.firing import Fired
from django_jobs.brokers import get_broker
from django_jobs.envelope import Job, decode
from django_jobs.identifiers import derived_id
from django_jobs.middleware import Middleware
from django_jobs.models import JobResult, PeriodicRun, PeriodicTask
from django_jobs.models.outbox import OutboxJob
from django_jobs.models.queue import DEAD, QueuedJob
from tests.beat.conftest import LATE, MakeRow, fire, runs_of, waiting

pytestmark = pytest.mark.usefixtures("beat_settings")


def jobs_in(queue: str = "default") -> list[Job]:
    return [decode(found.body, job_id=found.id, queue=queue) for found in waiting(queue)]


def reloaded(row: PeriodicTask) -> PeriodicTask:
    return PeriodicTask.objects.using(row._state.db).get(pk=row.pk)


def make_due_again(row: PeriodicTask, seconds: float) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    PeriodicTask.objects.using(row._state.db).filter(pk=row.pk).update(next_run=moment)


# What a job is made of


def test_a_moment_becomes_a_job(alias: str, make_row: MakeRow) -> None:
    row = make_row(due=5, task="tests.app.jobs.add", args="[1, 2]", headers='{"team": "blue"}', priority=7,
                   expires=600)  # fmt: skip
    due = row.next_run
    assert due is not None
    fired = fire(alias)
    assert [run.outcome for run in fired.runs] == ["sent"]
    (job,) = jobs_in()
    assert job.id == derived_id(clock.to_ms(due), str(row.pk), "row", due.isoformat())
    assert (job.task, job.args, job.kwargs, job.priority) == ("tests.app.jobs.add", (1, 2), {}, 7)
    assert job.headers == {"team": "blue", "periodic_task": "row", "scheduled_for": due.isoformat()}
    assert job.eta_ms == clock.to_ms(due)
    assert job.expires_ms == clock.to_ms(due) + 600_000
    (run,) = runs_of(alias)
    assert (run.due, run.outcome, str(run.job_id), run.missed) == (due, "sent", job.id, 0)
    assert timedelta(seconds=5) <= run.lateness < timedelta(seconds=30)
    row = reloaded(row)
    assert (row.next_run, row.last_run, str(row.last_job), row.total_runs) == (
        due + timedelta(hours=1), due, job.id, 1,
    )  # fmt: skip
    assert fire(alias).rows == 0
    assert len(jobs_in()) == 1


def test_routes_and_options_of_the_task_apply(alias: str, make_row: MakeRow, beat_settings: dict[str, Any]) -> None:
    with override_settings(DJANGO_JOBS=beat_settings | {"TASKS": {"tests.app.*": {"queue": "routed", "priority": 3}}}):
        make_row("its own", queue="mail")
        make_row("the task's")
        fire(alias)
        assert [job.priority for job in jobs_in("mail")] == [3]
        assert [job.headers["periodic_task"] for job in jobs_in("routed")] == ["the task's"]


def test_arguments_travel_as_they_stand(alias: str, make_row: MakeRow) -> None:
    value = {"$": "date", "v": "2026-03-01"}
    make_row(task="tests.app.jobs.echo", kwargs=json.dumps({"value": value}))
    fire(alias)
    (job,) = jobs_in()
    assert job.kwargs == {"value": date(2026, 3, 1)}


def test_jitter_is_in_the_eta(alias: str, make_row: MakeRow) -> None:
    row = make_row(jitter=3600)
    assert row.next_run is not None
    due_ms = clock.to_ms(row.next_run)
    fire(alias)
    (job,) = jobs_in()
    assert job.eta_ms is not None
    assert due_ms < job.eta_ms < due_ms + 3_600_000


# Isolation of the bad ones


class Moody(Middleware):
    """Raises for some, drops others."""

    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        name = job.headers["periodic_task"]
        if name.startswith("raises"):
            raise RuntimeError("not today")
        if not name.startswith("dropped"):
            call_next(job)


@pytest.mark.parametrize("moody", [False, True])
def test_a_bad_row_never_stops_the_others(
    alias: str, make_row: MakeRow, beat_settings: dict[str, Any], moody: bool
) -> None:
    bad = {
        "unknown": ({"task": "tests.app.jobs.noting"}, "No task is called 'tests.app.jobs.noting'. Did you mean"),
        "arguments": ({"task": "tests.app.jobs.add", "args": "[1]"}, "missing a required argument: 'b'"),
        "json": ({"args": "[1"}, "Expecting"),
        "list": ({"args": "7"}, "args of list must be a list in JSON, not 7."),
        "object": ({"kwargs": "[]"}, "kwargs of object must be an object in JSON, not []."),
        "headers": ({"headers": '{"a": 1}'}, "headers= takes a dictionary of strings"),
        "queue": ({"queue": "no queue"}, "queue"),
        "size": ({"task": "tests.app.jobs.echo", "args": json.dumps(["x" * 2_000_000])}, "bytes large"),
        "schedule": ({"schedule": "62 * * * *"}, "62"),
        "zone": ({"timezone": "Mars/Olympus"}, "'Mars/Olympus' is no IANA time zone"),
    }
    if moody:
        bad |= {"raises": ({}, "not today"), "dropped": ({}, "A middleware has not let it pass.")}
    for name, (fields, _) in bad.items():
        make_row(name, **fields)
    for number in range(5):
        make_row(f"good {number}")
    given = beat_settings | ({"MIDDLEWARE": [f"{__name__}.Moody"]} if moody else {})
    with override_settings(DJANGO_JOBS=given):
        fire(alias)
    assert sorted(job.headers["periodic_task"] for job in jobs_in()) == [f"good {number}" for number in range(5)]
    found = {run.periodic_task.name: run for run in runs_of(alias, outcome="refused")}
    assert found.keys() == bad.keys()
    for name, (_, said) in bad.items():
        assert said in found[name].detail
        assert found[name].job_id is None
    rows_after = PeriodicTask.objects.using(alias).all()
    assert all(row.next_run is not None and row.next_run > datetime.now(UTC) for row in rows_after)
    assert fire(alias).rows == 0


class Unsayable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


ERRORS: dict[str, BaseException] = {
    "nul": ValueError("a\0b"),
    "surrogate": ValueError("a\ud800b"),
    "emoji": ValueError("no \U0001f600"),
    "long": ValueError("x" * 5_000_000),
    "another database": OperationalError("the other database is away"),
    "another connection": InterfaceError("closed"),
    "unsayable": Unsayable(),
    "exit": SystemExit(1),
}


class Raising(Middleware):
    """Raises what the name of the row says."""

    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        if job.headers["periodic_task"] in ERRORS:
            raise ERRORS[job.headers["periodic_task"]]
        call_next(job)


def test_an_error_in_whatever_words_stops_nobody_else(
    alias: str, make_row: MakeRow, beat_settings: dict[str, Any]
) -> None:
    for name in (*ERRORS, "good"):
        make_row(name)
    with override_settings(DJANGO_JOBS=beat_settings | {"MIDDLEWARE": [f"{__name__}.Raising"]}):
        fire(alias)
    assert [job.headers["periodic_task"] for job in jobs_in()] == ["good"]
    refused = {run.periodic_task.name: run.detail for run in runs_of(alias, outcome="refused")}
    assert refused.keys() == ERRORS.keys()
    assert refused["nul"] == "a\\x00b"
    assert refused["another database"] == "the other database is away"
    assert refused["unsayable"] == "Unsayable"
    assert refused["exit"] == "SystemExit(1)"
    assert len(refused["long"]) == firing.MOST_WORDS


def test_what_the_database_refuses_stops_nobody(alias: str, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL takes no NUL in a text, and after an error nothing more in the transaction."""
    real = dispatch.send

    def send(jobs: list[Job], **options: Any) -> Any:
        sent = real(jobs, **options)
        if any(job.headers["periodic_task"] == "bad" for job in jobs):
            with connections[alias].cursor() as cursor:
                cursor.execute("INSERT INTO django_jobs_knownqueue (name, paused) VALUES (NULL, NULL)")
        return sent

    monkeypatch.setattr(dispatch, "send", send)
    for name in ("a", "bad", "c"):
        make_row(name)
    fire(alias)
    assert {run.periodic_task.name: run.outcome for run in runs_of(alias)} == {
        "a": "sent",
        "bad": "refused",
        "c": "sent",
    }
    assert sorted(job.headers["periodic_task"] for job in jobs_in()) == ["a", "c"]


def test_a_moment_that_comes_again_is_not_run_again(alias: str, make_row: MakeRow) -> None:
    """The clock of the database was set back, or somebody has moved the row back by hand."""
    row = make_row(due=3)
    other = make_row("other", due=2, schedule="at 2090-01-01")
    fire(alias)
    assert len(jobs_in()) == 2
    PeriodicTask.objects.using(alias).update(next_run=row.next_run)
    fired = fire(alias)
    assert fired.rows == 2
    assert [run.periodic_task.pk for run in fired.runs] == [other.pk]  # its moment is another one
    assert len(runs_of(alias, periodic_task=row)) == 1
    assert len(jobs_in()) == 3


def test_a_commit_that_fails_leaves_nothing(alias: str, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    row = make_row()

    def broken(*args: Any) -> None:
        raise OperationalError("the server has gone")

    with monkeypatch.context() as patch:
        patch.setattr(rows, "update", broken)
        with pytest.raises(OperationalError):
            fire(alias)
    assert runs_of(alias) == []
    assert not OutboxJob.objects.using(alias).exists()
    assert jobs_in() == []
    assert reloaded(row).next_run == row.next_run
    assert len(fire(alias).runs) == 1


# Policies, where the database decides


def test_overlap_waits_for_the_end_of_the_last_job(alias: str, make_row: MakeRow) -> None:
    row = make_row(due=10, overlap="skip")
    other = make_row("other", due=10)
    assert [run.outcome for run in fire(alias).runs] == ["sent", "sent"]
    for one in (row, other):
        make_due_again(one, 5)
    assert {run.periodic_task.name: run.outcome for run in fire(alias).runs} == {"row": "skipped", "other": "sent"}
    assert reloaded(row).total_runs == 1
    # Its end is recorded: in the one transaction that takes it out of these tables.
    OutboxJob.objects.using(alias).all().delete()
    QueuedJob.objects.using(alias).update(state=DEAD)
    make_due_again(row, 1)
    assert [run.outcome for run in fire(alias).runs] == ["sent"]


def test_a_one_off_is_disabled_by_its_run(alias: str, make_row: MakeRow) -> None:
    row = make_row(one_off=True)
    refused = make_row("refused", one_off=True, task="no.such.task")
    fire(alias)
    row, refused = reloaded(row), reloaded(refused)
    assert (row.enabled, row.next_run, row.wake) == (False, None, None)
    assert refused.enabled
    assert refused.next_run is not None
    PeriodicTask.objects.using(alias).filter(pk=row.pk).update(enabled=True)
    assert [run.periodic_task.name for run in fire(alias).runs] == []
    assert reloaded(row).next_run is not None


def test_many_missed_moments_are_sent_in_their_order(alias: str, make_row: MakeRow) -> None:
    make_row("a", due=20, catch_up="all", schedule="every 4 seconds")
    make_row("b", due=19, catch_up="all", schedule="every 4 seconds")
    fire(alias)
    due = [job.headers["scheduled_for"] for job in jobs_in()]
    assert len(due) >= 10
    assert due == sorted(due)


# Any write counts


@pytest.mark.parametrize(
    "change",
    [{"schedule": "every 5 minutes"}, {"timezone": "Asia/Tokyo"}, {"enabled": False},
     {"ends": datetime(2090, 1, 1, tzinfo=UTC)}, {"starts": datetime(2020, 1, 1, tzinfo=UTC)}],
)  # fmt: skip
def test_any_write_counts_at_the_next_look(alias: str, make_row: MakeRow, change: dict[str, Any]) -> None:
    row = make_row(due=-1000)
    outlook = rows.look(alias)
    assert outlook is not None
    assert 900 < outlook.seconds < 1001
    PeriodicTask.objects.using(alias).filter(pk=row.pk).update(**change)
    fired = fire(alias)
    assert (fired.rows, list(fired.runs)) == (1, [])
    row = reloaded(row)
    assert row.wake == row.next_run
    assert fire(alias).rows == 0
    assert (row.next_run is None) == (change == {"enabled": False})


def test_a_new_row_is_planned_and_fired_at_once(alias: str) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1, seconds=-2)
    row = PeriodicTask.objects.using(alias).create(
        name="new", task="tests.app.jobs.nothing", schedule="every second", created=hour_ago, catch_up="one"
    )
    fired = fire(alias)
    assert [run.outcome for run in fired.runs] == ["sent"]
    row = reloaded(row)
    assert row.next_run is not None
    assert row.next_run > datetime.now(UTC) - timedelta(seconds=5)


@pytest.mark.parametrize("beat_settings", ["database"], indirect=True)
def test_without_time_zones(alias: str) -> None:
    """Without USE_TZ rows have moments of the project's own zone."""
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
        connections[alias].close()
        local = datetime.now(UTC).astimezone(ZoneInfo("Asia/Tokyo")).replace(tzinfo=None)
        row = PeriodicTask.objects.using(alias).create(
            name="naive", task="tests.app.jobs.nothing", schedule="* * * * *", created=local - timedelta(minutes=3)
        )
        (run,) = fire(alias).runs
        row = reloaded(row)
        assert (run.outcome, run.missed) in {("sent", 2), ("sent", 3)}
        assert row.next_run is not None
        assert timedelta(seconds=-1) < row.next_run - local < timedelta(seconds=61)
        assert row.last_run == row.next_run - timedelta(minutes=1)
        assert fire(alias).rows == 0
        assert firing.fire_now(row).outcome == "sent"
        assert rows.prune(alias, timedelta(days=1)) == 0
        assert abs(runs_of(alias)[0].fired - local) < timedelta(minutes=1)
        connections[alias].close()


# By hand


def test_run_now_is_a_run_of_its_own(alias: str, make_row: MakeRow) -> None:
    row = make_row(due=-600, queue="mail", priority=4, headers='{"a": "b"}', expires=60, enabled=False, jitter=60)
    run = firing.fire_now(row, user="ada")
    (job,) = jobs_in("mail")
    assert (run.by_hand, run.outcome, str(run.job_id), run.detail) == (True, "sent", job.id, "Sent by ada.")
    assert (job.priority, job.headers["a"], job.eta_ms) == (4, "b", None)
    assert job.expires_ms == clock.to_ms(run.due) + 60_000
    after = reloaded(row)
    assert (after.total_runs, str(after.last_job), after.next_run, after.enabled) == (1, job.id, row.next_run, False)
    second = firing.fire_now(row)
    assert second.job_id != run.job_id
    assert len(runs_of(alias, by_hand=True)) == 2


def test_run_now_of_what_cannot_run_says_why(alias: str, make_row: MakeRow) -> None:
    run = firing.fire_now(make_row(due=-600, task="no.such.task"))
    assert (run.outcome, run.job_id) == ("refused", None)
    assert "No task is called 'no.such.task'." in run.detail
    assert [run.outcome for run in runs_of(alias)] == ["refused"]


def test_run_now_joins_the_transaction_of_its_caller(alias: str, make_row: MakeRow) -> None:
    row = make_row(due=-600)
    with transaction.atomic(alias):
        firing.fire_now(row)
        transaction.set_rollback(True, using=alias)
    assert runs_of(alias) == []
    assert jobs_in() == []


# Signals and log lines


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    told: list[tuple[str, dict[str, Any]]] = []
    receivers = {
        name: lambda sender, name=name, **kwargs: told.append((name, {"sender": sender, **kwargs}))
        for name in ("periodic_task_fired", "beat_late")
    }
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    yield told
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


def test_signals_and_one_line_about_being_late(
    alias: str,
    make_row: MakeRow,
    heard: list[tuple[str, dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announcing, "_lateness", announcing._Lateness())
    in_time, late = make_row("in time", due=1), make_row("late", due=100)
    with caplog.at_level("WARNING", "django_jobs.beat"):
        fire(alias)
        make_due_again(late, 99)
        fire(alias)
    assert [(name, told["periodic_task"].name) for name, told in heard] == [
        ("periodic_task_fired", "late"), ("periodic_task_fired", "in time"), ("beat_late", "late"),
        ("periodic_task_fired", "late"), ("beat_late", "late"),
    ]  # fmt: skip
    said = heard[2][1]
    assert said["due"] == late.next_run
    assert timedelta(seconds=100) <= said["lateness"] < timedelta(seconds=150)
    assert said["sender"].name == "tests.app.jobs.nothing"
    assert heard[1][1]["run"].periodic_task == in_time
    lines = [record.getMessage() for record in caplog.records]
    assert [
        line for line in lines if line.startswith("Beat is late: 1 runs, the worst of them that of 'late'")
    ] == lines


@pytest.mark.parametrize(("zone", "shown"), [("Asia/Tokyo", "+09:00"), ("Europe/Berlim", "+00:00")])
def test_the_log_has_the_clock_of_the_row(
    zone: str, shown: str, alias: str, make_row: MakeRow, caplog: pytest.LogCaptureFixture
) -> None:
    make_row(due=1, timezone=zone, planned_timezone=zone)
    with caplog.at_level("INFO", "django_jobs.beat"):
        fire(alias)
    (line,) = [record.getMessage() for record in caplog.records]
    assert re.match(rf"row, due at \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d{re.escape(shown)}: ", line)


def test_nothing_is_said_of_what_was_rolled_back(
    alias: str, make_row: MakeRow, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    row = make_row(due=-600)
    with transaction.atomic(alias):
        firing.fire_now(row)
        assert heard == []
        transaction.set_rollback(True, using=alias)
    assert heard == []


# Many at once


def test_threads_never_fire_a_moment_twice(alias: str, make_row: MakeRow) -> None:
    for number in range(60):
        make_row(f"row {number}", due=30, schedule="every 2 seconds", catch_up="all")
    start = threading.Barrier(4)

    def beat() -> int:
        start.wait()
        count = 0
        try:
            for _ in range(200):
                fired = fire(alias)
                count += len(fired.runs)
                outlook = rows.look(alias)
                if outlook is None or outlook.seconds > 0:
                    break
        finally:
            connections[alias].close()
        return count

    with ThreadPoolExecutor(4) as pool:
        counts = [pool.submit(beat) for _ in range(4)]
    total = sum(count.result() for count in counts)
    runs = runs_of(alias)
    assert len(runs) == total
    assert total >= 60 * 16
    sent = Counter(str(run.job_id) for run in runs)
    assert set(sent.values()) == {1}
    assert sorted(job.id for job in jobs_in()) == sorted(sent)
    for row in PeriodicTask.objects.using(alias):
        moments = [run.due for run in runs if run.periodic_task_id == row.pk]
        assert all(b - a == timedelta(seconds=2) for a, b in pairwise(moments))
        assert row.total_runs == len(moments)


@pytest.mark.parametrize("beat_settings", ["database"], indirect=True)
def test_another_one_takes_what_is_not_locked(alias: str, make_row: MakeRow) -> None:
    if not connections[alias].features.has_select_for_update_skip_locked:
        pytest.skip("this database cannot skip locked rows")
    for number in range(rows.BATCH + 20):
        make_row(f"row {number:03}", due=200 - number)
    outlook = rows.look(alias)
    assert outlook is not None

    def elsewhere() -> Fired:
        try:
            return fire(alias)
        finally:
            connections[alias].close()

    with transaction.atomic(alias):
        _, locked = rows.lock_due(alias, outlook.now)
        assert len(locked) == rows.BATCH
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(elsewhere).result()
        assert found.rows == 20
        assert not {run.periodic_task_id for run in found.runs} & {row.pk for row in locked}


# What it costs


def explained(alias: str, sql: str) -> str:
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            cursor.execute("ANALYZE django_jobs_periodictask")
        cursor.execute(("EXPLAIN QUERY PLAN " if connections[alias].vendor == "sqlite" else "EXPLAIN ") + sql)
        return str(cursor.fetchall())


@pytest.mark.parametrize("beat_settings", ["database"], indirect=True)
def test_nothing_to_do_costs_one_look_into_an_index(alias: str, make_row: MakeRow) -> None:
    row = make_row(due=-3600)
    moment = datetime.now(UTC) + timedelta(hours=1)
    PeriodicTask.objects.using(alias).bulk_create(
        PeriodicTask(
            name=f"row {number}", task=row.task, schedule=row.schedule, next_run=moment, planned_schedule=row.schedule,
            planned_timezone="", planned_enabled=True,
        )
        for number in range(3000)
    )  # fmt: skip
    with CaptureQueriesContext(connections[alias]) as queries:
        outlook = rows.look(alias)
    assert outlook is not None
    assert outlook.seconds > 3000
    (query,) = queries.captured_queries
    assert "django_jobs_periodic_wake" in explained(alias, query["sql"])
    # And so does what reads the rows that are due.
    with CaptureQueriesContext(connections[alias]) as queries:
        firing.fire_due(alias, outlook.now, late=LATE)
    (query,) = [query for query in queries.captured_queries if "FROM " in query["sql"]]
    assert "django_jobs_periodic_wake" in explained(alias, query["sql"])


@pytest.mark.parametrize("beat_settings", ["database"], indirect=True)
def test_a_hundred_rows_cost_a_handful_of_statements(alias: str, make_row: MakeRow) -> None:
    for number in range(100):
        make_row(f"row {number}", overlap="skip")
    with CaptureQueriesContext(connections[alias]) as queries:
        fired = fire(alias)
    assert len(fired.runs) == 100
    assert len(queries.captured_queries) < 25


def test_old_runs_are_pruned(alias: str, make_row: MakeRow) -> None:
    row = make_row(due=-600)
    now = datetime.now(UTC)
    PeriodicRun.objects.using(alias).bulk_create(
        PeriodicRun(periodic_task=row, due=now - age, fired=now - age, outcome="sent", lateness=timedelta(0))
        for age in [*(timedelta(days=40, seconds=number) for number in range(700)), timedelta(days=1)]
    )
    assert rows.prune(alias, timedelta(days=30)) == rows.PRUNE_BATCH
    assert rows.prune(alias, timedelta(days=30)) == 200
    assert rows.prune(alias, timedelta(days=30)) == 0
    assert len(runs_of(alias)) == 1


def test_the_clock_is_that_of_the_database(alias: str, make_row: MakeRow) -> None:
    make_row(due=-600)
    with clock.use(lambda: 10**9):
        outlook = rows.look(alias)
    assert outlook is not None
    assert abs(outlook.now - datetime.now(UTC)) < timedelta(seconds=5)


def test_nothing_is_there(alias: str) -> None:
    assert rows.look(alias) is None
    assert not JobResult.objects.using(alias).exists()
    assert get_broker().describe()
