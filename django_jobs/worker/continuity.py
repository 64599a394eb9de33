"""Noticing that the broker may have lost what it was told."""

from __future__ import annotations

import logging

from django_jobs import signals
from django_jobs.brokers.base import BaseBroker
from django_jobs.brokers.continuity import identity_of
from django_jobs.results.base import BaseStore

logger = logging.getLogger("django_jobs.worker")

#: A job that came this much after the broker was found to be another one may still be one of before: the clock of a
#: server that has taken over need not be that of the one before it.
MARGIN_MS = 2000


class Continuity:
    """What one process knows of the broker's memory."""

    def __init__(self, broker: BaseBroker, store: BaseStore) -> None:
        self._broker = broker
        self._store = store
        self._connects = -1
        self._known = ""
        #: Jobs whose moment is not after this one may have ended already; 0: the broker remembers all ends.
        self.doubtful_until_ms = 0

    @property
    def is_open(self) -> bool:
        """Say whether this process has connected anew since it last asked. Asks nobody."""
        return self._broker.connects != self._connects

    def ask(self) -> None:
        """Ask the broker who it is, and remember that for all. Raises BrokerUnavailable, StoreUnavailable."""
        connects = self._broker.connects  # first: asking may open another one
        continuity = self._broker.continuity()
        if continuity != self._known:
            found = self._store.remember_broker(identity_of(self._broker), continuity, self._broker.now_ms())
            self.doubtful_until_ms = found.changed_ms + MARGIN_MS if found.changed_ms else 0
            if found.is_news:
                self._say(found.relayed)
            self._known = continuity
        self._connects = connects

    def _say(self, relayed: int) -> None:
        logger.warning(
            "The broker %s is not the one it was: it may have lost jobs, and ends of jobs. %d jobs of the outbox are"
            " handed over again, and jobs from before are looked up before they run.",
            self._broker.describe(),
            relayed,
        )
        signals.send(
            signals.broker_lost_continuity, type(self._broker), broker=self._broker.describe(), relayed=relayed
        )
