"""drain(): jobs run by the worker's own path, at their moment, on the clock of the test."""

from __future__ import annotations

import itertools
import logging
from datetime import datetime, timedelta

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.test import SimpleTestCase
from django.utils import timezone

from django_jobs import send_job, signals
from django_jobs.async_result import AsyncResult
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Message
from django_jobs.exceptions import JobFailed, JobsError
from django_jobs.identifiers import new_id
from django_jobs.models import JobResult
from django_jobs.outcome import Failed, Ignored, Rejected, Retried, Revoked, Snoozed, Undeliverable
from django_jobs.testing import Jobs, MemoryBroker, advance, assert_enqueued, capture_jobs, drain
from tests.testing import tasks


def test_it_runs_what_is_there(jobs: Jobs):
    tasks.note.delay("a")
    tasks.mail.delay("b")
    runs = drain()
    assert tasks.done == ["b", "a"]  # by priority, over all queues
    assert [(run.job.task if run.job else None, run.result, run.succeeded, run.failed) for run in runs] == [
        ("tests.testing.tasks.mail", "b: hello", True, False),
        ("tests.testing.tasks.note", "a", True, False),
    ]
    assert drain() == []
    assert jobs.runs == runs
    assert len(jobs) == 2


def test_jobs_of_jobs_run_too(jobs: Jobs):
    tasks.chained.delay(3)
    assert len(drain()) == 4
    assert tasks.done == [3, 2, 1, 0]
    assert [job.job.parent_id for job in jobs] == [None, *[job.id for job in jobs[:3]]]


def test_async_tasks(jobs: Jobs):
    first, second = tasks.anote.delay("a"), tasks.asends.delay("b")
    drain()
    assert tasks.done == ["a", "b"]
    assert (first.get(), second.get()) == ("A", "b")


async def test_from_async_code(jobs: Jobs):
    handle = await tasks.anote.adelay("a")
    await tasks.asends.adelay("b")
    runs = await jobs.adrain()
    assert [run.result for run in runs] == ["A", "b", "b"]
    assert await handle.aget() == "A"


async def test_a_coroutine_is_told_to_await(jobs: Jobs):
    with pytest.raises(SynchronousOnlyOperation, match=r"await adrain\(\)"):
        jobs.drain()


class TestResults:
    @pytest.mark.django_db
    def test_they_are_rows_where_the_database_may_be_used(self, jobs: Jobs):
        handle = tasks.mail.delay("ann")
        drain()
        row = JobResult.objects.get()
        assert (str(row.pk), row.state, row.queue, row.worker) == (handle.id, "SUCCESS", "mail", "test")
        assert (handle.get(), handle.state, handle.successful()) == ("ann: hello", "SUCCESS", True)
        assert AsyncResult[str](handle.id).get() == "ann: hello"

    def test_they_are_in_memory_where_it_may_not(self, jobs: Jobs):
        handle, failing = tasks.mail.delay("ann"), tasks.fails.delay()
        drain(propagate=False)
        assert (handle.get(), handle.state) == ("ann: hello", "SUCCESS")
        assert failing.failed()
        with pytest.raises(ValueError, match="no luck"):
            failing.get()

    @pytest.mark.django_db
    def test_a_failed_job_can_be_retried_by_hand(self, jobs: Jobs):
        handle = tasks.fails.delay()
        drain(propagate=False)
        handle.retry()
        assert handle.state == "PENDING"
        assert [run.failed for run in drain(propagate=False)] == [True]
        assert len(jobs.runs) == 2

    @pytest.mark.parametrize("with_rows", [False, True])
    def test_progress_can_be_seen(self, jobs: Jobs, with_rows: bool, request: pytest.FixtureRequest):
        if with_rows:
            request.getfixturevalue("db")
        handle = tasks.reports.delay()
        tasks.done.append(handle)  # the job looks at itself, from outside
        (run,) = drain()
        assert run.result == ["STARTED", {"done": 1, "total": 2, "message": "half"}]
        assert handle.info == run.result

    def test_an_ignored_one(self, jobs: Jobs):
        handle = tasks.note.apply_async((1,), ignore_result=True)
        drain()
        assert handle.get() is None
        assert jobs.store.get(handle.id) is None


class TestFailures:
    def test_one_is_raised_as_it_was(self, jobs: Jobs):
        tasks.note.delay("before")
        handle = tasks.fails.delay("no luck")
        tasks.note.delay("after")
        with pytest.raises(ValueError, match="no luck") as raised:
            drain()
        assert raised.traceback[-1].name == "fails"
        assert raised.value.__notes__ == [f"Raised by the job {jobs[1]!r}."]
        assert handle.state == "FAILURE"
        assert tasks.done == ["before"]
        drain()
        assert tasks.done == ["before", "after"]

    def test_it_is_returned_when_it_was_to_be_expected(self, jobs: Jobs):
        tasks.fails_as_planned.delay()
        tasks.ends.delay("reject")
        tasks.ends.delay("ignore")
        outcomes = [run.outcome for run in drain()]
        assert [type(outcome) for outcome in outcomes] == [Failed, Rejected, Ignored]
        assert [run.failed for run in jobs.runs] == [True, True, False]
        error = jobs.runs[0].error
        assert error is not None
        assert (error.type, error.text, error.expected) == ("LookupError", "nothing there", True)

    def test_all_are_returned_on_request(self, jobs: Jobs):
        tasks.fails.delay()
        tasks.note.delay("after")
        first, second = drain(propagate=False)
        assert isinstance(first.exception, ValueError)
        assert (first.failed, first.result, second.result) == (True, None, "after")

    def test_a_job_that_would_end_the_test_run(self, jobs: Jobs):
        tasks.exits.delay()
        with pytest.raises(JobFailed, match="SystemExit: 3") as raised:
            drain()
        assert isinstance(raised.value.__cause__, SystemExit)

    def test_a_message_that_cannot_be_read(self, jobs: Jobs):
        MemoryBroker.enqueue(jobs.broker, [Message(new_id(), "default", b"garbage")])
        with pytest.raises(JobFailed, match="UndecodableJob"):
            drain()

    def test_a_task_that_only_others_know_waits_for_them(self, jobs: Jobs):
        send_job("elsewhere.jobs.f", remote=True)
        (run,) = drain()
        assert isinstance(run.outcome, Undeliverable)
        assert drain() == []
        found = get_broker().find(jobs[0].id)
        assert found is not None
        assert found.place == "scheduled"

    def test_logs_and_signals_are_those_of_a_worker(
        self, jobs: Jobs, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ):
        heard = []
        # Whatever an earlier test's logging configuration has left: this logger speaks, and caplog listens to it.
        logger = logging.getLogger("django_jobs.worker")
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "handlers", [caplog.handler])
        monkeypatch.setattr(logger, "propagate", False)

        def listen(sender: object, **kwargs: object) -> None:
            heard.append(kwargs["signal"])

        every = [signals.job_started, signals.job_failed, signals.job_finished]
        for signal in every:
            signal.connect(listen)
        try:
            tasks.fails.delay()
            with caplog.at_level(logging.INFO, logger.name):
                drain(propagate=False)
        finally:
            for signal in every:
                signal.disconnect(listen)
        assert heard == every
        assert "received" in caplog.text
        assert "ValueError: no luck" in caplog.text


class TestTime:
    def test_a_countdown(self, jobs: Jobs):
        handle = tasks.note.apply_async(("later",), countdown=300)
        assert drain() == []
        assert handle.state == "SCHEDULED"
        advance(299)
        assert drain() == []
        advance(timedelta(seconds=1))
        assert [run.result for run in drain()] == ["later"]

    def test_an_eta_by_djangos_clock(self, jobs: Jobs):
        tasks.note.apply_async(("later",), eta=timezone.now() + timedelta(hours=5))
        assert drain() == []
        advance(timedelta(hours=5))
        assert len(drain()) == 1

    def test_an_expired_job_does_not_run(self, jobs: Jobs):
        handle = tasks.note.apply_async(("late",), expires=60)
        advance(61)
        (run,) = drain()
        assert isinstance(run.outcome, Revoked)
        assert (handle.state, tasks.done) == ("REVOKED", [])

    def test_retries_come_at_their_moments(self, jobs: Jobs):
        handle = tasks.flaky.delay(2)
        (first,) = drain()
        assert isinstance(first.outcome, Retried)
        assert (first.outcome.delay, first.failed, handle.state) == (10, False, "RETRY")
        advance(9)
        assert drain() == []
        advance(1)
        assert [type(run.outcome) for run in drain()] == [Retried]
        advance(20)
        assert [run.result for run in drain()] == [2]
        assert (handle.get(), handle.retries, tasks.done) == (2, 2, [0, 1, 2])

    def test_until(self, jobs: Jobs):
        tasks.flaky.delay(5)
        tasks.note.apply_async(("soon",), countdown=15)
        with pytest.raises(ConnectionError, match="attempt 4"):
            drain(until=timedelta(hours=1))
        assert tasks.done == [0, 1, "soon", 2, 3]  # after 0, 10, 15, 30 and 70 s

    def test_until_moves_the_clock_to_the_end_and_no_further(self, jobs: Jobs):
        start = jobs.clock()
        tasks.note.apply_async((1,), countdown=100)
        tasks.note.apply_async((2,), countdown=1000)
        assert [run.result for run in drain(until=500)] == [1]
        assert 500 <= jobs.clock() - start < 510
        assert [run.result for run in drain(until=timezone.now() + timedelta(seconds=1000))] == [2]

    def test_until_in_order_whatever_sends_what(self, jobs: Jobs):
        tasks.forever.delay()
        runs = drain(until=timedelta(minutes=10))
        assert len(runs) == 11
        moments = [job.eta for job in jobs[1:]]
        steps = [(after - before).total_seconds() for before, after in itertools.pairwise(moments) if before and after]
        assert len(steps) == 10
        assert steps == [60] * 10

    def test_a_snoozed_job(self, jobs: Jobs):
        tasks.snoozes.delay()
        assert [type(run.outcome) for run in drain()] == [Snoozed]
        assert [run.result for run in drain(until=120)] == [None, "awake"]

    def test_time_goes_on_and_never_back(self, jobs: Jobs):
        with pytest.raises(ValueError, match="forward"):
            advance(-1)
        advance(60)
        before = jobs.clock()
        with capture_jobs() as inner:
            assert inner.clock() >= before - 0.01
        with pytest.raises(ValueError, match="naive"):
            drain(until=datetime(2026, 1, 1))  # noqa: DTZ001

    def test_what_never_ends_is_stopped(self, jobs: Jobs):
        tasks.forever.delay()
        with pytest.raises(JobsError, match="5 jobs have run"):
            drain(until=timedelta(days=1), most=5)


def test_a_paused_queue_is_left_alone(jobs: Jobs):
    tasks.mail.delay("a")
    tasks.note.delay("b")
    jobs.broker.pause("mail")
    assert [run.result for run in drain()] == ["b"]
    jobs.broker.resume("mail")
    assert len(drain()) == 1


def test_a_revoked_job_does_not_run(jobs: Jobs):
    handle = tasks.note.delay("a")
    assert handle.revoke() == "REVOKED"
    assert drain() == []
    assert handle.state == "REVOKED"


class WithoutADatabase(SimpleTestCase):
    """SimpleTestCase refuses every query."""

    def test_results_are_in_memory(self):
        with capture_jobs() as jobs:
            handle = tasks.note.delay(1)
            jobs.drain()
            assert handle.get() == 1
            assert_enqueued(tasks.note)
