"""
Beat: fires what is due, and sleeps until the next moment, a second at most.

It holds no state that matters: everything is in the rows, and the only clock is the database's. Any number of beats may
run, on any hosts; whoever comes first fires, and the others find nothing left to do.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from queue import Empty, SimpleQueue

from django.db import DatabaseError, InterfaceError, connections

from django_jobs import relay, transactions
from django_jobs.beat import firing, rows
from django_jobs.conf import settings

logger = logging.getLogger("django_jobs.beat")

#: A row that somebody changes is looked at within this time.
LONGEST_SLEEP = 1.0
#: Where something is due but others are at it, it is looked at again after a pause that grows from the first to the
#: last: most often it is done by then.
FIRST_PAUSE, LAST_PAUSE = 0.01, 0.1
#: After a transaction that has only planned rows.
PLANNED_PAUSE = 0.05
#: Old runs are looked for about this often by each beat, and deleted in batches with this pause between them.
PRUNE_SECONDS, PRUNE_PAUSE = 300.0, 1.0


class Beat:
    """Fires the periodic tasks of ``DJANGO_JOBS["DATABASE"]`` until told to stop."""

    def __init__(self, *, before_end: Callable[[], None] | None = None) -> None:
        self._alias = settings.database
        self._late = timedelta(milliseconds=settings.beat_ms("LATE") or 0)
        self._expire_ms = settings.beat_ms("RUNS_EXPIRE")
        self._prune_at = time.monotonic() + random.uniform(0, PRUNE_SECONDS)
        self._pause = FIRST_PAUSE
        self._away_since: float | None = None
        self._stops = 0
        #: Told by a signal handler, where no lock may be taken: put() is reentrant.
        self._stopped: SimpleQueue[None] = SimpleQueue()
        #: Called before a second signal ends the process.
        self._before_end = before_end

    def run(self) -> int:
        """Fire until told to stop, and hand over what was fired. Return the exit code."""
        logger.info("Beat has started")
        while not self._stops:
            self._sleep(self._tick())
        if not relay.finish(settings.enqueue_timeout_ms / 1000):
            logger.warning("The jobs that the broker has not taken yet stay in the outbox, and workers hand them over")
        connections.close_all()
        logger.info("Beat has stopped")
        return 0

    def stop(self, *_: object) -> None:
        """Stop after the transaction that is open; the second time at once. Also a signal handler."""
        self._stops += 1
        if self._stops > 1:
            if self._before_end is not None:
                self._before_end()
            os._exit(1)
        self._stopped.put(None)

    def answer_signals(self) -> None:
        """Stop at TERM, INT and, unless it is ignored, HUP."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores HUP
                signal.signal(number, self.stop)

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(Empty):
                self._stopped.get(timeout=seconds)

    def _tick(self) -> float:
        """Do what is due. Return how long there is nothing to do; whatever goes wrong, the next tick comes."""
        try:
            seconds = self._fire()
            self._prune()
        except (DatabaseError, InterfaceError) as error:
            self._is_away(error)
            return LONGEST_SLEEP * random.uniform(0.5, 1.0)
        except Exception:
            logger.exception("Beat has an error of its own, and goes on")
            connections[self._alias].close()
            return LONGEST_SLEEP
        self._is_back()
        return min(seconds, LONGEST_SLEEP)

    def _fire(self) -> float:
        outlook = rows.look(self._alias)
        if outlook is None:
            return LONGEST_SLEEP
        if outlook.seconds > 0:
            return outlook.seconds
        fired = firing.fire_due(self._alias, outlook.now, late=self._late)
        if fired.rows:
            self._pause = FIRST_PAUSE
            # A row that is planned, and at once to be planned again, must not keep a core busy.
            return 0.0 if fired.runs or fired.rows >= rows.BATCH else PLANNED_PAUSE
        pause, self._pause = self._pause, min(self._pause * 2, LAST_PAUSE)
        return pause * random.uniform(0.5, 1.5)

    def _prune(self) -> None:
        if self._expire_ms is None or time.monotonic() < self._prune_at:
            return
        is_full = rows.prune(self._alias, timedelta(milliseconds=self._expire_ms)) >= rows.PRUNE_BATCH
        self._prune_at = time.monotonic() + (PRUNE_PAUSE if is_full else PRUNE_SECONDS * random.uniform(0.5, 1.5))

    def _is_away(self, error: Exception) -> None:
        transactions.drop_if_broken(self._alias)
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.warning("The database %r, which has the periodic tasks, cannot be used: %s", self._alias, error)

    def _is_back(self) -> None:
        if self._away_since is not None:
            seconds, self._away_since = time.monotonic() - self._away_since, None
            logger.warning("The database %r can be used again after %.1f s", self._alias, seconds)
