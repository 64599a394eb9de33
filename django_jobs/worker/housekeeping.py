"""
What a keeper does beside its heartbeats, in a thread of its own: relaying the outbox, pruning old results, and looking
for steps of workflows that were lost.

All of it asks the database, which may be slow, locked or out of reach for longer than a lease lasts; no heartbeat
waits for that.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from django.db import connections

from django_jobs import clock
from django_jobs.brokers.base import BaseBroker
from django_jobs.exceptions import BrokerUnavailable, StoreUnavailable
from django_jobs.results.base import BaseStore
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.relayer import Relayer
from django_jobs.workflow import mending

logger = logging.getLogger("django_jobs.worker")

#: Results are pruned about this often by each keeper; a batch that was full is followed by the next at once.
PRUNE_SECONDS = 60.0
PRUNE_BATCH = 1000
#: Workflows are looked at about this often by each keeper.
MEND_SECONDS = 60.0


class Housekeeping:
    """Relays and prunes for one worker."""

    def __init__(self, broker: BaseBroker, store: BaseStore, config: WorkerConfig) -> None:
        self._store = store
        self._seconds = config.heartbeat_ms / 1000
        self._relayer = Relayer(broker, store, seconds=self._seconds / 2)
        self._next_prune = time.monotonic() + random.uniform(0, PRUNE_SECONDS)
        self._next_mend = time.monotonic() + random.uniform(0, MEND_SECONDS)
        #: Steps that seemed to be lost when they were looked for last.
        self._missed: list[str] = []
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread, which lives until ``stop``."""
        threading.Thread(target=self._run, name="django-jobs-housekeeping", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end. What it waits for may keep it a while; nobody waits for it."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self._tick(self._relayer.beat)
            if time.monotonic() >= self._next_mend:
                self._next_mend = time.monotonic() + MEND_SECONDS * random.uniform(0.5, 1.5)
                self._tick(self._mend)
            if time.monotonic() >= self._next_prune:
                self._next_prune = time.monotonic() + PRUNE_SECONDS * random.uniform(0.5, 1.5)
                self._tick(self._prune)

    def _tick(self, action: Callable[[], None]) -> None:
        """Do one thing. An error nobody thought of must not end this thread: the next tick comes."""
        try:
            action()
        except BrokerUnavailable as error:
            logger.debug("The outbox waits for the broker: %s", error)  # the keeper says so, and when it is back
        except Exception:
            logger.exception("The keeper has an error of its own, and goes on")

    def _mend(self) -> None:
        """Send steps of workflows again that nobody has: those missed twice, for one may just be on its way."""
        try:
            lost = mending.lost_steps(before_ms=clock.now_ms() - mending.YOUNG_MS)
            again = [one for one in lost if one in self._missed]
            if again:
                logger.warning("%d steps of workflows were lost on their way, and are sent again", len(again))
                mending.send_again(again)
            self._missed = lost
        except StoreUnavailable as error:
            logger.warning("Workflows could not be looked at: %s", error)

    def _prune(self) -> None:
        try:
            while self._store.prune(limit=PRUNE_BATCH) >= PRUNE_BATCH and not self._stopped.is_set():
                pass
        except StoreUnavailable as error:
            logger.warning("Old results could not be pruned: %s", error)
        finally:
            # The next one is a minute away: a connection would only be held.
            connections.close_all()
