"""Jobs that are sent again, and failed jobs that nobody has to look at any more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from django_jobs import clock, dispatch, workflow
from django_jobs.brokers import get_broker
from django_jobs.conf import settings
from django_jobs.envelope import GENERATION_BITS, Job, decode
from django_jobs.exceptions import BrokerUnavailable, DecodeError, EnqueueError
from django_jobs.execution import fence_of
from django_jobs.operations.summary import Summary, in_batches
from django_jobs.outcome import Error
from django_jobs.results import get_store
from django_jobs.results.base import Record
from django_jobs.results.recording import event_line, history_line
from django_jobs.states import Place, State

logger = logging.getLogger("django_jobs")

#: A job whose end is older has been acked, or never will be; generous, because two clocks are compared.
JUST_ENDED_MS = 300_000
#: How long an ack may take to follow its row.
ACK_SECONDS = 2.0

RETRYABLE = frozenset({State.FAILURE.value, State.REVOKED.value})
_DISCARDABLE = frozenset({State.FAILURE.value})


def retry(job_ids: Sequence[str], *, by: str = "") -> Summary:
    """
    Send jobs that failed or were revoked again, with the same id and arguments and all their retries.

    What their last attempt said goes into their history. They wait for no moment and expire no more, and each is sent
    once, however many operators ask for it at the same time. One that middleware does not let pass is skipped, and what
    it was. A broker that is away gets them when it is back: they wait in the outbox. Without one (a store of your own)
    EnqueueError is raised then, and they are what they were.
    """
    return in_batches(job_ids, lambda ids: _retry(ids, by))


def discard(job_ids: Sequence[str], *, by: str = "") -> Summary:
    """Mark failed jobs as revoked: nobody has to look at them any more. Rows and errors stay, and can be retried."""
    return in_batches(
        job_ids, lambda ids: len(_change(ids, _DISCARDABLE, lambda rows: [_discarded(row, by) for row in rows]))
    )


def _reopen_workflows(changed: Sequence[tuple[Record, Record]]) -> None:
    """Undo what the failures of steps have caused that are sent again, in the transaction that is open."""
    store = get_store()
    by_workflow: dict[str, list[str]] = {}
    for _, after in changed:
        if after.workflow_id is not None and store.workflows is not None:
            by_workflow.setdefault(after.workflow_id, []).append(after.id)
    for workflow_id in sorted(by_workflow):
        workflow.reopen(store, workflow_id, by_workflow[workflow_id])


def _change(
    ids: Sequence[str], states: frozenset[str], change: Callable[[Sequence[Record]], Sequence[Record]]
) -> list[tuple[Record, Record]]:
    """Replace rows that are in one of these states. Return before and after of those that were still as read."""
    store = get_store()
    rows = store.get_many(ids)
    workflow_ids = sorted({row.record.workflow_id for row in rows.values() if row.record.workflow_id is not None})
    if workflow_ids and store.workflows is not None:
        store.workflows.lock(workflow_ids)  # first, as whoever records an end does
    before = {job_id: row.record for job_id, row in rows.items() if row.record.state in states}
    after = {record.id: record for record in change(list(before.values()))}
    return [(before[job_id], after[job_id]) for job_id in store.reopen(list(after.values()))]


def _retry(ids: Sequence[str], by: str) -> int:
    broker, store = get_broker(), get_store()
    if broker.joins_transaction(store.using):
        # Rows and jobs are in one database, and cannot come apart.
        with store.transaction():
            changed = _change(ids, RETRYABLE, lambda rows: _reopened(rows, by))
            _reopen_workflows(changed)
            _send(changed)
        return len(changed)
    if broker.is_shared and store.outbox is not None:
        return _retry_through_outbox(ids, by)
    try:
        _await_acks(ids)
    except BrokerUnavailable as error:
        raise EnqueueError(str(error), job_ids=tuple(ids)) from error
    changed = _change(ids, RETRYABLE, lambda rows: _reopened(rows, by))
    _reopen_workflows(changed)
    try:
        _send(changed)
    except (EnqueueError, BrokerUnavailable) as error:
        store.record([before._replace(fence=after.fence, history="") for before, after in changed])
        if isinstance(error, BrokerUnavailable):
            raise EnqueueError(str(error), job_ids=tuple(before.id for before, _ in changed)) from error
        raise
    return len(changed)


def _retry_through_outbox(ids: Sequence[str], by: str) -> int:
    """Reopen rows, and put the jobs into the outbox, in one transaction: they are sent whatever happens after it."""
    with suppress(BrokerUnavailable):
        _await_acks(ids)
    with get_store().transaction():
        changed = _change(ids, RETRYABLE, lambda rows: _reopened(rows, by, outbox=True))
        _reopen_workflows(changed)
        jobs = [job for _, after in changed if (job := _sent_again(after)) is not None]
        dispatch.send_again(jobs, before=lambda: _forget_dead(jobs))
    return len(changed)


def _await_acks(ids: Sequence[str]) -> None:
    """
    Wait until the broker has let go of jobs that ended a moment ago: between its row and its ack a job is known to the
    broker, which would take the one that is sent again for the same, and then drop it with the ack.

    Those that a worker died with stay where they are, and are sent again by whoever gets them next.
    """
    since_ms, deadline = clock.now_ms() - JUST_ENDED_MS, time.monotonic() + ACK_SECONDS
    rows = (row.record for row in get_store().get_many(ids).values())
    for record in [row for row in rows if row.state in RETRYABLE and (row.finished_ms or 0) > since_ms]:
        while _is_in_flight(record) and time.monotonic() < deadline:
            time.sleep(0.005)


def _is_in_flight(record: Record) -> bool:
    found = get_broker().find(record.id, record.queue)
    return found is not None and found.place is Place.IN_FLIGHT


def _send(changed: Sequence[tuple[Record, Record]]) -> None:
    jobs = [job for _, after in changed if (job := _sent_again(after)) is not None]
    _forget_dead(jobs)
    dispatch.send_passed(jobs, using=get_store().using, on_commit=True, outbox=False)


def _forget_dead(jobs: Sequence[Job]) -> None:
    """A dead entry of the same id (revoked a moment ago) would make the broker take it for known."""
    with suppress(BrokerUnavailable):  # then the next step says so, or is repeated
        for queue in sorted({job.queue for job in jobs}):
            get_broker().forget([job.id for job in jobs if job.queue == queue], queue)


def _reopened(rows: Sequence[Record], by: str, *, outbox: bool = False) -> list[Record]:
    """Return the rows of jobs that are sent again; without those that cannot be, or that no middleware lets pass."""
    before = {row.id: row for row in rows}
    jobs = [job for row in rows if (job := _next_of(row, outbox=outbox)) is not None]
    passed = dispatch.through_middleware(jobs)
    if len(passed) < len(jobs):
        kept = {job.id for job in passed}
        for job in jobs:
            if job.id not in kept:
                logger.warning("%s[%s] is not sent again: a middleware has not let it pass", job.task, job.id)
    return [_waiting(before[job.id], job, by) for job in passed]


def _next_of(before: Record, *, outbox: bool) -> Job | None:
    """Return the next generation of a job that has ended; None: there is nothing that could be sent."""
    job = _sent_again(before)
    if job is None:
        return None
    generation = max(job.generation, before.fence >> GENERATION_BITS) + 1
    return job.evolve(generation=generation, retries=0, eta_ms=None, expires_ms=None, outbox=outbox)


def _waiting(before: Record, job: Job, by: str) -> Record:
    return Record(
        id=before.id,
        task=before.task,
        queue=job.queue,
        state=State.PENDING.value,
        priority=before.priority,
        args=before.args,
        kwargs=before.kwargs,
        fence=fence_of(job, 0),
        enqueued_ms=before.enqueued_ms,
        expires_ms=_after(clock.now_ms(), settings.results_ms("FAILURES_EXPIRE")),
        root_id=before.root_id,
        parent_id=before.parent_id,
        workflow_id=before.workflow_id,
        message=job.encode().decode("ascii"),
        history=_line_of(before, by),
    )


def _sent_again(record: Record) -> Job | None:
    if record.message is None:
        return None
    try:
        return decode(record.message, job_id=record.id, queue=record.queue)
    except DecodeError:
        return None


def _line_of(record: Record, by: str) -> str:
    more = {"retried_by": by} if by else {}
    return history_line(
        attempt=record.retries + 1,
        state=record.state,
        error=Error(record.exception_type, record.exception, record.traceback),
        worker=record.worker,
        started_ms=record.started_ms,
        finished_ms=record.finished_ms,
        **more,
    )


def _after(now_ms: int, kept_ms: int | None) -> int | None:
    return None if kept_ms is None else now_ms + kept_ms


def _discarded(before: Record, by: str) -> Record:
    return before._replace(
        state=State.REVOKED.value,
        fence=((before.fence >> GENERATION_BITS) + 1) << GENERATION_BITS,
        history=event_line("discarded", by=by, at_ms=clock.now_ms()),
    )
