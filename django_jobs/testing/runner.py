"""
Runs jobs in the caller's thread, by the worker's own path: claim, execute, settle, ack.

What differs from a worker is what has to: there is one slot, every job is settled alone, so that the next one sees its
result, and a job runs inside the test's transaction, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

from asgiref.sync import async_to_sync
from django.db import DatabaseError, connections

from django_jobs import clock
from django_jobs.brokers.base import BaseBroker, Claimed, Consumer
from django_jobs.envelope import Job
from django_jobs.execution import Delivery, aexecute, execute, options_of
from django_jobs.outcome import Outcome, plain
from django_jobs.registry import RegisteredTask, registry
from django_jobs.results.base import BaseStore
from django_jobs.states import Place
from django_jobs.testing.commits import block_of_test, is_of_test
from django_jobs.worker import announce
from django_jobs.worker.atomic import Atomic
from django_jobs.worker.progress import ProgressReporter
from django_jobs.worker.settler import Settler
from django_jobs.worker.slots import Finished, read
from django_jobs.worker.wake import Wake
from django_jobs.workflow.growing import grow
from django_jobs.workflow.inputs import inputs_of

#: The name of the worker, as jobs and results show it.
WORKER = "test"
_LEASE_MS = 3_600_000


class Runner:
    """A worker of one slot, that does one job when it is asked to."""

    def __init__(self, broker: BaseBroker, store: BaseStore) -> None:
        self._broker = broker
        self._settler = Settler(broker, store, worker=WORKER)
        self._atomic = Atomic(store, worker=WORKER)
        self._progress = ProgressReporter(store, self._settler.reported, wake=Wake())
        #: Is the end of a job being recorded, and what follows it sent?
        self.is_settling = False

    def run_next(self) -> Finished | None:
        """Run the job that is due first, and settle it. Return how it went; None: nothing is due."""
        with self._consumer() as consumer:
            claimed = self._claim(consumer)
            if claimed is None:
                return None
            started_ms = clock.now_ms()
            job = read(claimed)
            if isinstance(job, Job):
                end = Finished(claimed, job, self._execute(claimed, job), started_ms, clock.now_ms())
            else:
                end = Finished(claimed, None, job, started_ms, clock.now_ms())
            self.is_settling = True
            try:
                self._broker.ack(self._settler.settle([end]))
            finally:
                self.is_settling = False
            return end._replace(outcome=plain(end.outcome))

    def next_moment(self) -> int | None:
        """Return when the next scheduled job is due, in ms; None: nothing is scheduled."""
        heads = [found for name in self._broker.queues() for found in self._broker.peek(name, Place.SCHEDULED, limit=1)]
        return min((found.moment_ms for found in heads), default=None)

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(id=uuid4().hex, queues=tuple(self._broker.queues()))
        self._broker.register(consumer, lease_ms=_LEASE_MS)
        try:
            yield consumer
        finally:
            # What an error of the store's left in flight is ready again.
            self._broker.unregister(consumer)

    def _claim(self, consumer: Consumer) -> Claimed | None:
        """Claim the best job of all queues: by priority, then by moment. Skip what has ended already."""
        while True:
            for name in consumer.queues:
                self._broker.claim(consumer, name, 0)
            heads = [found for name in consumer.queues for found in self._broker.peek(name, Place.READY, limit=1)]
            jobs: list[Claimed] = []
            for head in sorted(heads, key=lambda found: (-found.priority, found.moment_ms, found.id)):
                jobs = self._broker.claim(consumer, head.queue, 1).jobs
                if jobs:
                    break  # the queue of a head that is not handed out is paused
            to_run = self._settler.check_redelivered(jobs)
            if to_run or not jobs:
                return to_run[0] if to_run else None

    def _execute(self, claimed: Claimed, job: Job) -> Outcome:
        delivery = Delivery(
            deliveries=claimed.deliveries,
            crashes=claimed.crashes,
            worker=WORKER,
            report=self._report,
            on_start=partial(self._on_start, deliveries=claimed.deliveries),
            atomic=self._atomic if self._atomic.is_possible else None,
            inputs=inputs_of,
            grow=grow,
        )
        with _sheltered() as shelter:
            task = registry.get(job.task)
            run = async_to_sync(aexecute) if task is not None and task.is_async else execute
            outcome = run(job, delivery)
            shelter.mend(outcome)
        return outcome

    def _report(self, job: Job, state: str, meta: Any, *, fence: int, worker: str) -> None:
        self._progress(job, state, meta, fence=fence, worker=worker)
        self._progress.write()

    def _on_start(self, task: RegisteredTask, job: Job, *, deliveries: int) -> None:
        if options_of(task, job).track_started:
            self._progress.started(job, WORKER, deliveries)
            self._progress.write()
        announce.started(task, job)


class _Shelter:
    """The savepoints around a job, one for each connection on which the test has opened a transaction."""

    def __init__(self, aliases: list[str]) -> None:
        self._aliases = aliases

    def mend(self, outcome: Outcome) -> None:
        """After a database error let the job's queries be rolled back, where they would have broken the test's."""
        exception: BaseException | None = getattr(outcome, "exception", None)
        while exception is not None:
            if isinstance(exception, DatabaseError):
                for alias in self._aliases:
                    connections[alias].needs_rollback = True
                return
            exception = exception.__cause__ or exception.__context__


@contextmanager
def _sheltered() -> Iterator[_Shelter]:
    """
    Keep a database error of a job from breaking the test's transaction, as it breaks nothing in a worker.

    Without such an error nothing is rolled back, not even what a failed job has written: a worker keeps that, too.
    """
    opened = [
        connection.alias
        for connection in connections.all(initialized_only=True)
        if any(is_of_test(block) for block in connection.atomic_blocks) and not connection.needs_rollback
    ]
    with ExitStack() as stack:
        for alias in opened:
            stack.enter_context(block_of_test(alias))
        yield _Shelter(opened)
