"""The process as the broker knows it: its lease, its queues, and what it has in flight."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence

from django_jobs.brokers.base import BaseBroker, Claimed, Consumer
from django_jobs.brokers.known import known_queues
from django_jobs.exceptions import BrokerUnavailable
from django_jobs.worker.config import WorkerConfig

logger = logging.getLogger("django_jobs.worker")

#: How often queues that have become known are looked for.
DISCOVER_SECONDS = 5.0
#: A job that is claimed while an earlier claim of it runs here is given back for so long.
COPY_DELAY_MS = 1000


class Membership:
    """A consumer's coming, growing and going. Its heartbeats are the keeper's."""

    def __init__(self, broker: BaseBroker, config: WorkerConfig, consumer: Consumer) -> None:
        self._broker = broker
        self._config = config
        self.consumer = consumer
        self._next_discovery = time.monotonic() + DISCOVER_SECONDS
        self._resync_at = self._after_a_lease()

    def _after_a_lease(self) -> float:
        return time.monotonic() + self._config.lease_ms / 1000

    def register(self) -> None:
        """Open the lease. Raises BrokerUnavailable."""
        self._broker.register(self.consumer, lease_ms=self._config.lease_ms)

    def discover(self) -> list[str]:
        """Join the queues that have become known, when this worker serves them all, and return them."""
        if self._config.queues or time.monotonic() < self._next_discovery:
            return []
        self._next_discovery = time.monotonic() + DISCOVER_SECONDS
        served = {*self.consumer.queues, *self._config.exclude}
        new = tuple(queue for queue in known_queues(self._broker) if queue not in served)
        if new:
            self._broker.register(Consumer(id=self.consumer.id, queues=new), lease_ms=self._config.lease_ms)
            self.consumer = Consumer(id=self.consumer.id, queues=(*self.consumer.queues, *new))
        return list(new)

    def doubt(self) -> None:
        """Say that the broker and this process may differ in what they think is in flight: an answer was lost."""
        self._resync_at = 0.0

    @property
    def is_in_doubt(self) -> bool:
        """
        Say whether to resync: after an error, and once per lease all the same.

        A claim that was cut off may be on its way still when the error is seen, and take effect after the resync.
        """
        return time.monotonic() >= self._resync_at

    def resync(self, known: Collection[str]) -> None:
        """Give back what the broker thinks we have, and we do not know of. Raises BrokerUnavailable."""
        released = self._broker.resync(self.consumer, known)
        self._resync_at = self._after_a_lease()
        if released:
            logger.warning("%d jobs whose claim had been lost on the way are back in their queues", len(released))

    def without_copies(self, jobs: Sequence[Claimed], here: Collection[str]) -> list[Claimed]:
        """
        Give back those that are here already, and return the others.

        The broker has forgotten that it handed them out, and is told of their end in a moment.
        """
        copies = [job for job in jobs if job.id in here]
        if copies:
            self._broker.release(copies, started=True, delay_ms=COPY_DELAY_MS)
        return [job for job in jobs if job.id not in here]

    def leave(self) -> None:
        """End the lease. When the broker is away it runs out by itself."""
        try:
            self._broker.unregister(self.consumer)
        except BrokerUnavailable as error:
            logger.warning("The broker could not be told that this process ends: %s", error)
