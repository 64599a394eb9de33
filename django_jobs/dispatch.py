"""
The only door out of the process: encode, wait for the commit, hand to the broker, signal.

Nothing here decides what a job is; it decides when it leaves, and what is said when it cannot.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary, WeakSet

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobs import bounds, middleware, relay, signals
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import BaseBroker, Message
from django_jobs.conf import settings
from django_jobs.envelope import Job
from django_jobs.exceptions import (
    BrokerUnavailable,
    EnqueueError,
    JobsConfigurationError,
    PayloadTooLarge,
    StoreUnavailable,
)
from django_jobs.registry import registry
from django_jobs.results import get_store
from django_jobs.results.outbox import Kept

logger = logging.getLogger("django_jobs")

#: After a failure, sends of this process fail at once for this long: ten jobs of a request never cost ten timeouts.
BREAK_SECONDS = 1.0
#: Bytes; of what has been let pass before.
_NO_LIMIT = sys.maxsize
_broken: BaseBroker | None = None
_broken_until = 0.0
_broken_by = ""

#: What puts off a callable until a commit, instead of ``transaction.on_commit``; see ``use_on_commit``.
_on_commit: Callable[..., None] | None = None


def send(
    jobs: Sequence[Job], *, using: str | None = None, on_commit: bool | None = None, outbox: bool | None = None
) -> Sequence[Job]:
    """
    Send jobs; inside a transaction of the database ``using``, with its commit. Return those that middleware let pass.

    A broker that lives in that database writes in that transaction, and so does the outbox, whose jobs the broker is
    given after the commit, in the background. Otherwise, unless ``on_commit`` is False, the jobs are sent right after
    the commit, and a rollback drops them. Raises PayloadTooLarge, and EnqueueError when the broker does not take them
    within ENQUEUE_TIMEOUT (at the commit, for jobs that waited for it), or the database does not take the outbox's.
    """
    return send_passed(through_middleware(jobs), using=using, on_commit=on_commit, outbox=outbox)


def send_passed(
    jobs: Sequence[Job], *, using: str | None = None, on_commit: bool | None = None, outbox: bool | None = None
) -> Sequence[Job]:
    """Send jobs that have gone through middleware; see ``send``."""
    if not jobs:
        return jobs
    alias = using or settings.database
    if (settings.outbox if outbox is None else outbox) and uses_outbox(alias, insists=bool(outbox)):
        _keep([job.evolve(outbox=True) for job in jobs])
        return jobs
    limit = settings.max_payload
    messages = [to_message(job, limit) for job in jobs]
    connection = connections[alias]
    if connection.in_atomic_block:
        register = _on_commit or transaction.on_commit
        if get_broker().joins_transaction(alias):
            added = _hand_over(jobs, messages)
            if signals.job_enqueued.receivers:  # the broker has them when they are committed, not before
                register(lambda: _announce(jobs, added), using=alias)
            return jobs
        if settings.on_commit if on_commit is None else on_commit:
            register(_AfterCommit(connection, jobs, messages), using=alias)
            return jobs
    _announce(jobs, _hand_over(jobs, messages))
    return jobs


def uses_outbox(alias: str, *, insists: bool = False) -> bool:
    """
    Say whether the outbox makes a difference to jobs that are sent with transactions of this database.

    It does not to a broker in the database of the outbox itself, nor to that of a test. ``insists``: somebody asks for
    it; raises JobsConfigurationError where it cannot be had.
    """
    broker, store = get_broker(), get_store()
    if not broker.is_shared or broker.joins_transaction(settings.database):
        return False
    if alias == settings.database and store.outbox is not None:
        return True
    if insists and store.outbox is None:
        raise JobsConfigurationError(
            f"outbox=True keeps jobs where results are kept; {type(store).__qualname__} does not do that."
        )
    if insists:
        raise JobsConfigurationError(
            f"outbox=True keeps jobs in the database {settings.database!r} (DJANGO_JOBS['DATABASE']): it cannot be"
            f" written in a transaction of using={alias!r}."
        )
    return False


def send_again(jobs: Sequence[Job], *, before: Callable[[], None]) -> None:
    """
    Put jobs that have ended into the outbox anew, in the transaction that is open, and send them after its commit.

    Whatever becomes of this process, and of the broker: they are sent once the transaction is committed. ``before`` is
    called right before. The jobs have gone through middleware, and carry ``outbox=True`` already.
    """
    outbox = get_store().outbox
    assert outbox is not None
    if not jobs:
        return
    outbox.replace([_to_kept(job) for job in jobs])

    def relay_now() -> None:
        before()
        relay.now([job.id for job in jobs])
        _announce(jobs, [True] * len(jobs))

    (_on_commit or transaction.on_commit)(relay_now, using=settings.database)


def send_following(jobs: Sequence[Job]) -> None:
    """
    Send steps of workflows, which have gone through middleware, with the transaction that is open.

    They are in the outbox, whatever OUTBOX says, or in the broker's part of the same database: whatever becomes of this
    process, they are sent once that is committed. No size is refused: it was when the workflow was sent.
    """
    if not jobs:
        return
    alias = settings.database
    register = _on_commit or transaction.on_commit
    if not uses_outbox(alias):
        messages = [to_message(job, _NO_LIMIT) for job in bounds.speaking(jobs)]
        if get_broker().joins_transaction(alias):
            added = get_broker().enqueue(messages)  # whatever has become of an earlier try to send something
            register(lambda: _announce(jobs, added), using=alias)
        else:
            register(lambda: _announce(jobs, _hand_over(jobs, messages)), using=alias)
        return
    jobs = [job.evolve(outbox=True) for job in bounds.speaking(jobs)]
    outbox = get_store().outbox
    assert outbox is not None
    outbox.replace([Kept(*to_message(job, _NO_LIMIT), job.generation) for job in bounds.speaking(jobs)])

    def committed() -> None:
        relay.now([job.id for job in jobs])
        _announce(jobs, [True] * len(jobs))

    register(committed, using=alias)


def _keep(jobs: Sequence[Job]) -> None:
    """Put jobs into the outbox, in the transaction that is open, and have them relayed after its commit."""
    outbox = get_store().outbox
    assert outbox is not None
    kept = [_to_kept(job) for job in jobs]
    try:
        added = outbox.add(kept)
    except StoreUnavailable as error:
        raise EnqueueError(
            f"{_describe(jobs)} could not be sent: {error}", job_ids=tuple(k.id for k in kept)
        ) from error
    if not added:
        return  # the same job_id: whoever put it there sees to it

    def committed() -> None:
        relay.soon([job.id for job in kept])
        _announce(jobs, [True] * len(jobs))

    if connections[settings.database].in_atomic_block:
        (_on_commit or transaction.on_commit)(committed, using=settings.database)
    else:
        committed()


def _to_kept(job: Job) -> Kept:
    return Kept(*to_message(job), job.generation)


@contextmanager
def use_on_commit(register: Callable[..., None]) -> Iterator[None]:
    """Let ``register(callable, using=alias)`` put off what waits for a commit; for tests, which never commit."""
    global _on_commit
    before, _on_commit = _on_commit, register
    try:
        yield
    finally:
        _on_commit = before


def to_message(job: Job, limit: int | None = None) -> Message:
    """Encode a job. ``limit``: MAX_PAYLOAD, when it is known already. Raises PayloadTooLarge."""
    body = job.encode()
    limit = limit or settings.max_payload
    if len(body) > limit:
        raise PayloadTooLarge(
            f"The job {job.task} is {len(body):,} bytes large; DJANGO_JOBS['MAX_PAYLOAD'] allows {limit:,}. Store the"
            " data (a model, a file, the cache) and pass its key."
        )
    return Message(job.id, job.queue, body, job.priority, job.eta_ms)


def through_middleware(jobs: Sequence[Job]) -> Sequence[Job]:
    """Return the jobs that middleware lets pass, as it lets them."""
    if not middleware.loaded():
        return jobs
    passed: list[Job] = []
    enqueue = middleware.around_enqueue(passed.append)
    with bounds.for_code_of_the_project():
        for job in jobs:
            enqueue(job)
    return passed


def _hand_over(jobs: Sequence[Job], messages: Sequence[Message]) -> Sequence[bool]:
    """Give messages to the broker, now. Say of each whether it was new to it. Raises EnqueueError."""
    global _broken, _broken_until, _broken_by
    broker = get_broker()
    if broker is _broken and time.monotonic() < _broken_until:
        raise EnqueueError(
            f"{_describe(jobs)} could not be sent: the broker was away a moment ago ({_broken_by}).",
            job_ids=_ids(messages),
        )
    try:
        return broker.enqueue(messages)
    except BrokerUnavailable as error:
        _broken, _broken_until, _broken_by = broker, time.monotonic() + BREAK_SECONDS, str(error)
        raise EnqueueError(f"{_describe(jobs)} could not be sent: {error}", job_ids=_ids(messages)) from error


def _ids(messages: Sequence[Message]) -> tuple[str, ...]:
    return tuple(message.id for message in messages)


def _announce(jobs: Sequence[Job], added: Sequence[bool]) -> None:
    if not signals.job_enqueued.receivers:
        return
    for job, is_new in zip(jobs, added, strict=True):
        if is_new:
            signals.send(signals.job_enqueued, registry.get(job.task), job=job)


def _describe(jobs: Sequence[Job]) -> str:
    first = f"{jobs[0].task}[{jobs[0].id}]"
    return first if len(jobs) == 1 else f"{first} and {len(jobs) - 1} more jobs"


class _AfterCommit:
    """
    Sends jobs when their transaction has committed.

    An exception of one commit hook makes Django drop the hooks after it. So a failure is logged and kept, and raised by
    the last of ours: every job is tried. Hooks of a savepoint that was rolled back are dropped by Django and then leave
    the set by themselves, because nobody else holds them.
    """

    _pending: WeakKeyDictionary[BaseDatabaseWrapper, WeakSet[_AfterCommit]] = WeakKeyDictionary()
    _lock = threading.Lock()

    def __init__(self, connection: BaseDatabaseWrapper, jobs: Sequence[Job], messages: Sequence[Message]) -> None:
        self._connection = connection
        self._jobs = jobs
        self._messages = messages
        self._failed: list[str] = []
        with self._lock:
            self._siblings = self._pending.setdefault(connection, WeakSet())
        self._siblings.add(self)

    def __call__(self) -> None:
        self._siblings.discard(self)
        try:
            _announce(self._jobs, _hand_over(self._jobs, self._messages))
        except EnqueueError as error:
            logger.error("%s The transaction has been committed.", error)  # noqa: TRY400 - it says all there is to say
            self._failed += error.job_ids
        if not self._failed:
            return
        heir = next(iter(self._siblings), None)
        if heir is not None:
            heir._failed += self._failed
            return
        raise EnqueueError(
            f"{len(self._failed)} jobs of a transaction that has been committed could not be sent:"
            f" {', '.join(self._failed[:10])}",
            job_ids=tuple(self._failed),
        )


def _renew_lock() -> None:
    _AfterCommit._lock = threading.Lock()  # another thread of the parent's may have held it at the fork


os.register_at_fork(after_in_child=_renew_lock)
