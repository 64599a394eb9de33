"""Jobs that run too long, and jobs that somebody revokes while they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from django_jobs import operations
from django_jobs.models import JobResult
from tests.app import jobs
from tests.worker.conftest import Worker, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Worker]
POOLS = [("-c", "1"), ("-c", "1", "--threads", "2"), ("--pool", "threads"), ("--pool", "solo")]


def row_of(job_id: str) -> JobResult:
    return JobResult.objects.get(id=job_id)


def words(ledger: Path) -> list[str]:
    return [line.split()[0] for line in ledger.read_text().splitlines()]


# The soft limit


@pytest.mark.parametrize("flags", POOLS, ids=" ".join)
def test_a_soft_limit_is_raised_in_the_task_which_may_end_in_order(
    start_worker: Start, ledger: Path, flags: tuple[str, ...]
) -> None:
    sent = jobs.loops.apply_async((str(ledger), 60), soft_time_limit=0.3)
    start_worker(*flags)
    assert sent.get(timeout=30) == "SoftTimeLimitExceeded"
    # It hits this job alone: the thread goes on with the next.
    after = [jobs.written.delay(str(ledger), f"after{n}") for n in range(20)]
    assert [result.get(timeout=20) for result in after] == [f"after{n}" for n in range(20)]


def test_a_soft_limit_leaves_a_system_call_of_the_main_thread_at_once(start_worker: Start, ledger: Path) -> None:
    sent = jobs.slow.apply_async((str(ledger), "word", 60), soft_time_limit=0.3)
    start_worker("-c", "1")
    wait_for(sent.ready, seconds=30)
    assert row_of(sent.id).exception_type.endswith("SoftTimeLimitExceeded")
    assert words(ledger) == ["start"]


def test_a_soft_limit_is_raised_inside_a_coroutine(start_worker: Start, ledger: Path) -> None:
    caught = jobs.aloops.apply_async((str(ledger), 60), soft_time_limit=0.3)
    passed = jobs.aslow.apply_async((str(ledger), "word", 60), soft_time_limit=0.3)
    beside = jobs.aslow.delay(str(ledger), "beside", 1.0)
    start_worker("-c", "1")
    assert caught.get(timeout=30) == "SoftTimeLimitExceeded"
    wait_for(passed.ready, seconds=30)
    assert row_of(passed.id).exception_type.endswith("SoftTimeLimitExceeded")
    assert beside.get(timeout=30) == "beside"


# The hard limit


def test_a_hard_limit_ends_the_job_and_charges_nobody_beside_it(
    start_worker: Start, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    overruns = jobs.stubborn.apply_async((str(ledger), 60), time_limit=1)
    beside = jobs.held.delay(str(ledger), str(gate))
    start_worker("-c", "1", "--threads", "2")
    wait_for(overruns.ready, seconds=30)
    row = row_of(overruns.id)
    assert (row.state, row.exception_type) == ("FAILURE", "django_jobs.exceptions.TimeLimitExceeded")
    assert row.worker
    assert row.started_at is not None
    assert row.finished_at is not None
    assert 1.0 <= (row.finished_at - row.started_at).total_seconds() < 5
    gate.touch()
    assert beside.get(timeout=30) == "released"
    assert row_of(beside.id).deliveries == 1
    # Whoever was charged with a crash would run alone: more than one runs at once.
    assert operations.retry([overruns.id]).done == 1


def test_a_hard_limit_holds_while_a_c_call_keeps_the_interpreter(start_worker: Start, ledger: Path) -> None:
    sent = jobs.holds_the_interpreter.apply_async((str(ledger),), time_limit=3, soft_time_limit=1)
    worker = start_worker("-c", "2")
    wait_for(sent.ready, seconds=60)
    assert row_of(sent.id).exception_type.endswith("TimeLimitExceeded")
    assert words(ledger) == ["start"]
    assert "taken for dead" not in worker.output()


def test_a_job_that_ran_too_long_runs_again_when_its_policy_says_so(start_worker: Start, ledger: Path) -> None:
    sent = jobs.slow_at_first.delay(str(ledger))
    start_worker("-c", "1")
    assert sent.get(timeout=60) == "done"
    row = row_of(sent.id)
    assert (row.state, row.retries) == ("SUCCESS", 1)
    assert len(ledger.read_text().splitlines()) == 2
    assert "TimeLimitExceeded" in row.history


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_that_cannot_enforce_hard_limits_says_so(start_worker: Start, pool: str) -> None:
    worker = start_worker("--pool", pool)
    wait_for(lambda: "cannot end jobs at their time_limit" in worker.output(), what="the warning")
    assert "slow_at_first" in worker.output()


# Revoking what runs


@pytest.mark.parametrize("flags", POOLS, ids=" ".join)
def test_a_job_that_is_terminated_is_interrupted(start_worker: Start, ledger: Path, flags: tuple[str, ...]) -> None:
    sent = jobs.loops.delay(str(ledger), 60)
    start_worker(*flags)
    wait_for(ledger.read_text)
    sent.revoke(terminate=True)
    wait_for(sent.ready, seconds=30)
    assert row_of(sent.id).state == "REVOKED"
    assert words(ledger) == ["start", "cleaned"]


def test_a_coroutine_that_is_terminated_is_cancelled(start_worker: Start, ledger: Path) -> None:
    sent = jobs.aloops.delay(str(ledger), 60)
    start_worker("-c", "1")
    wait_for(ledger.read_text)
    sent.revoke(terminate=True)
    wait_for(sent.ready, seconds=30)
    assert row_of(sent.id).state == "REVOKED"
    assert words(ledger) == ["start", "cleaned"]


def test_a_job_that_does_not_react_is_killed_with_its_process(start_worker: Start, ledger: Path) -> None:
    sent = jobs.stubborn.delay(str(ledger), 60)
    start_worker("-c", "1")
    wait_for(ledger.read_text)
    sent.revoke(terminate=True)
    wait_for(sent.ready, seconds=40)
    row = row_of(sent.id)
    assert (row.state, row.exception_type) == ("REVOKED", "django_jobs.exceptions.JobRevoked")
    assert words(ledger) == ["start"]
    assert jobs.add.delay(1, 2).get(timeout=20) == 3


def test_a_job_that_is_revoked_is_told_and_may_end_as_it_likes(start_worker: Start, ledger: Path) -> None:
    sent = jobs.looks_up.delay(str(ledger))
    start_worker("-c", "1")
    wait_for(ledger.read_text)
    assert sent.revoke() == "STARTED"
    assert sent.get(timeout=30) == "stopped"
    assert row_of(sent.id).state == "SUCCESS"


def test_a_job_that_was_revoked_while_it_ran_is_not_retried(start_worker: Start, ledger: Path) -> None:
    sent = jobs.looks_up.delay(str(ledger), fails=True)
    start_worker("-c", "1")
    wait_for(ledger.read_text)
    sent.revoke()
    wait_for(sent.ready, seconds=30)
    assert row_of(sent.id).state == "REVOKED"
    assert words(ledger) == ["start"]
