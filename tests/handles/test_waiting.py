"""``get()``: what it returns and raises, when it wakes, and that it says why it did not."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from django_jobs import AsyncResult, State
from django_jobs.brokers import get_broker
from django_jobs.context import JobContext, current
from django_jobs.envelope import Job
from django_jobs.exceptions import (
    JobExpired,
    JobFailed,
    JobRevoked,
    JobUnknown,
    ResultTimeout,
    WouldDeadlock,
)
from django_jobs.identifiers import new_id
from django_jobs.results import get_store
from django_jobs.results.base import Record
from tests.app import jobs
from tests.handles.conftest import TinyWorker

Aside = Callable[[Callable[[], Any]], threading.Thread]


def ended(
    exception_type: str = "", exception: str = "", state: str = "FAILURE", traceback: str = ""
) -> AsyncResult[Any]:
    """A job with this end."""
    job_id = new_id()
    record = Record(job_id, "t", "default", state, enqueued_ms=1)
    get_store().record([record._replace(exception_type=exception_type, exception=exception, traceback=traceback)])
    return AsyncResult(job_id)


class TestWaking:
    def test_it_returns_what_a_worker_does_meanwhile(self, worker: TinyWorker, aside: Aside):
        sent = jobs.add.delay(2, 3)
        aside(worker.run_soon)
        started = time.monotonic()
        value: int = sent.get(timeout=20)
        assert value == 5
        assert time.monotonic() - started < 15

    def test_on_redis_it_is_woken(
        self, on_redis: dict[str, Any], worker: TinyWorker, aside: Aside, monkeypatch: pytest.MonkeyPatch
    ):
        """By the end of the job alone: nobody looks again after a while."""
        monkeypatch.setattr("django_jobs.async_result.waiting.SLICE_SECONDS", 60.0)
        monkeypatch.setattr("django_jobs.async_result.waiting.POLL_FIRST", 60.0)
        monkeypatch.setattr("django_jobs.brokers.redis.waits.SLICE", 60.0)
        sent = jobs.add.delay(1, 1)
        aside(worker.run_soon)
        started = time.monotonic()
        assert sent.get(timeout=60) == 2
        assert time.monotonic() - started < 20

    def test_many_waiters_are_all_woken(self, worker: TinyWorker, aside: Aside):
        sent = jobs.add.delay(2, 2)
        results: list[int] = []
        waiters = [aside(lambda: results.append(AsyncResult[int](sent.id).get(timeout=20))) for _ in range(4)]
        time.sleep(0.1)
        worker.run()
        for waiter in waiters:
            waiter.join(20)
        assert results == [4, 4, 4, 4]

    def test_a_job_that_has_ended_is_not_waited_for(self, worker: TinyWorker):
        sent = jobs.add.delay(2, 2)
        worker.run()
        assert sent.get(timeout=0) == 4
        assert sent.get() == 4
        assert sent.wait() == 4

    @pytest.mark.parametrize(
        ("given", "error"),
        [(float("nan"), ValueError), ("5", TypeError), (True, TypeError), ([1], TypeError)],
    )
    async def test_a_time_that_is_none_is_refused_at_once(self, given: Any, error: type[Exception]):
        sent = AsyncResult[int](new_id())
        says = f"^timeout= takes seconds, a timedelta or None, not {re.escape(repr(given))}[.]$"
        with pytest.raises(error, match=says):
            sent.get(timeout=given)
        with pytest.raises(error, match=says):
            sent.wait(given)
        with pytest.raises(error, match=says):
            await sent.aget(timeout=given)

    @pytest.mark.parametrize("timeout", [float("inf"), 10**400, timedelta.max])
    def test_the_longest_times_are_for_ever(self, worker: TinyWorker, aside: Aside, timeout: Any):
        sent = jobs.add.delay(2, 3)
        aside(worker.run_soon)
        assert sent.get(timeout=timeout) == 5

    async def test_in_a_coroutine(self, worker: TinyWorker, aside: Aside):
        sent = await jobs.add.adelay(2, 3)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        aside(worker.run_soon)
        assert await sent.aget(timeout=20) == 5
        ticking.cancel()
        assert ticks > 5, "the event loop went on meanwhile"
        with pytest.raises(JobUnknown):
            await AsyncResult[Any](new_id()).aget()
        await sync_to_async(connections.close_all)()

    async def test_a_cancelled_coroutine_stops_waiting(self, worker: TinyWorker):
        sent = await jobs.add.adelay(2, 3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await sent.aget()
        await sync_to_async(worker.run)()
        assert await sent.aget(timeout=5) == 5
        await sync_to_async(connections.close_all)()


class TestErrors:
    @pytest.mark.parametrize(
        ("exception_type", "text", "expected"),
        [
            ("ValueError", "no luck", ValueError("no luck")),
            ("KeyError", "'name'", KeyError("name")),
            ("RuntimeError", "", RuntimeError()),
            ("django.http.response.Http404", "gone", None),
            ("UnicodeDecodeError", "bad byte", JobFailed("UnicodeDecodeError: bad byte")),
            ("not.loaded.Error", "x", JobFailed("not.loaded.Error: x")),
            ("SystemExit", "3", JobFailed("SystemExit: 3")),
            ("os.system", "true", JobFailed("os.system: true")),
            ("django_jobs.exceptions.WorkerLost", "died", None),
            ("", "", JobFailed("unknown")),
        ],
    )  # fmt: skip
    def test_an_exception_is_what_it_was_or_job_failed(
        self, worker: TinyWorker, exception_type: str, text: str, expected: Exception | None
    ):
        handle = ended(exception_type, text)
        error = handle.get(propagate=False)
        if expected is None:
            assert f"{type(error).__module__}.{type(error).__qualname__}" == exception_type
            assert str(error) == text
        else:
            assert (type(error), error.args) == (type(expected), expected.args)
        with pytest.raises(type(error)):
            handle.get()

    def test_the_traceback_of_the_job_is_a_note(self, worker: TinyWorker):
        sent = jobs.fails.delay("no luck")
        worker.run()
        with pytest.raises(ValueError, match="no luck") as caught:
            sent.get()
        (note,) = caught.value.__notes__
        assert sent.id in note
        assert "raise ValueError(text)" in note

    def test_a_revoked_job(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 1)
        assert sent.revoke() == State.REVOKED
        with pytest.raises(JobRevoked):
            sent.get()
        with pytest.raises(JobExpired, match="late"):
            ended("django_jobs.exceptions.JobExpired", "too late", "REVOKED").get()
        with pytest.raises(JobRevoked, match="ValueError: no"):
            ended("ValueError", "no", "REVOKED").get()

    def test_unknown_at_once(self, worker: TinyWorker):
        for handle in (AsyncResult[Any](new_id()), AsyncResult[Any](new_id(), queue="default")):
            with pytest.raises(JobUnknown, match="never sent"):
                handle.get()

    def test_an_ignored_result_is_none_for_the_handle_that_knows(self, worker: TinyWorker, aside: Aside):
        sent = jobs.nothing.delay(1)
        aside(worker.run_soon)
        assert sent.get(timeout=20) is None
        assert sent.get() is None
        with pytest.raises(JobUnknown):
            AsyncResult[Any](sent.id).get()

    def test_a_job_that_vanishes_without_a_row_has_ended(self, worker: TinyWorker, aside: Aside):
        sent = jobs.raises.delay("ignore")
        aside(worker.run_soon)
        assert AsyncResult[Any](sent.id).get(timeout=20) is None


class TestTimeouts:
    def why(self, handle: AsyncResult[Any]) -> str:
        with pytest.raises(ResultTimeout) as caught:
            handle.get(timeout=0.02)
        assert isinstance(caught.value, TimeoutError)
        return str(caught.value)

    def test_waiting_behind_others(self, worker: TinyWorker):
        sent = [jobs.add.delay(1, n) for n in range(4)]
        assert "waits in the queue 'default' behind 3 jobs" in self.why(sent[3])
        assert "behind one job" in self.why(sent[1])
        assert self.why(sent[0]).endswith("it waits in the queue 'default'.")

    def test_nobody_listens(self, project: dict[str, Any]):
        assert "no worker listens there" in self.why(jobs.add.apply_async((1, 1), queue="mail"))

    def test_paused(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 1)
        get_broker().pause("default")
        assert "'default', which is paused" in self.why(sent)
        get_broker().resume("default")

    def test_scheduled(self, worker: TinyWorker):
        assert "it is scheduled for 20" in self.why(jobs.add.apply_async((1, 1), countdown=600))

    def test_between_two_attempts(self, worker: TinyWorker):
        sent = jobs.flaky.apply_async((1,), retry_backoff=600)
        worker.run()
        assert "has failed (ConnectionError) and runs again at 20" in self.why(sent)

    def test_running(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 1)
        worker.claim()
        assert "a worker has it" in self.why(sent)
        started_ms = round((time.time() - 30) * 1000)
        get_store().update_meta(Record(sent.id, "t", "default", "STARTED", enqueued_ms=1, started_ms=started_ms))
        assert re.search(r"has been running for 3\d s", self.why(sent))

    def test_a_timed_out_waiter_leaves_nothing_behind(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 1)
        for _ in range(3):
            self.why(sent)
        worker.run()
        assert sent.get() == 2


class TestDeadlocks:
    def test_inside_a_job(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 1)
        worker.run()
        context = JobContext(Job(id=new_id(), task="t", queue="q"), (), {})
        token = current.set(context)
        try:
            with pytest.raises(WouldDeadlock, match="allow_in_job=True"):
                sent.get()
            assert sent.get(allow_in_job=True) == 2
        finally:
            current.reset(token)

    def test_in_the_transaction_that_made_the_job(self, worker: TinyWorker):
        with transaction.atomic():
            sent = jobs.add.delay(1, 1)
            with pytest.raises(WouldDeadlock, match="commit"):
                sent.get(timeout=5)
        worker.run()
        assert sent.get(timeout=5) == 2

    def test_what_has_ended_can_be_read_in_a_transaction(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 1)
        worker.run()
        with transaction.atomic():
            assert AsyncResult[int](sent.id).get(timeout=5) == 2

    def test_in_another_transaction(self, worker: TinyWorker, aside: Aside):
        """Where a transaction sees what others commit, waiting in one is fine; SQLite is told apart."""
        sent = jobs.add.delay(1, 1)
        with transaction.atomic():
            if connections["default"].vendor == "sqlite":
                with pytest.raises(WouldDeadlock, match="SQLite"):
                    sent.get(timeout=5)
            else:
                aside(worker.run_soon)
                assert sent.get(timeout=5) == 2

    def test_a_handle_made_after_on_commit_false(self, on_redis: dict[str, Any], worker: TinyWorker):
        with transaction.atomic():
            sent = jobs.add.apply_async((1, 1), on_commit=False)
            worker.run()
        assert sent.get(timeout=5) == 2
