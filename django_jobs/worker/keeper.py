"""
The keeper of a worker: renews the leases of all its processes, and sees to what silent workers left behind.

It runs no user code, so nothing a job does can keep it from its heartbeats: a C extension that holds the interpreter
for a minute holds it in its own process. One keeper serves one worker; the supervisor replaces it when it dies, well
within a lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django_jobs.brokers.base import BaseBroker, Consumer
from django_jobs.brokers.known import known_queues
from django_jobs.exceptions import BrokerUnavailable
from django_jobs.results.base import BaseStore
from django_jobs.worker.channel import Channel
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.crash_notes import note_crashes
from django_jobs.worker.housekeeping import Housekeeping
from django_jobs.worker.reporting import Reporting

logger = logging.getLogger("django_jobs.worker")

#: What a dead child had and somebody else has locked is asked for again after so long: most often that is over by then.
LOCKED_SECONDS = 0.2


class Keeper:
    """Heartbeats and reaping for one worker; what asks the database is its housekeeping's."""

    def __init__(self, broker: BaseBroker, store: BaseStore, config: WorkerConfig, channel: Channel) -> None:
        self._broker = broker
        self._store = store
        self._config = config
        self._channel = channel
        #: Consumers whose leases are renewed. Only they themselves open them, and none of them claims before that: if
        #: we did, and were frozen meanwhile, a lease that others have reaped would be there again, and its consumer
        #: would never hear that its jobs have been given to others.
        self._living: dict[str, Consumer] = {}
        #: Consumers that have died and are still to be reaped, with the ids that are charged, and those that were ended
        #: together with their process (id -> reason); and which process it was, and how it died.
        self._dead: dict[str, tuple[Consumer, list[str], dict[str, str], str]] = {}
        #: Those of them whose crash has been noted down with their jobs, and whether others have locked what one had.
        self._noted: set[str] = set()
        self._is_locked_out = False
        self._down_since: float | None = None
        self._reporting = Reporting(broker, ttl_ms=config.lease_ms)
        self._housekeeping = Housekeeping(broker, store, config)
        #: Consumers with revoked jobs in flight: when the last is gone, that is said, too.
        self._asked: set[str] = set()

    def run(self) -> None:
        """Keep until the supervisor is gone, or says that it is enough."""
        self._housekeeping.start()
        try:
            self._keep()
        finally:
            self._housekeeping.stop()

    def _keep(self) -> None:
        next_beat = 0.0
        while True:
            timeout = max(0.0, next_beat - time.monotonic())
            try:
                messages = self._channel.receive(min(timeout, LOCKED_SECONDS) if self._is_locked_out else timeout)
            except EOFError:
                return
            for message in messages:
                if not self._hear(message):
                    self._tick(self._reporting.leave)
                    return
            self._tick(self._reap_dead)
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + self._config.heartbeat_ms / 1000
                self._tick(self.beat)
                self._channel.send(what="alive")

    def _tick(self, action: Callable[[], None]) -> None:
        """Do one thing. An error nobody thought of must not cost the whole family its leases: the next tick comes."""
        try:
            action()
        except Exception:
            logger.exception("The keeper has an error of its own, and goes on")
            self._broker.close()

    def _hear(self, message: dict[str, Any]) -> bool:
        if message["what"] == "stop":
            return False
        if message["what"] == "status":
            self._reporting.status = message["status"]
            return True
        consumer = Consumer(id=message["consumer"], queues=tuple(message["queues"]))
        if message["what"] == "lives":
            self._living[consumer.id] = consumer
        else:
            self._living.pop(consumer.id, None)
            self._dead[consumer.id] = (consumer, message["running"], message["ended"], message["where"])
        return True

    def beat(self) -> None:
        """Do what is due once per heartbeat."""
        try:
            self._heartbeat()
            self._follow_queues()
            self._reap_silent()
            self._reporting.beat()
        except BrokerUnavailable as error:
            if self._down_since is None:
                self._down_since = time.monotonic()
                logger.warning("The broker is away: %s", error)
            self._broker.close()
        else:
            if self._down_since is not None:
                logger.warning("The broker is back after %.1f s", time.monotonic() - self._down_since)
                self._down_since = None

    def _heartbeat(self) -> None:
        """Renew leases: before anything else, which may have to wait for somebody."""
        consumers = list(self._living.values())
        if not consumers:
            return
        beats = self._broker.heartbeat(consumers, lease_ms=self._config.lease_ms)
        for consumer, beat in zip(consumers, beats, strict=True):
            if not beat.alive:
                # Its next claim is refused; it ends what it runs, and is replaced under a new id. Or it has not opened
                # its lease yet: whoever lives is kept.
                logger.debug("The lease of %s is gone", consumer.id)
            if beat.revoked or consumer.id in self._asked:
                (self._asked.add if beat.revoked else self._asked.discard)(consumer.id)
                terminated = list(beat.terminated)
                self._channel.send(what="revoked", consumer=consumer.id, ids=list(beat.revoked), terminated=terminated)

    def _follow_queues(self) -> None:
        """Renew leases in the queues that have become known, too; the children find these by themselves."""
        if self._config.queues or not self._living:
            return
        known = [queue for queue in known_queues(self._broker) if queue not in self._config.exclude]
        for consumer in list(self._living.values()):
            new = tuple(queue for queue in known if queue not in consumer.queues)
            if new:
                self._living[consumer.id] = Consumer(id=consumer.id, queues=(*consumer.queues, *new))

    def _reap_dead(self) -> None:
        """Give back at once what our own dead children had."""
        self._is_locked_out = False
        for consumer, running, ended, where in list(self._dead.values()):
            # First: once a job is back in its queue, it may end before this is written.
            if running and consumer.id not in self._noted:
                self._noted.add(consumer.id)
                note_crashes(self._broker, self._store, running, where=where)
            try:
                is_all = self._reap_one(consumer, running, ended)
            except BrokerUnavailable:
                self._broker.close()
                return
            if not is_all:
                self._is_locked_out = True
                continue
            del self._dead[consumer.id]
            self._noted.discard(consumer.id)
            self._channel.send(what="reaped", consumer=consumer.id, ended=sorted(ended))

    def _reap_one(self, consumer: Consumer, running: Sequence[str], ended: Mapping[str, str]) -> bool:
        """Give back what a dead child of ours had. Return whether that was all; others may have locked some of it."""
        queues = set(consumer.queues).union(() if self._config.queues else self._broker.queues())
        moved, is_all = 0, True
        for queue in sorted(queues):
            reaped = self._broker.reap(
                queue, consumer.id, suspect_ms=self._config.suspect_ms, force=True, running=running, ended=ended
            )
            moved += len(reaped.moved)
            is_all = is_all and reaped.verdict != "locked"
        if moved:
            logger.warning(
                "%d jobs of a process that died are back in their queues (%d were running)", moved, len(running)
            )
        return is_all

    def _reap_silent(self) -> None:
        """Suspect, and later reap, the consumers of other workers whose leases have run out."""
        for queue, consumer_id in self._broker.expired(self._queues()):
            if consumer_id in self._living or consumer_id in self._dead:
                continue
            reaped = self._broker.reap(queue, consumer_id, suspect_ms=self._config.suspect_ms)
            if reaped.verdict == "reaped" or reaped.moved:
                logger.warning("A worker has been silent: %d of its jobs are back in %r", len(reaped.moved), queue)
            if reaped.moved:
                where = f"a worker that fell silent ({consumer_id})"
                note_crashes(self._broker, self._store, reaped.moved, where=where, seconds=0.0)

    def _queues(self) -> Sequence[str]:
        names = {queue for consumer in self._living.values() for queue in consumer.queues}
        return sorted(names.union(queue for queue, _ in self._config.queues))
