"""What operators and handles do to jobs and queues. For admin, shell and command line alike."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

from django_jobs import clock, dispatch, relay
from django_jobs.brokers import get_broker
from django_jobs.conf import settings
from django_jobs.envelope import Job, decode
from django_jobs.exceptions import BrokerUnavailable, DecodeError, EnqueueError
from django_jobs.execution import fence_of
from django_jobs.identifiers import parse_id
from django_jobs.outcome import Error
from django_jobs.results import get_store
from django_jobs.results.base import Record, StoredResult
from django_jobs.results.recording import event_line, history_line
from django_jobs.revocation import record_revoked
from django_jobs.states import Place, State

#: Jobs of one transaction.
BATCH = 500
PRUNE_BATCH = 1000
#: Why a job is dead that a purge has found.
PURGED = "purged"
#: A job whose end is older has been acked, or never will be; generous, because two clocks are compared.
JUST_ENDED_MS = 300_000
#: How long an ack may take to follow its row.
ACK_SECONDS = 2.0

_RETRYABLE = frozenset({State.FAILURE.value, State.REVOKED.value})
_DISCARDABLE = frozenset({State.FAILURE.value})
_ENDED = frozenset({State.SUCCESS.value, *_RETRYABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of an operation on some jobs."""

    done: int = 0
    #: Not in a state for it, not known, or taken by somebody else at the same moment.
    skipped: int = 0


def retry(job_ids: Sequence[str], *, by: str = "") -> Summary:
    """
    Send jobs that failed or were revoked again, with the same id and arguments and all their retries.

    What their last attempt said goes into their history. They wait for no moment and expire no more, and each is sent
    once, however many operators ask for it at the same time. A broker that is away gets them when it is back: they wait
    in the outbox. Without one (a store of your own) EnqueueError is raised then, and they are what they were.
    """
    return _in_batches(job_ids, lambda ids: _retry(ids, by))


def discard(job_ids: Sequence[str], *, by: str = "") -> Summary:
    """Mark failed jobs as revoked: nobody has to look at them any more. Rows and errors stay, and can be retried."""
    return _in_batches(job_ids, lambda ids: len(_change(ids, _DISCARDABLE, lambda row: _discarded(row, by))))


def revoke(job_id: str, queue: str | None = None, *, terminate: bool = False) -> State:
    """
    Stop a job that waits, and record that it was revoked. Return how it stands now.

    One that is with a worker is asked to stop, with ``terminate`` interrupted and then killed, at the next heartbeat:
    STARTED until then. One that has ended stays as it is. ``queue`` saves a search. Raises BrokerUnavailable,
    StoreUnavailable; asking again is safe.
    """
    job_id = parse_id(job_id)
    broker, store = get_broker(), get_store()
    found = broker.find(job_id, queue)
    if found is None and (state := _revoke_in_outbox(job_id)) is not None:
        return state
    if found is None or found.place is Place.IN_FLIGHT:
        stored = store.get(job_id)
        if stored is not None and (found is None or stored.record.state in _ENDED):
            return _state_of(stored.record.state)
        if found is None:
            return State.UNKNOWN
    place = broker.revoke(job_id, found.queue, terminate=terminate)
    if place is Place.IN_FLIGHT:
        return State.STARTED
    if place is None:
        return _stored_state(job_id)
    recorded = record_revoked([found])
    if recorded.settled:
        broker.forget(recorded.settled, found.queue)
    recorded.announce()
    return State.REVOKED if recorded.revoked else _stored_state(job_id)


def _revoke_in_outbox(job_id: str) -> State | None:
    """Revoke a job that the broker does not know, if it is in the outbox: nobody can relay it meanwhile."""
    broker, store = get_broker(), get_store()
    if store.outbox is None or store.outbox.get(job_id) is None:
        return None
    with store.transaction():
        kept = store.outbox.lock(job_id)
        if kept is None or broker.find(job_id, kept.queue) is not None:
            return None
        recorded = record_revoked([relay.as_found(kept)])
    recorded.announce()
    return State.REVOKED if recorded.revoked else _stored_state(job_id)


def _stored_state(job_id: str) -> State:
    stored = get_store().get(job_id)
    return State.UNKNOWN if stored is None else _state_of(stored.record.state)


def purge(queue: str, *, on_batch: Callable[[int], object] = lambda done: None) -> int:
    """
    Revoke what waits in a queue now, ready or scheduled, and record it. Return how many jobs that were.

    What runs goes on, and what is sent meanwhile may stay. Each batch of 500 is recorded before the next is taken;
    what a purge that was killed has left behind as dead, the next one records, and so does a worker. ``on_batch`` is
    told how many are done. Raises BrokerUnavailable, StoreUnavailable; asking again goes on.
    """
    broker = get_broker()
    (counts,) = broker.counts([queue])
    left, done = counts.ready + counts.scheduled, _bury_purged(queue)
    while left > 0:
        with _as_one():
            moved = broker.purge(queue, limit=min(BATCH, left))
            done += _bury_purged(queue)
        left = left - moved if moved else 0
        on_batch(done)
    return done


@contextmanager
def _as_one() -> Iterator[None]:
    """Do what the broker and the store are told in one transaction, where they are in one database."""
    store = get_store()
    with store.transaction() if get_broker().joins_transaction(store.using) else nullcontext():
        yield


def _bury_purged(queue: str) -> int:
    """Record the jobs that a purge has moved to dead, and let the broker forget them. Return how many."""
    broker = get_broker()
    done = passed = 0
    while dead := broker.peek(queue, Place.DEAD, limit=BATCH, offset=passed):
        purged = [found for found in dead if found.reason == PURGED]
        recorded = record_revoked(purged) if purged else None
        settled = [] if recorded is None else recorded.settled
        passed += len(dead) - len(settled)  # others see to those
        if recorded is not None and settled:
            done += broker.forget(settled, queue)
            recorded.announce(PURGED)
    return done


def pause(queue: str) -> None:
    """Let no worker take jobs from this queue until ``resume``. What runs goes on. Raises BrokerUnavailable."""
    get_broker().pause(queue)


def resume(queue: str) -> None:
    """End a pause. Raises BrokerUnavailable."""
    get_broker().resume(queue)


def tell(worker: str, what: str) -> bool:
    """
    Leave a command for a worker, named as ``inspection.workers()`` does (``key``): "stop", "quiet" or "dump".

    It obeys with its next heartbeat. False: it is not heard of. Raises BrokerUnavailable.
    """
    return get_broker().command(worker, json.dumps({"do": what}).encode())


def prune(*, on_batch: Callable[[int], object] = lambda done: None) -> int:
    """
    Delete the results whose time is over, by batches, as workers do all the time. Return how many. Raises
    StoreUnavailable.
    """
    store, done = get_store(), 0
    while True:
        pruned = store.prune(limit=PRUNE_BATCH)
        done += pruned
        on_batch(done)
        if pruned < PRUNE_BATCH:
            return done


def _state_of(state: str) -> State:
    return State(state) if state in State.values else State.STARTED


def _in_batches(job_ids: Sequence[str], act: Callable[[list[str]], int]) -> Summary:
    ids = [parse_id(job_id) for job_id in job_ids]
    done = sum(act(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH))
    return Summary(done=done, skipped=len(ids) - done)


def _change(
    ids: Sequence[str], states: frozenset[str], change: Callable[[StoredResult], Record | None]
) -> list[tuple[Record, Record]]:
    """Replace rows that are in one of these states. Return before and after of those that were still as read."""
    store = get_store()
    pairs = {}
    for job_id, row in store.get_many(ids).items():
        after = change(row) if row.record.state in states else None
        if after is not None:
            pairs[job_id] = (row.record, after)
    done = store.reopen([after for _, after in pairs.values()])
    return [pairs[job_id] for job_id in done]


# Retry


def _retry(ids: Sequence[str], by: str) -> int:
    broker, store = get_broker(), get_store()
    if broker.joins_transaction(store.using):
        # Rows and jobs are in one database, and cannot come apart.
        with store.transaction():
            changed = _change(ids, _RETRYABLE, lambda row: _reopened(row, by))
            _send(changed)
        return len(changed)
    if broker.is_shared and store.outbox is not None:
        return _retry_through_outbox(ids, by)
    try:
        _await_acks(ids)
    except BrokerUnavailable as error:
        raise EnqueueError(str(error), job_ids=tuple(ids)) from error
    changed = _change(ids, _RETRYABLE, lambda row: _reopened(row, by))
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
        changed = _change(ids, _RETRYABLE, lambda row: _reopened(row, by, outbox=True))
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
    for record in [row for row in rows if row.state in _RETRYABLE and (row.finished_ms or 0) > since_ms]:
        while _is_in_flight(record) and time.monotonic() < deadline:
            time.sleep(0.005)


def _is_in_flight(record: Record) -> bool:
    found = get_broker().find(record.id, record.queue)
    return found is not None and found.place is Place.IN_FLIGHT


def _send(changed: Sequence[tuple[Record, Record]]) -> None:
    jobs = [job for _, after in changed if (job := _sent_again(after)) is not None]
    _forget_dead(jobs)
    dispatch.send(jobs, using=get_store().using, on_commit=True, outbox=False)


def _forget_dead(jobs: Sequence[Job]) -> None:
    """A dead entry of the same id (revoked a moment ago) would make the broker take it for known."""
    with suppress(BrokerUnavailable):  # then the next step says so, or is repeated
        for queue in sorted({job.queue for job in jobs}):
            get_broker().forget([job.id for job in jobs if job.queue == queue], queue)


def _reopened(row: StoredResult, by: str, *, outbox: bool = False) -> Record | None:
    """Return the row of a job that is sent again; None: there is nothing that could be sent."""
    before = row.record
    job = _sent_again(before)
    if job is None:
        return None
    generation = max(job.generation, before.fence >> 16) + 1
    job = job.evolve(generation=generation, retries=0, eta_ms=None, expires_ms=None, outbox=outbox)
    now_ms = clock.now_ms()
    return Record(
        id=before.id,
        task=before.task,
        queue=before.queue,
        state=State.PENDING.value,
        priority=before.priority,
        args=before.args,
        kwargs=before.kwargs,
        fence=fence_of(job, 0),
        enqueued_ms=before.enqueued_ms,
        expires_ms=_after(now_ms, settings.results_ms("FAILURES_EXPIRE")),
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


# Discard


def _discarded(row: StoredResult, by: str) -> Record:
    before = row.record
    return before._replace(
        state=State.REVOKED.value,
        fence=((before.fence >> 16) + 1) << 16,
        history=event_line("discarded", by=by, at_ms=clock.now_ms()),
    )
