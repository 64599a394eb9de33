"""What is done to queues, workers, and old results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from django_jobs.brokers import get_broker
from django_jobs.results import get_store
from django_jobs.results.sql import BATCH
from django_jobs.revocation import record_revoked
from django_jobs.states import Place

PRUNE_BATCH = 1000
#: Why a job is dead that a purge has found.
PURGED = "purged"


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
