"""
From the outbox to the broker.

The process that has sent a job hands it over right after the commit, in a thread of its own: whoever calls ``delay()``
never waits for the broker. What that process does not get done (it died, or the broker is away) the keepers of the
workers do.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

from django.db import connections

from django_jobs import clock
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import BaseBroker, Found, Message
from django_jobs.conf import settings
from django_jobs.exceptions import BrokerUnavailable, StoreUnavailable
from django_jobs.results import get_store
from django_jobs.results.outbox import Kept, Outbox
from django_jobs.results.sql import BATCH, batches
from django_jobs.states import Place

logger = logging.getLogger("django_jobs")

#: After a failure the next try waits this long.
PAUSE_SECONDS = 1.0
#: A thread with nothing to do closes its database connection after this long.
IDLE_SECONDS = 2.0
#: So many ids wait for a broker that is away; the rows of the others are found by the keepers.
MOST_WAITING = 10_000


def relay(outbox: Outbox, broker: BaseBroker, ids: Sequence[str] | None = None) -> int:
    """
    Hand a batch of jobs to the broker, and return how many: of ``ids`` those that never were; None: what is due.

    The rows are locked meanwhile, so that no job ends between being looked at and being handed over. Raises
    BrokerUnavailable, StoreUnavailable; nothing has changed then, or it is done again without harm.
    """

    def send(jobs: list[Kept]) -> None:
        broker.enqueue([Message(*job[:5]) for job in jobs])

    # Not for a broker that does not answer: on SQLite nobody could write while it is waited for.
    broker.ping()
    return outbox.relay(send, ids=ids, resend_ms=settings.outbox_resend_ms)


def relay_due(outbox: Outbox, broker: BaseBroker, seconds: float) -> int:
    """Relay what is due, for about so long at most. Return how many jobs that were. Raises as ``relay`` does."""
    deadline = time.monotonic() + seconds
    count = 0
    while outbox.is_due():
        relayed = relay(outbox, broker)
        count += relayed
        # Less than a batch: nothing is left, or others are at it.
        if relayed < BATCH or time.monotonic() > deadline:
            break
    return count


class Relay:
    """The thread that hands over what this process has sent, started by the first job."""

    def __init__(self) -> None:
        self._ids: deque[str] = deque()
        self._wake = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_failing = False

    def push(self, ids: Iterable[str]) -> None:
        """Hand over jobs whose rows are committed, soon. Never waits, never raises."""
        with self._lock:
            if len(self._ids) < MOST_WAITING:
                self._ids.extend(ids)
            self._done.clear()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="django-jobs-relay", daemon=True)
                self._thread.start()
        self._wake.set()

    def finish(self, seconds: float) -> bool:
        """Wait until everything has been handed over, unless the broker is away. Return whether it has."""
        if self._thread is None:
            return True
        return not self._is_failing and self._done.wait(seconds)

    def _run(self) -> None:
        while True:
            if not self._wake.wait(IDLE_SECONDS):
                connections.close_all()
                self._wake.wait()
            self._wake.clear()
            while self._ids:
                if not self._hand_over():
                    time.sleep(PAUSE_SECONDS)
            with self._lock:
                if not self._ids:
                    self._done.set()

    def _hand_over(self) -> bool:
        """Relay a batch. False: it is to be tried again later."""
        ids = [self._ids.popleft() for _ in range(min(len(self._ids), BATCH))]
        try:
            outbox = get_store().outbox
            if outbox is not None:
                relay(outbox, get_broker(), ids)
        except (BrokerUnavailable, StoreUnavailable) as error:
            if not self._is_failing:
                logger.warning("Jobs wait in the outbox: %s", error)
            self._is_failing = True
            self._ids.extendleft(reversed(ids))
            return False
        except Exception:  # their rows are there, and the keepers look for them
            logger.exception("%d jobs could not be relayed by the process that has sent them", len(ids))
        else:
            if self._is_failing:
                logger.warning("The jobs in the outbox are on their way again")
            self._is_failing = False
        return True


_relay = Relay()


def as_found(kept: Kept) -> Found:
    """Return a job in the outbox as a broker would show it that had just been given it."""
    now_ms = clock.now_ms()
    place = Place.READY if kept.eta_ms is None or kept.eta_ms <= now_ms else Place.SCHEDULED
    return Found(
        id=kept.id,
        queue=kept.queue,
        place=place,
        body=kept.body,
        priority=kept.priority,
        moment_ms=now_ms if kept.eta_ms is None else kept.eta_ms,
    )


def soon(ids: Iterable[str]) -> None:
    """Hand over these jobs in the background."""
    _relay.push(ids)


def now(ids: Sequence[str]) -> None:
    """Hand over these jobs before returning, if the broker takes them at once; else in the background."""
    outbox = get_store().outbox
    try:
        if outbox is not None:
            for some in batches(ids):
                relay(outbox, get_broker(), some)
    except (BrokerUnavailable, StoreUnavailable):
        soon(ids)


def finish(seconds: float) -> bool:
    """Wait until this process has handed over what it has sent, unless the broker is away. Return whether it has."""
    return _relay.finish(seconds)


def _finish_at_exit() -> None:
    """A command that ends right after ``delay()`` would leave its jobs to the keepers, some seconds later."""
    if not _relay.finish(0.0):
        _relay.finish(settings.enqueue_timeout_ms / 1000)


def _forget_parent() -> None:
    global _relay
    _relay = Relay()  # the thread is the parent's, and so is what it has to do


atexit.register(_finish_at_exit)
os.register_at_fork(after_in_child=_forget_parent)
