"""Jobs that run where they are sent: captured, and drained at once."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.asyncio import async_unsafe

from django_jobs.brokers.base import Message, Retry
from django_jobs.exceptions import JobsError
from django_jobs.results.base import BaseStore
from django_jobs.testing.jobs import CapturingBroker, Jobs
from django_jobs.testing.memory import MemoryBroker

#: A job that is sent by a job runs inside of it: so deep, and no deeper.
DEEPEST = 20
#: More attempts than these, for one job sent by the test, are taken for an endless loop.
MOST_RUNS = 10_000


class EagerJobs(Jobs):
    """Runs each job as soon as it is sent, and again as soon as it is to be retried."""

    def __init__(self, store: BaseStore, *, propagate: bool) -> None:
        super().__init__(store)
        self._propagate = propagate
        self._depth = 0
        self._left = MOST_RUNS
        self._endless = ""

    def make_broker(self) -> MemoryBroker:
        """Return a broker that runs what it takes."""
        return EagerBroker(self)

    def run_now(self) -> None:
        """Run what was sent. Raises JobsError for jobs that would go on for ever, where the first of them was sent."""
        if self.runner.is_settling:
            return  # what follows a step runs after it, not inside of it
        if self._depth == DEEPEST:
            self._endless = f"jobs send each other, {DEEPEST} deep"
        if self._endless:
            return
        if self._depth == 0:
            self._left = MOST_RUNS
        self._depth += 1
        try:
            self._run_due()
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._end()

    def _run_due(self) -> None:
        for run in self.run_due():
            self._left -= 1
            if self._propagate:
                run.raise_failure()
            if self._left <= 0:
                self._endless = f"{MOST_RUNS:,} attempts"
            if self._endless:
                return

    def _end(self) -> None:
        """Drop what would go on for ever, and say so."""
        why, self._endless = self._endless, ""
        if not why:
            return
        for queue in self.broker.queues():
            self.broker.purge(queue)
        raise JobsError(
            f"eager() does not wait, and here it would never end: {why}. The last job was {self.runs[-1].job!r}."
            " capture_jobs() with drain(until=...) runs each job at its moment."
        )


class EagerBroker(CapturingBroker):
    """A broker in which nothing waits: an eta, a countdown and the delay of a retry count as over."""

    def __init__(self, jobs: EagerJobs) -> None:
        super().__init__(jobs)
        self._eager = jobs

    @async_unsafe("Inside eager() a job runs where it is sent: in a coroutine await adelay(), not delay().")
    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """Take jobs and run them."""
        added = super().enqueue([message._replace(eta_ms=None) for message in messages])
        self._eager.run_now()
        return added

    def retry(self, retries: Sequence[Retry]) -> list[str]:
        """Make claimed jobs ready again with a new body."""
        return super().retry([retry._replace(delay_ms=0) for retry in retries])
