"""What a worker does on a good day, and with tasks that misbehave."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from django_jobs import AsyncResult, State
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Message
from django_jobs.exceptions import JobFailed
from django_jobs.identifiers import new_id
from django_jobs.models import FailedJob, JobResult
from django_jobs.states import Place
from tests.app import jobs
from tests.worker.conftest import Worker, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Worker]


def test_jobs_run_and_are_recorded(start_worker: Start) -> None:
    result = jobs.add.delay(2, 3)
    assert result.state == State.PENDING
    start_worker("-c", "1", "--name", "w")
    assert result.get(timeout=20) == 5
    row = JobResult.objects.get(id=result.id)
    assert (row.state, row.task, row.queue, row.retries) == ("SUCCESS", "tests.app.jobs.add", "default", 0)
    assert row.worker == "w/1"
    assert row.args == "[2,3]" or row.args == "[2, 3]"
    assert row.started_at is not None
    assert row.finished_at is not None
    assert row.enqueued_at <= row.started_at <= row.finished_at
    counts = get_broker().counts(["default"])[0]
    assert (counts.ready, counts.in_flight) == (0, 0)


@pytest.mark.parametrize(
    "flags", [("-c", "2"), ("-c", "1", "--threads", "4"), ("--pool", "threads", "--threads", "3"), ("--pool", "solo")]
)
def test_every_pool_runs_many_jobs_once(start_worker: Start, ledger: Path, flags: tuple[str, ...]) -> None:
    results = jobs.written.enqueue_many([((str(ledger), f"job{n}"), {}) for n in range(300)])
    worker = start_worker(*flags)
    wait_for(lambda: JobResult.objects.filter(state="SUCCESS").count() == 300, seconds=40)
    words = [line.split()[0] for line in ledger.read_text().splitlines()]
    assert sorted(words) == sorted(f"job{n}" for n in range(300))
    assert results[7].get(timeout=5) == "job7"
    assert worker.stop() == 0


def test_async_tasks_run_side_by_side(start_worker: Start, ledger: Path) -> None:
    results = jobs.aslow.enqueue_many([((str(ledger), f"job{n}", 1.0), {}) for n in range(50)])
    start_worker("-c", "1")
    assert [result.get(timeout=20) for result in results] == [f"job{n}" for n in range(50)]
    lines = ledger.read_text().splitlines()
    assert [line.split()[0] for line in lines[:50]] == ["start"] * 50


def test_a_long_job_does_not_hold_back_the_short_ones(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    long = jobs.held.delay(str(ledger), str(gate))
    short = jobs.written.enqueue_many([((str(ledger), f"job{n}"), {}) for n in range(20)])
    start_worker("-c", "2")
    assert [result.get(timeout=20) for result in short] == [f"job{n}" for n in range(20)]
    assert long.state == State.STARTED
    gate.touch()
    assert long.get(timeout=20) == "released"


def test_failures_are_recorded_with_what_is_needed_to_understand_them(start_worker: Start) -> None:
    result = jobs.fails.delay("broken", password="hunter2")
    start_worker("-c", "1")
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=20)
    row = FailedJob.objects.get(id=result.id)
    assert row.exception_type == "ValueError"
    assert row.exception == "broken"
    assert "raise ValueError(text)" in row.traceback
    assert "hunter2" not in row.kwargs
    assert row.message


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("recursive", "RecursionError"),
        ("unprintable", "UnprintableError"),
        ("reject", "Reject"),
    ],
)
def test_whatever_a_task_raises_fails_the_job_and_not_the_worker(start_worker: Start, kind: str, name: str) -> None:
    bad, good = jobs.raises.delay(kind), jobs.add.delay(1, 1)
    worker = start_worker("-c", "1")
    assert good.get(timeout=20) == 2
    wait_for(bad.ready)
    assert JobResult.objects.get(id=bad.id).exception_type.endswith(name)
    assert "died" not in worker.output()


def test_retries_keep_the_id_and_show_their_error(start_worker: Start) -> None:
    result = jobs.flaky.delay(3)
    last = jobs.asks_again.delay(0.01)
    waits = jobs.asks_again.delay(600)
    start_worker("-c", "1")
    assert result.get(timeout=20) == 3
    row = JobResult.objects.get(id=result.id)
    assert row.retries == 3
    assert row.history.count("attempt") >= 3
    with pytest.raises(RuntimeError, match="still not"):
        last.get(timeout=20)
    wait_for(lambda: waits.state == State.RETRY)
    assert "still not" in str(waits.info)


def test_snooze_runs_again_without_counting(start_worker: Start, ledger: Path) -> None:
    result = jobs.snoozes.delay(str(ledger))
    start_worker("-c", "1")
    assert result.get(timeout=20) == "awake"
    assert result.retries == 0


def test_progress_is_seen_while_the_job_runs(start_worker: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    result, tracked = jobs.counts.delay(str(gate)), jobs.tracked.delay(str(gate))
    start_worker("-c", "2")
    wait_for(lambda: result.info == {"done": 3, "total": 10, "message": "three of ten"})
    wait_for(lambda: tracked.state == State.STARTED)
    gate.touch()
    assert result.get(timeout=20) == "counted"


def test_ignored_results_leave_no_row(start_worker: Start) -> None:
    ignored = jobs.nothing.delay(1)
    seen = jobs.add.delay(1, 2)
    start_worker("-c", "1")
    assert seen.get(timeout=20) == 3
    assert ignored.get(timeout=20) is None
    assert not JobResult.objects.filter(id=ignored.id).exists()


def test_scheduled_jobs_wait_for_their_moment(start_worker: Start, ledger: Path) -> None:
    soon = jobs.written.apply_async((str(ledger), "soon"), countdown=1.0)
    late = jobs.written.apply_async((str(ledger), "late"), countdown=3600)
    assert soon.state == State.SCHEDULED
    start_worker("-c", "1")
    assert soon.get(timeout=20) == "soon"
    assert late.state == State.SCHEDULED
    row = JobResult.objects.get(id=soon.id)
    assert row.started_at is not None
    assert (row.started_at - row.enqueued_at).total_seconds() >= 0.95


def test_expired_jobs_are_revoked(start_worker: Start, ledger: Path) -> None:
    result = jobs.written.apply_async((str(ledger), "never"), expires=0.0)
    start_worker("-c", "1")
    wait_for(result.ready)
    assert result.state == State.REVOKED
    assert ledger.read_text() == ""


def test_unknown_tasks_wait_and_then_fail_retryably(start_worker: Start) -> None:
    from django_jobs import send_job

    result = send_job("gone.jobs.nowhere", (1,), remote=True)
    worker = start_worker("-c", "1", UNKNOWN_TASK_TTL=3600)
    wait_for(lambda: "cannot run here" in worker.output())
    assert not result.ready()
    worker.stop()
    found = get_broker().find(result.id)
    assert found is not None
    assert found.place == Place.SCHEDULED
    get_broker().enqueue([Message(new := new_id(), "default", found.body)])
    start_worker("-c", "1", UNKNOWN_TASK_TTL=0.001)
    other = AsyncResult[object](new)
    wait_for(other.ready)
    row = FailedJob.objects.get(id=new)
    assert row.exception_type.endswith("UnknownTask")
    assert row.message


def test_messages_that_cannot_be_read_are_recorded(start_worker: Start) -> None:
    broken = new_id()
    get_broker().enqueue([Message(broken, "default", b"\xff not a job")])
    good = jobs.add.delay(1, 1)
    start_worker("-c", "1")
    assert good.get(timeout=20) == 2
    wait_for(lambda: FailedJob.objects.filter(id=broken).exists())
    row = FailedJob.objects.get(id=broken)
    assert row.exception_type.endswith("UndecodableJob")
    assert "not a job" in row.args + row.exception


@pytest.mark.parametrize("jobs_settings", ["redis"], indirect=True)
def test_what_somebody_has_overwritten_in_redis_is_recorded(start_worker: Start) -> None:
    broken = jobs.add.delay(2, 2)
    good = jobs.add.delay(1, 1)
    broker: Any = get_broker()
    lane = broker.lane("default")
    broker.run(lane.command(b"HSET", lane.keys["jobs"], UUID(broken.id).bytes, b"garbage"))
    worker = start_worker("-c", "1", "--burst")
    assert good.get(timeout=20) == 2
    assert worker.process.wait(20) == 0
    assert FailedJob.objects.get(id=broken.id).exception_type.endswith("UndecodableJob")


def test_queues_that_appear_later_are_served(start_worker: Start) -> None:
    start_worker("-c", "1")
    assert jobs.add.delay(1, 1).get(timeout=20) == 2
    assert jobs.add.apply_async((1, 2), queue="new-one").get(timeout=30) == 3


def test_only_the_named_queues_are_served(start_worker: Start) -> None:
    other = jobs.add.apply_async((1, 1), queue="other")
    mail = jobs.add.apply_async((1, 2), queue="mail")
    start_worker("-c", "1", "-q", "mail")
    assert mail.get(timeout=20) == 3
    assert other.state == State.PENDING


def test_priorities_and_order(start_worker: Start, ledger: Path) -> None:
    for number in range(5):
        jobs.written.apply_async((str(ledger), f"low{number}"), priority=-1)
    for number in range(5):
        jobs.written.apply_async((str(ledger), f"high{number}"), priority=50)
    start_worker("-c", "1", "--burst")
    wait_for(lambda: len(ledger.read_text().splitlines()) == 10)
    words = [line.split()[0] for line in ledger.read_text().splitlines()]
    assert words == [f"high{n}" for n in range(5)] + [f"low{n}" for n in range(5)]


def test_burst_ends_when_nothing_is_left(start_worker: Start, ledger: Path) -> None:
    jobs.written.enqueue_many([((str(ledger), f"job{n}"), {}) for n in range(50)])
    worker = start_worker("-c", "2", "--burst")
    assert worker.process.wait(40) == 0
    assert len(ledger.read_text().splitlines()) == 50
    assert JobResult.objects.filter(state="SUCCESS").count() == 50


def test_children_are_recycled(start_worker: Start, ledger: Path) -> None:
    jobs.written.enqueue_many([((str(ledger), f"job{n}"), {}) for n in range(60)])
    start_worker("-c", "1", "--max-jobs-per-child", "10")
    wait_for(lambda: JobResult.objects.filter(state="SUCCESS").count() == 60, seconds=60)
    pids = {line.split()[1] for line in ledger.read_text().splitlines()}
    assert len(pids) >= 2
    assert len(ledger.read_text().splitlines()) == 60


@pytest.mark.parametrize("flags", [("-c", "1"), ("-c", "1", "--threads", "2")], ids=" ".join)
def test_what_a_job_activates_ends_with_it(start_worker: Start, flags: tuple[str, ...]) -> None:
    start_worker(*flags)
    before = jobs.tells_what_is_active.delay().get(timeout=20)
    for result in [jobs.activates.delay() for _ in range(4)]:
        result.get(timeout=20)
    told = [jobs.tells_what_is_active.delay() for _ in range(4)]
    assert [result.get(timeout=20) for result in told] == [before] * 4


def test_print_goes_to_the_output(start_worker: Start) -> None:
    result = jobs.says.delay("a word from a job")
    worker = start_worker("-c", "1")
    result.get(timeout=20)
    worker.stop()
    assert "a word from a job\n" in worker.output()
    assert "tests.app.jobs.says" in worker.output()


def test_errors_rebuild_or_become_job_failed(start_worker: Start) -> None:
    result = jobs.raises.delay("unprintable")
    start_worker("-c", "1")
    with pytest.raises(JobFailed, match="UnprintableError"):
        result.get(timeout=20)


def test_interrupt_stops_cleanly(start_worker: Start) -> None:
    worker = start_worker("-c", "2")
    worker.wait_ready(2)
    assert worker.stop(signal.SIGINT) == 0
