"""What a keeper does for the outbox."""

from __future__ import annotations

import logging

from django_jobs import relay
from django_jobs.brokers.base import BaseBroker
from django_jobs.exceptions import StoreUnavailable
from django_jobs.results.base import BaseStore
from django_jobs.worker.continuity import Continuity

logger = logging.getLogger("django_jobs.worker")


class Relayer:
    """Hands over the jobs of processes that did not, and those that the broker may have lost."""

    def __init__(self, broker: BaseBroker, store: BaseStore, *, seconds: float) -> None:
        self._broker = broker
        self._continuity = Continuity(broker, store)
        self._outbox = store.outbox
        #: How much of a heartbeat it may take.
        self._seconds = seconds
        self._is_down = False

    def beat(self) -> None:
        """Relay what is due. Raises BrokerUnavailable; a database that is away is logged, once."""
        if self._outbox is None:
            return
        try:
            self._continuity.ask()
            relay.relay_due(self._outbox, self._broker, self._seconds)
        except StoreUnavailable as error:
            if not self._is_down:
                logger.warning("The outbox cannot be looked at: %s", error)
            self._is_down = True
        else:
            self._is_down = False
