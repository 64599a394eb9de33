"""
Jobs whose body and end are one database transaction.

Whoever records the end of such a job commits what its body has done, and nobody else does: a process that was taken for
dead and finishes late finds that end there, and its body is undone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from django.db import InterfaceError, OperationalError, connections, transaction

from django_jobs import clock, transactions, workflow
from django_jobs.bounds import Bounds
from django_jobs.conf import settings
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsConfigurationError, ResultNotStorable
from django_jobs.execution import error_of, fence_of, outcome_of
from django_jobs.options import TaskOptions
from django_jobs.outcome import (
    Failed,
    Ignored,
    Outcome,
    Recorded,
    Rejected,
    Replaced,
    Retried,
    Succeeded,
    Superseded,
    Unsettled,
)
from django_jobs.results.base import BaseStore
from django_jobs.results.recording import record_of
from django_jobs.workflow import growing

logger = logging.getLogger("django_jobs.worker")

#: How long a job waits for SQLite's one write lock.
WAIT_MS = 20_000
#: The ends with which what the body has done is committed.
_KEEPS = Succeeded | Ignored | Replaced


class Atomic:
    """Runs jobs with ``atomic=True``, each in the thread of its slot."""

    def __init__(self, store: BaseStore, *, worker: str) -> None:
        self._store = store
        self._worker = worker

    @property
    def is_possible(self) -> bool:
        """Say whether the results are where a transaction can write them."""
        return self._store.is_transactional

    @property
    def can_report(self) -> bool:
        """Say whether others can write while a job runs: not on SQLite, whose one write lock it holds."""
        return connections[self._store.using].vendor != "sqlite"

    def __call__(self, job: Job, options: TaskOptions, deliveries: int, run: Callable[[], Outcome]) -> Outcome:
        """Run a job in a transaction that ends with the record of its end."""
        if not self.is_possible:
            return Failed(error_of(JobsConfigurationError(_no_transactions(self._store))))
        using, started_ms = self._store.using, clock.now_ms()
        outcome: Outcome | None = None
        committed: list[bool] = []
        connection, raw, closed = connections[using], None, False
        try:
            with Bounds(connection) as bounds, self._transaction(using), growing.put_off(job) as additions:
                # Before any of the job's.
                transaction.on_commit(bounds.end, using=using)
                transaction.on_commit(lambda: committed.append(True), using=using)
                outcome = run()
                raw, closed = connection.connection, connection.closed_in_transaction  # by the job's own code
                instead: Outcome | None = outcome
                if isinstance(outcome, _KEEPS):
                    bounds.begin()  # the body could be silent for as long as it liked; what is left is ours
                    growing.add_all(job, additions)
                    instead = self._record(job, options, deliveries, outcome, started_ms)
                if instead is not None:
                    transaction.set_rollback(True, using=using)
        except Exception as error:  # noqa: BLE001 - the job's commit hooks run in there, too
            return self._after_error(job, options, outcome, error, committed=bool(committed))
        if isinstance(outcome, _KEEPS):
            return instead or Recorded(outcome)
        # Django replaces a connection on which it cannot even undo.
        return _interrupted(outcome) if connection.connection is not raw and not closed else outcome

    @staticmethod
    def _transaction(using: str) -> AbstractContextManager[None]:
        if connections[using].in_atomic_block:  # a test's
            return transaction.atomic(using)
        return transactions.writing(using, wait_ms=WAIT_MS)

    def _record(
        self, job: Job, options: TaskOptions, deliveries: int, outcome: Outcome, started_ms: int
    ) -> Superseded | Failed | None:
        """
        Write the end of a job. Return how it has ended instead: somebody else has written it, or a newer attempt is
        under way; or its record, or the canvas that was to take its place, cannot be kept.
        """
        record = record_of(
            job,
            outcome,
            options=options,
            deliveries=deliveries,
            fence=fence_of(job, deliveries),
            worker=self._worker,
            started_ms=started_ms,
            finished_ms=clock.now_ms(),
        )
        try:
            written = (
                workflow.record_replaced(self._store, record, outcome)
                if isinstance(outcome, Replaced)
                else workflow.record(self._store, [record])
            )
        except workflow.NotReplaceable as error:
            cause = error.__cause__ or error
            return Failed(error_of(cause), cause)
        if written.stayed:
            return Superseded()
        if written.refused:
            why = ", ".join(written.refused.values())
            told = f"The job came to its end, but the database refused to keep its record, so it was undone: {why}"
            return Failed(error_of(ResultNotStorable(told)))
        if job.outbox and self._store.outbox is not None:
            # With the next attempt, if another run of this one has asked for it.
            self._store.outbox.settle([(job.id, job.generation + 1)], [], resend_ms=settings.outbox_resend_ms)
        return None

    @staticmethod
    def _after_error(
        job: Job, options: TaskOptions, outcome: Outcome | None, error: Exception, *, committed: bool
    ) -> Outcome:
        """Say how a job has ended whose transaction did not end in silence."""
        if outcome is not None and not isinstance(outcome, _KEEPS):
            # There was nothing to commit; with a lost connection there is nothing to undo it with, either.
            return _interrupted(outcome) if isinstance(error, OperationalError | InterfaceError) else outcome
        if committed and outcome is not None:
            logger.error("%s[%s] is committed, but a hook of its commit failed", job.task, job.id, exc_info=error)
            return Recorded(outcome)
        if outcome is None or isinstance(error, OperationalError | InterfaceError):
            # It has not begun, or nobody knows whether it was committed: whoever gets it next looks for its row.
            return Unsettled(error_of(error))
        return outcome_of(error, job, options)


def _interrupted(outcome: Outcome) -> Outcome:
    """Return what becomes of a job that did not end well while the database went away under it: it is not its fault."""
    return Unsettled(outcome.error) if isinstance(outcome, Failed | Retried | Rejected) else outcome


def _no_transactions(store: BaseStore) -> str:
    return f"atomic=True needs results in a database with transactions, which {type(store).__qualname__} does not have."
