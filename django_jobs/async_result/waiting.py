"""
Waiting for the end of a job, once for threads and for coroutines.

``steps`` is a generator that looks, and says in between for what to wait; whoever drives it waits in its own way,
blocking or not.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.db import connections

from django_jobs.async_result.look import Look, is_blocked, look, why_not_done
from django_jobs.brokers import get_broker
from django_jobs.conf import settings
from django_jobs.context import current_job_or_none
from django_jobs.exceptions import BrokerUnavailable, JobUnknown, ResultTimeout, WouldDeadlock
from django_jobs.results import get_store
from django_jobs.states import Place, State

#: A waiter that is to be woken looks by itself this often, in case it was forgotten.
SLICE_SECONDS = 5.0
#: Where nobody can wake it, the row is read this often; the first and the longest pause.
POLL_FIRST, POLL_LAST = 0.005, 0.25
#: While polling, whether the broker still has the job is asked this often: a job may end without a row.
ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pause:
    """What to do before looking again."""

    seconds: float
    #: Wait in the broker, to be woken by the end of the job; None: just wait.
    queue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """For which job, and what its handle knows."""

    id: str
    #: Of a handle that sent the job.
    queue: str | None
    ignored: bool


def steps(job: Waited, timeout: float | None, *, allow_in_job: bool) -> Generator[Pause, bool, Look]:
    """
    Look until the job has ended, and return what was seen last. What is sent in says whether a pause was ended by the
    job.

    A job that was there and is gone without a row has ended with nothing to record: its look is UNKNOWN. Raises
    JobUnknown, WouldDeadlock, ResultTimeout.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    seen = check_waiting(job, allow_in_job=allow_in_job)
    if seen.is_recorded or seen.state == State.UNKNOWN:
        return seen
    queue = seen.found.queue if seen.found is not None else job.queue
    if get_broker().supports_wait_end and queue is not None:
        return (yield from _woken(job, seen, queue, deadline, timeout))
    return (yield from _polled(job, deadline, timeout, is_group=seen.is_group))


def check_waiting(job: Waited, *, allow_in_job: bool) -> Look:
    """Look at a job before it is waited for. Raises JobUnknown, and WouldDeadlock where it could be for ever."""
    if not allow_in_job and current_job_or_none() is not None:
        raise WouldDeadlock(
            "get() inside a job can bring all workers to a stop: each waits for a job that none is free to run. Let the"
            " other job do what follows; or pass allow_in_job=True, if others than this queue's workers run it."
        )
    seen = look(job.id, job.queue)
    if seen.is_recorded:
        return seen
    _check_transaction(job, seen)
    if seen.state == State.UNKNOWN and not job.ignored:
        raise JobUnknown(
            f"The job {job.id} is not known: it was never sent, was rolled back, or its result has been pruned."
        )
    return seen


def _woken(
    job: Waited, seen: Look, queue: str, deadline: float | None, timeout: float | None
) -> Generator[Pause, bool, Look]:
    broker = get_broker()
    while True:
        broker.watch_end(job.id, queue)
        woken = False
        try:
            # What the broker still has ends later than this, and wakes us: its row need not be read again for now.
            found = broker.find(job.id, queue)
            is_certain = found is not None and found.place is not Place.DEAD
            while not woken:
                if not is_certain:
                    seen = look(job.id, queue)
                    if seen.is_recorded or seen.state == State.UNKNOWN:
                        return seen
                is_certain = False
                left = _left(deadline)
                if left <= 0:
                    raise _timed_out(job, seen, timeout)
                # A step that will never run has nobody who wakes us.
                woken = yield Pause(min(left, POLL_LAST if seen.is_blocked else SLICE_SECONDS), queue)
        finally:
            if not woken:
                broker.unwatch_end(job.id, queue)
        seen = look(job.id, queue)
        if seen.is_recorded or seen.state == State.UNKNOWN:
            return seen
        # It ended, and was sent again.


def _polled(
    job: Waited, deadline: float | None, timeout: float | None, *, is_group: bool
) -> Generator[Pause, bool, Look]:
    pause = POLL_FIRST
    ask_at = time.monotonic() + ASK_SECONDS
    while True:
        left = _left(deadline)
        if left > 0:
            yield Pause(min(pause, left))
        pause = min(pause * 2, POLL_LAST)
        if job.ignored or is_group or left <= 0 or time.monotonic() >= ask_at:
            seen = look(job.id, job.queue)
            ask_at = time.monotonic() + ASK_SECONDS
            if seen.is_recorded or seen.state == State.UNKNOWN:
                return seen
            if left <= 0:
                raise _timed_out(job, seen, timeout)
            continue
        stored = get_store().get(job.id)
        if stored is not None:
            seen = Look(state=stored.record.state, stored=stored)
            if seen.is_recorded:
                return seen


def _left(deadline: float | None) -> float:
    return SLICE_SECONDS if deadline is None else deadline - time.monotonic()


def _timed_out(job: Waited, seen: Look, timeout: float | None) -> ResultTimeout:
    try:
        reason = why_not_done(seen)
    except BrokerUnavailable as error:
        reason = str(error)
    return ResultTimeout(f"The job {job.id} has not ended within {timeout:g} s: {reason}.")


def _check_transaction(job: Waited, seen: Look) -> None:
    """Refuse to wait, in an open transaction, for what cannot happen before its end. Raises WouldDeadlock."""
    opened = [connection for connection in connections.all(initialized_only=True) if connection.in_atomic_block]
    if not opened:
        return
    if seen.state == State.UNKNOWN:
        if job.queue is None:
            return
        raise WouldDeadlock(
            f"The job {job.id} is not known yet, and a transaction is open here: a job is sent at the commit of the"
            " transaction it was made in. Call get() after that, or send the job with on_commit=False."
        )
    broker = get_broker()
    if not broker.is_shared:
        return
    for connection in opened:
        joins = broker.joins_transaction(connection.alias) or (
            (seen.in_outbox or seen.is_blocked) and connection.alias == settings.database
        )
        if joins and not _is_sent(job.id, seen):
            raise WouldDeadlock(
                f"The job {job.id} is only sent at the commit of the transaction that is open here: no worker sees it"
                " before that. Call get() after the commit."
            )
        if connection.vendor == "sqlite" and connection.alias == settings.database:
            raise WouldDeadlock(
                f"A transaction is open here on {connection.alias!r}, which is SQLite: it sees nothing that a worker"
                " writes, and may keep workers from writing. Call get() after its end."
            )


def _is_sent(job_id: str, seen: Look) -> bool:
    """Say whether others see the job, too: ask from another thread, which has a connection of its own."""

    def find() -> bool:
        try:
            if seen.is_blocked:
                return is_blocked(job_id)
            outbox = get_store().outbox
            if seen.in_outbox and outbox is not None and outbox.get(job_id) is not None:
                return True
            return get_broker().find(job_id, None if seen.found is None else seen.found.queue) is not None
        except BrokerUnavailable:
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1, thread_name_prefix="django-jobs-look") as pool:
        return pool.submit(find).result()
