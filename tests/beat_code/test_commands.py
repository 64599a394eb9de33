"""``manage.py jobs schedule``: what an operator sees and does; for programs, too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import load_command_class
from django.utils import timezone

from django_jobs import clock
from django_jobs.brokers import get_broker
from django_jobs.models import PeriodicRun, PeriodicTask
from tests.beat_code.conftest import ADD, ECHO, NOTHING, declaring, edit, entry, row, synced
from tests.handles.conftest import project, worker
from tests.worker.conftest import wait_for

__all__ = ["project", "worker"]

Run = Callable[..., Any]
pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def made(name: str = "nightly", **columns: Any) -> PeriodicTask:
    return PeriodicTask.objects.create(**{"name": name, "task": NOTHING, "schedule": "30 2 * * *", **columns})


@pytest.fixture
def noon() -> Any:
    with clock.use(NOON.timestamp):
        yield


class TestList:
    def test_nothing(self, jobs_command: Run):
        answer = jobs_command("schedule", "list")
        assert (answer.code, answer.out) == (0, "There are no periodic tasks.\n")
        assert jobs_command("schedule", "list", "--json").document == []

    @pytest.mark.usefixtures("noon")
    def test_how_they_stand(self, jobs_command: Run):
        made(timezone="Europe/Berlin", last_run=NOON - timedelta(days=1), total_runs=1234)
        made("off", enabled=False)
        made("strange", task="gone")
        made("late", planned_schedule="30 2 * * *", planned_enabled=True, next_run=NOON - timedelta(hours=3))
        synced(coded=entry())
        edit("coded", priority=4)
        lines = {line.split()[0]: line for line in jobs_command("schedule", "list").out.splitlines()}
        assert list(lines) == ["name", "coded", "late", "nightly", "off", "strange"]
        assert "30 2 * * * (Europe/Berlin)" in lines["nightly"]
        assert "2026-03-02 01:30:00+00:00  2026-02-28 12:00:00+00:00  1,234" in lines["nightly"]
        assert lines["coded"].endswith("differs from the code: priority")
        assert lines["late"].endswith("overdue for 3 h")
        assert lines["off"].endswith("disabled")
        assert "No task is called 'gone'." in lines["strange"]

    @pytest.mark.usefixtures("noon")
    def test_for_programs(self, jobs_command: Run):
        made(task="gone")
        (found,) = jobs_command("schedule", "--json", "list").document
        assert found == {
            "name": "nightly",
            "task": "gone",
            "schedule": "30 2 * * *",
            "timezone": "UTC",
            "enabled": True,
            "origin": "admin",
            "next_ms": clock.to_ms(datetime(2026, 3, 2, 2, 30, tzinfo=UTC)),
            "last_ms": None,
            "last_job": None,
            "runs": 0,
            "problems": {"task": "No task is called 'gone'."},
            "retired": False,
            "over": "",
            "differs_from_code": [],
        }

    def test_nonsense_in_a_row_is_shown(self, jobs_command: Run):
        made(schedule="every now and then", timezone="Mars", args="{", headers="[]")
        answer = jobs_command("schedule", "list")
        assert answer.code == 0
        assert "'Mars' is no" in answer.out


class TestNext:
    @pytest.mark.usefixtures("noon")
    def test_of_one(self, jobs_command: Run):
        made(timezone="Europe/Berlin")
        answer = jobs_command("schedule", "next", "nightly", "--count", "2")
        assert answer.out.splitlines() == ["2026-03-02 02:30:00+01:00", "2026-03-03 02:30:00+01:00"]
        assert len(jobs_command("schedule", "next", "nightly").out.splitlines()) == 5

    def test_a_clock_change_is_said(self, jobs_command: Run):
        made(timezone="Europe/Berlin")
        with clock.use(datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp):
            first, second = jobs_command("schedule", "next", "nightly", "--count=2").out.splitlines()
            document = jobs_command("schedule", "next", "nightly", "--count=1", "--json").document
        assert first.startswith("2026-03-29 03:00:00+02:00  ")
        assert "02:30 does not exist" in first
        assert second == "2026-03-30 02:30:00+02:00"
        assert document == [
            {"name": "nightly", "due_ms": clock.to_ms(datetime(2026, 3, 29, 1, tzinfo=UTC)), "remark": first[27:]}
        ]

    @pytest.mark.usefixtures("noon")
    def test_of_all(self, jobs_command: Run):
        made()
        made("hourly", schedule="@hourly")
        made("off", schedule="@hourly", enabled=False)
        made("broken", schedule="nonsense")
        made("over", ends=NOON - timedelta(days=1))
        answer = jobs_command("schedule", "next", "--count=15")
        lines = answer.out.splitlines()
        assert lines[0] == "2026-03-01 13:00:00+00:00  hourly"
        assert lines[14] == "2026-03-02 02:30:00+00:00  nightly"
        assert len(jobs_command("schedule", "next", "--json").document) == 10

    def test_nothing_is_going_to_run(self, jobs_command: Run):
        made(schedule="at 2020-01-01 00:00")
        assert jobs_command("schedule", "next").out == "Nothing is going to run.\n"
        assert jobs_command("schedule", "next", "nightly").out == "nightly does not run any more.\n"

    def test_disabled(self, jobs_command: Run):
        made(enabled=False)
        assert "It is disabled" in jobs_command("schedule", "next", "nightly").out

    def test_a_schedule_that_makes_no_sense(self, jobs_command: Run):
        made(schedule="nonsense")
        answer = jobs_command("schedule", "next", "nightly")
        assert (answer.code, "nightly cannot be planned." in answer.err) == (1, True)


@pytest.mark.parametrize("action", ["next", "run", "enable", "disable"])
def test_a_name_that_is_not_known(action: str, jobs_command: Run):
    made()
    answer = jobs_command("schedule", action, "nighly")
    assert answer.code == 2
    assert "No periodic task is called 'nighly'. Did you mean 'nightly'?" in answer.err


@pytest.mark.parametrize("given", [["next", "--count", "0"], ["next", "--count", "x"], ["fly"], []])
def test_wrong_use(given: list[str], jobs_command: Run):
    assert jobs_command("schedule", *given).err


@pytest.mark.django_db(transaction=True)
class TestRun:
    def test_now(self, worker: Any, jobs_command: Run):
        made(task=ECHO, args="[7]", queue="mail", priority=9, headers='{"a": "b"}', enabled=False)
        answer = jobs_command("schedule", "run", "nightly")
        assert answer.code == 0
        found = wait_for(lambda: get_broker().find(answer.out.strip()))
        assert (found.queue, found.priority) == ("mail", 9)
        run = PeriodicRun.objects.get()
        assert (str(run.job_id), run.by_hand, run.outcome) == (answer.out.strip(), True, "sent")
        assert jobs_command("schedule", "run", "nightly", "--json").document["outcome"] == "sent"

    @pytest.mark.parametrize("columns", [{"task": "gone"}, {"task": ADD, "args": "[1]"}])
    def test_refused(self, worker: Any, columns: dict[str, Any], jobs_command: Run):
        made(**columns)
        answer = jobs_command("schedule", "run", "nightly")
        assert answer.code == 1
        assert "nightly was refused: " in answer.err
        answer = jobs_command("schedule", "run", "nightly", "--json")
        assert (answer.code, answer.document["outcome"], answer.document["id"]) == (1, "refused", None)
        assert PeriodicRun.objects.filter(outcome="refused").count() == 2, "it is counted"


class TestSwitching:
    def test_off_and_on(self, jobs_command: Run):
        made()
        made("other")
        assert jobs_command("schedule", "disable", "nightly", "other").out == "nightly, other: disabled.\n"
        assert not PeriodicTask.objects.filter(enabled=True).exists()
        assert jobs_command("schedule", "enable", "nightly").out == "nightly: enabled.\n"
        assert list(PeriodicTask.objects.filter(enabled=True).values_list("name", flat=True)) == ["nightly"]

    def test_what_could_not_run_stays_off(self, jobs_command: Run):
        made(task="gone", enabled=False)
        made("other", enabled=False)
        answer = jobs_command("schedule", "enable", "nightly", "other")
        assert answer.code == 1
        assert answer.out.splitlines() == [
            "other: enabled.",
            "nightly: left as it is, task: No task is called 'gone'.",
        ]
        assert not row().enabled
        answer = jobs_command("schedule", "enable", "nightly", "--json")
        assert answer.document == {"enabled": [], "refused": {"nightly": {"task": "No task is called 'gone'."}}}
        assert jobs_command("schedule", "disable", "nightly", "--json").document == {"disabled": ["nightly"]}


class TestSync:
    def test_a_dry_run_and_then_for_good(self, jobs_command: Run):
        with declaring(nightly=entry()):
            answer = jobs_command("schedule", "sync", "--dry-run")
            assert answer.out == "nightly: created\nNothing was changed: without --dry-run it is.\n"
            assert not PeriodicTask.objects.exists()
            assert jobs_command("schedule", "sync").out == "nightly: created\n"
            assert jobs_command("schedule", "sync").out == "Nothing to change.\n"
            edit(priority=4)
            answer = jobs_command("schedule", "sync", "--dry-run")
        assert answer.out == "nightly: kept: priority is 4, the code says None\nNothing to change.\n"
        assert answer.code == 0

    def test_for_programs(self, jobs_command: Run):
        made()
        with declaring(nightly=entry(), other=entry()):
            answer = jobs_command("schedule", "sync", "--json")
        assert answer.code == 1, "a name is taken"
        assert answer.document == [
            {"kind": "conflict", "name": "nightly", "fields": {}},
            {"kind": "created", "name": "other", "fields": {}},
        ]

    def test_a_wrong_declaration(self, jobs_command: Run):
        with declaring(nightly=entry(quue=1), other=entry()):
            answer = jobs_command("schedule", "sync")
        assert (answer.code, "no key 'quue'" in answer.err) == (2, True)
        assert not PeriodicTask.objects.exists()


def test_the_database_is_asked_in_pages(jobs_command: Run, django_assert_num_queries: Any):
    now = timezone.now()
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"{number:04}", task=NOTHING, schedule="@hourly", created=now) for number in range(1100)
    )
    with django_assert_num_queries(1):
        assert len(jobs_command("schedule", "list", "--json").document) == 1100


class TestWhatDoesNotRun:
    @pytest.mark.usefixtures("registered")
    def test_what_was_never_synced(self, jobs_command: Run):
        with declaring(nightly=entry()):
            told = "Declared in code, and not synced yet: nightly. Start beat, or run manage.py jobs schedule sync.\n"
            assert jobs_command("schedule", "list").out == told
            answer = jobs_command("schedule", "run", "nightly")
            assert (answer.code, "'nightly' is declared in code, and not synced yet." in answer.err) == (2, True)
            assert "Did you mean 'nightly'?" in jobs_command("schedule", "run", "nihgtly").err

    def test_what_is_retired(self, jobs_command: Run):
        synced(coded=entry())
        synced()
        assert jobs_command("schedule", "list").out.rstrip().endswith("retired: the code does not declare it any more")
        assert [one["retired"] for one in jobs_command("schedule", "list", "--json").document] == [True]
        answer = jobs_command("schedule", "enable", "coded")
        assert (answer.code, "coded: it is retired: " in answer.out) == (0, True)

    def test_what_is_over(self, jobs_command: Run):
        past = "at 2020-01-01 00:00"
        synced(past=entry(schedule=past))
        edit("past", planned_schedule=past, planned_enabled=True)
        assert "never runs: its moment has passed" in jobs_command("schedule", "list").out
        assert (
            "past: it does not run any more: its moment has passed.\n" in jobs_command("schedule", "enable", "past").out
        )

    def test_what_cannot_be_planned_has_no_next_run(self, jobs_command: Run):
        made(schedule="every now and then", next_run=timezone.now() + timedelta(hours=1))
        made("odd", kwargs="{'full': True}")
        (nightly, odd) = jobs_command("schedule", "list", "--json").document
        assert (nightly["next_ms"], odd["next_ms"] is None) == (None, False)
        assert "kwargs is no JSON: " in jobs_command("schedule", "list").out


class TestFlags:
    def test_those_of_every_command_stand_at_the_end_too(self):
        for arguments in ("schedule list --settings testproject --no-color -v 0 --traceback", "queues --pythonpath ."):
            parser = load_command_class("django_jobs", "jobs").create_parser("manage.py", "jobs")
            options = parser.parse_args(arguments.split())
            assert (options.settings, options.pythonpath) in (("testproject", None), (None, "."))
            assert parser.parse_args(["--settings", "first", "queues"]).settings == "first"

    def test_a_wrong_one_has_a_suggestion(self, capsys: pytest.CaptureFixture[str]):
        parser = load_command_class("django_jobs", "jobs").create_parser("manage.py", "jobs")
        parser.called_from_command_line = True
        with pytest.raises(SystemExit):
            parser.parse_args(["schedule", "sync", "--dryrun"])
        said = capsys.readouterr().err
        assert "jobs schedule sync: error: unrecognized arguments: --dryrun\n" in said
        assert "sync has no --dryrun. Did you mean '--dry-run'?" in said
        assert "usage" not in said
