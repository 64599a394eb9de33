"""
The end of jobs that are revoked while no worker has them.

Such a job may have been with a worker before: one that died, or lost it to another, and left progress in its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django_jobs import clock, signals, workflow
from django_jobs.brokers.base import Claimed, Found
from django_jobs.conf import settings
from django_jobs.envelope import DELIVERIES_MAX, GENERATION_BITS, Job, decode
from django_jobs.exceptions import DecodeError, JobRevoked
from django_jobs.execution import error_of, fence_of, options_in_force
from django_jobs.outcome import Revoked
from django_jobs.registry import registry
from django_jobs.results import get_store
from django_jobs.results.base import Record, Settled
from django_jobs.results.recording import record_of, record_of_undecodable
from django_jobs.states import State


class Recorded(NamedTuple):
    """What became of jobs that were to be recorded as revoked."""

    #: By id; None: one that cannot be read. To be announced when that is committed.
    revoked: dict[str, Job | None]
    #: Ids of those that had ended already, or were sent again meanwhile: the broker may forget them, too. What is in
    #: neither a worker has just written something about: it stays among the dead, and is recorded later.
    passed: list[str]

    @property
    def settled(self) -> list[str]:
        """The ids that the broker may forget."""
        return [*self.revoked, *self.passed]

    def announce(self, reason: str = "revoked") -> None:
        """Send the signals."""
        for job in self.revoked.values():
            if job is not None:
                signals.send(signals.job_revoked, registry.get(job.task), job=job, reason=reason)


def record_revoked(found: Sequence[Found]) -> Recorded:
    """Record that jobs are revoked, and take them out of the outbox, in one transaction. Raises StoreUnavailable."""
    store = get_store()
    with store.transaction():
        rows = store.settled([one.id for one in found])
        jobs = {one.id: _job_of(one) for one in found}
        records = {one.id: _record_of(one, jobs[one.id], rows.get(one.id)) for one in found}
        stayed = workflow.record(store, list(records.values())).stayed
        revoked = {job_id: job for job_id, job in jobs.items() if job_id not in set(stayed)}
        rows = store.settled(stayed) if stayed else {}
        passed = [job_id for job_id, row in rows.items() if _has_passed(row, records[job_id])]
        if store.outbox is not None:
            store.outbox.forget(list(revoked))
            ended = [(job_id, records[job_id].fence >> GENERATION_BITS) for job_id in passed]
            store.outbox.settle(ended, [], resend_ms=settings.outbox_resend_ms)
    return Recorded(revoked, passed)


def _has_passed(row: Settled, record: Record) -> bool:
    return row.is_terminal or row.fence >> GENERATION_BITS > record.fence >> GENERATION_BITS


def _job_of(found: Found) -> Job | None:
    try:
        return decode(found.body, job_id=found.id, queue=found.queue)
    except DecodeError:
        return None


def _record_of(found: Found, job: Job | None, row: Settled | None) -> Record:
    outcome = Revoked(error_of(JobRevoked()))
    now_ms = clock.now_ms()
    fence = 0 if row is None else row.fence
    if job is None:
        claimed = Claimed(found.id, found.queue, found.body, "", found.moment_ms, found.priority)
        record = record_of_undecodable(claimed, outcome, worker="", now_ms=now_ms)
        return record._replace(state=State.REVOKED.value, fence=fence)
    # Under the number of its last delivery: progress that it has written must not be newer than its end.
    deliveries = fence & DELIVERIES_MAX if fence >> GENERATION_BITS == job.generation else 0
    return record_of(
        job,
        outcome,
        options=options_in_force(registry.get(job.task), job),
        deliveries=deliveries,
        fence=fence_of(job, deliveries),
        worker="",
        started_ms=None,
        finished_ms=now_ms,
    )
