"""The jobs of a test: captured, and run when the test says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.utils.asyncio import async_unsafe

from django_jobs.brokers.base import Message
from django_jobs.exceptions import JobsError, WouldDeadlock
from django_jobs.results.base import BaseStore
from django_jobs.testing.captured import EnqueuedJob, Run
from django_jobs.testing.clock import MovedClock, moment_of
from django_jobs.testing.enqueued import EnqueuedJobs
from django_jobs.testing.memory import MemoryBroker
from django_jobs.testing.runner import Runner

#: More attempts than these in one go are taken for an endless loop.
MOST_RUNS = 10_000


class Jobs(EnqueuedJobs):
    """Every job that was enqueued, in order, whether it has run since or not; and the means to run them."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__()
        #: Moved by ``advance()``; the broker and every job see its time.
        self.clock = MovedClock()
        #: Every attempt that has run, in order.
        self.runs: list[Run] = []
        self.store = store
        self.broker = self.make_broker()
        self.runner = Runner(self.broker, store)

    def make_broker(self) -> MemoryBroker:
        """Return the broker that stands in for the project's."""
        return CapturingBroker(self)

    def clear(self) -> None:
        """Forget what was enqueued and what has run. What waits goes on waiting."""
        self._enqueued.clear()
        self.runs.clear()

    def advance(self, by: timedelta | float) -> None:
        """Move the clock forward, by a timedelta or seconds. Runs nothing: ``drain()`` runs what has become due."""
        self.clock.advance(by)

    @async_unsafe("drain() runs jobs in this thread: in a coroutine await adrain().")
    def drain(
        self,
        *,
        until: timedelta | float | datetime | None = None,
        propagate: bool = True,
        most: int = MOST_RUNS,
    ) -> list[Run]:
        """
        Run what is due until nothing is, also what those jobs send. Return a Run for each attempt.

        ``until`` (a timedelta or seconds from now, or an aware datetime): moves the clock there, and on its way runs
        each job at its moment, the retried and the snoozed ones, too. The failure of a job is raised here, as the test
        client raises that of a view, and what is left waits for the next ``drain()``; with ``propagate=False`` it is
        returned like any other end. Raises JobsError after ``most`` attempts.
        """
        runs: list[Run] = []
        with self.clock.stopped():
            for run in self._on_the_way(None if until is None else moment_of(until)):
                runs.append(run)
                if propagate:
                    run.raise_failure()
                if len(runs) >= most:
                    raise JobsError(
                        f"{most:,} jobs have run, and there may be more: does one send itself for ever? The last was"
                        f" {run.job!r}. drain(most=...) allows more."
                    )
        return runs

    async def adrain(
        self,
        *,
        until: timedelta | float | datetime | None = None,
        propagate: bool = True,
        most: int = MOST_RUNS,
    ) -> list[Run]:
        """Do what ``drain`` does, from async code."""
        return await sync_to_async(self.drain)(until=until, propagate=propagate, most=most)

    def _on_the_way(self, last_ms: int | None) -> Iterator[Run]:
        """Run what is due, then move the clock to what is due next, until the last moment."""
        yield from self.run_due()
        while last_ms is not None:
            next_ms = self.runner.next_moment()
            if next_ms is None or next_ms > last_ms:
                self.clock.advance_to(last_ms)
                return
            self.clock.advance_to(next_ms)
            yield from self.run_due()

    def run_due(self) -> Iterator[Run]:
        """Run what is due, one job after the other."""
        while (end := self.runner.run_next()) is not None:
            run = Run(None if end.job is None else EnqueuedJob(end.job), end.outcome)
            self.runs.append(run)
            yield run


class CapturingBroker(MemoryBroker):
    """Shows a test what it takes."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """Make jobs ready, or scheduled. Return for each whether it was added."""
        added = super().enqueue(messages)
        self._jobs.capture(message for message, new in zip(messages, added, strict=True) if new)
        return added

    def wait_end(self, job_id: str, queue: str, timeout_ms: int) -> bool:
        """Refuse to wait: it is the test that runs the jobs."""
        raise WouldDeadlock(
            f"The job {job_id} has not ended, and nobody runs it while the test waits: call drain() before get()."
        )
