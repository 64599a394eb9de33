"""The broker that keeps its jobs in a database of the project: the verbs, each a transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from django_jobs.brokers.base import (
    ACK_BATCH,
    CLAIM_BATCH,
    ENQUEUE_BATCH,
    IN_FLIGHT_MAX,
    Claim,
    Claimed,
    Consumer,
    Message,
    Reaped,
    Retry,
)
from django_jobs.brokers.database import enqueueing, leases, settle
from django_jobs.brokers.database.claim import Taken, claim, in_flight
from django_jobs.brokers.database.dialects import Sql
from django_jobs.brokers.database.inspector import InspectedBroker
from django_jobs.brokers.database.listening import Notifications
from django_jobs.brokers.database.runner import Database, LockedOut
from django_jobs.brokers.database.strays import Strays
from django_jobs.brokers.database.wakeup import Wakeups, bells, look
from django_jobs.brokers.database.workers import Workers
from django_jobs.conf import as_ms, is_delay
from django_jobs.exceptions import ConsumerLost, JobsConfigurationError
from django_jobs.states import Place

SCHEME = "database://"
OPTIONS = {
    # Are consumers on PostgreSQL told of new jobs by NOTIFY? Needs a connection that is not pooled by transaction.
    "LISTEN": True,
    # How long settling jobs and renewing leases may wait for a database that is busy, in seconds.
    "SETTLE_TIMEOUT": 30,
}

T = TypeVar("T")


class DatabaseBroker(leases.Leases, Workers, Strays, InspectedBroker):
    """
    Jobs in tables of ``database://alias``, on PostgreSQL, MySQL, MariaDB or SQLite.

    Every verb joins the transaction that is open on that alias, if there is one, and else makes its own. The tables are
    those of the app, so ``prefix`` means nothing here.
    """

    supports_wait_end: ClassVar[bool] = False

    def __init__(
        self, location: str, *, prefix: str = "dj", timeout_ms: int = 2000, options: dict[str, Any] | None = None
    ):
        super().__init__(location, prefix=prefix, timeout_ms=timeout_ms, options=options)
        given = _checked(self.options)
        self.alias = location.removeprefix(SCHEME).rstrip("/") or "default"
        self._database = Database(
            self.alias, timeout_ms=timeout_ms, patience_ms=max(timeout_ms, as_ms(given["SETTLE_TIMEOUT"]))
        )
        self._wakeups = Wakeups()
        self._notifications = Notifications(self._database, self._wakeups) if given["LISTEN"] else None
        bells[self.alias].add(self._wakeups)
        self._known_queues: frozenset[str] = frozenset()
        #: At most so many has a consumer in flight; the rows are counted only when that is near the bound.
        self._in_flight: dict[str, int] = {}

    # The way in

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """Insert jobs; in the caller's transaction, when one is open."""
        answers: list[bool] = []
        for batch in _batches(messages, ENQUEUE_BATCH):
            answers += self._enqueue(batch)
        return answers

    def _enqueue(self, batch: Sequence[Message]) -> list[bool]:
        queues = {message.queue for message in batch}
        unknown = queues - self._known_queues

        def verb(sql: Sql) -> list[bool]:
            answers = enqueueing.enqueue(sql, batch)
            if unknown:
                enqueueing.add_queues(sql, unknown)
            return answers

        def committed() -> None:
            self._known_queues |= unknown
            self._woken(queues)

        # Nobody waits for rows that nobody has seen yet.
        answers = self._run(verb, alone=not unknown, bounded=bool(unknown))
        self._database.after_commit(committed)
        return answers

    def joins_transaction(self, using: str) -> bool:
        """Say whether this is the alias that jobs are kept in."""
        return using == self.alias

    # The life of a consumer

    def unregister(self, consumer: Consumer) -> None:
        """Delete the leases and give back what is held."""
        self._run(lambda sql: leases.unregister(sql, consumer), patient=True)
        self._in_flight.pop(consumer.id, None)
        self._wake(consumer.queues)

    def resync(self, consumer: Consumer, known: Collection[str]) -> list[str]:
        """Give back what the consumer does not know of."""
        released = self._run(lambda sql: leases.resync(sql, consumer, known), patient=True)
        if released:
            self._wake(consumer.queues)
        return released

    def reap(
        self,
        queue: str,
        consumer_id: str,
        *,
        suspect_ms: int,
        force: bool = False,
        running: Collection[str] | None = None,
        ended: Mapping[str, str] | None = None,
    ) -> Reaped:
        """Suspect, then take what the consumer holds, and the lease."""

        def verb(sql: Sql) -> Reaped:
            return leases.reap(
                sql, queue, consumer_id, suspect_ms=suspect_ms, force=force, running=running, ended=ended or {}
            )

        try:
            reaped = self._run(verb, patient=True, lock_ms=leases.LOCK_MS)
        except LockedOut:  # where nothing can be passed over: MySQL before 8
            return Reaped(verdict="locked")
        if reaped.moved:
            self._wake([queue])
        return reaped

    # The way through

    def claim(self, consumer: Consumer, queue: str, limit: int, *, settled: Sequence[Claimed] = ()) -> Claim:
        """Ack, promote and take, in one transaction."""

        wanted = self._bounded(consumer.id, limit)

        def verb(sql: Sql) -> tuple[list[str], Taken]:
            return settle.ack(sql, settled), claim(sql, consumer.id, queue, wanted)

        lost, taken = self._run(verb, alone=not settled, patient=bool(settled), repeatable=False)
        if not taken.head.alive:
            raise ConsumerLost(f"The lease of consumer {consumer.id} in queue {queue!r} is gone.")
        self._in_flight[consumer.id] = self._in_flight.get(consumer.id, 0) + len(taken.jobs)
        self._wakeups.claimed(queue, limit=limit, count=len(taken.jobs))
        if taken.promoted > len(taken.jobs):
            self._wake([queue])
        head = taken.head
        return Claim(taken.jobs, head.now_ms, head.next_eta_ms, head.expired, lost)

    def _bounded(self, consumer_id: str, limit: int) -> int:
        wanted = max(min(limit, CLAIM_BATCH), 0)
        if self._in_flight.get(consumer_id, 0) + wanted > IN_FLIGHT_MAX:
            count = self._in_flight[consumer_id] = self._database.read(lambda sql: in_flight(sql, consumer_id))
            wanted = max(min(wanted, IN_FLIGHT_MAX - count), 0)
        return wanted

    def ack(self, jobs: Sequence[Claimed]) -> list[str]:
        """Delete the rows that are still held."""
        return [
            lost
            for batch in _batches(jobs, ACK_BATCH)
            for lost in self._run(partial(settle.ack, jobs=batch), alone=True, patient=True)
        ]

    def retry(self, retries: Sequence[Retry]) -> list[str]:
        """Update the rows that are still held, with their new bodies."""
        lost = [
            lost
            for batch in _batches(retries, ACK_BATCH)
            for lost in self._run(partial(settle.retry, retries=batch), patient=True)
        ]
        self._wake({again.job.queue for again in retries if again.delay_ms <= 0})
        return lost

    def release(self, jobs: Sequence[Claimed], *, delay_ms: int = 0, started: bool = False) -> list[str]:
        """Make the rows that are still held ready again."""
        verb = partial(settle.release, delay_ms=delay_ms, started=started)
        lost = [
            lost for batch in _batches(jobs, ACK_BATCH) for lost in self._run(partial(verb, jobs=batch), patient=True)
        ]
        if delay_ms <= 0:
            self._wake({job.queue for job in jobs})
        return lost

    def bury(self, jobs: Sequence[Claimed], *, reason: str) -> list[str]:
        """Make the rows that are still held dead."""
        verb = partial(settle.bury, reason=reason)
        return [
            lost for batch in _batches(jobs, ACK_BATCH) for lost in self._run(partial(verb, jobs=batch), patient=True)
        ]

    # From outside

    def revoke(self, job_id: str, queue: str, *, terminate: bool = False) -> Place | None:
        """Make a waiting job dead; mark one in flight."""
        return self.revoke_many([job_id], queue, terminate=terminate)[0]

    def revoke_many(self, job_ids: Sequence[str], queue: str, *, terminate: bool = False) -> list[Place | None]:
        """Do the same to many, a transaction per batch."""
        return enqueueing.revoke(self._run, job_ids, queue, terminate=terminate)

    def forget(self, job_ids: Sequence[str], queue: str) -> int:
        """Delete dead rows."""
        return sum(
            self._run(partial(enqueueing.forget, job_ids=batch, queue=queue), alone=True, patient=True)
            for batch in _batches(job_ids, ACK_BATCH)
        )

    def revive(self, messages: Sequence[Message]) -> list[str]:
        """Make dead rows ready or scheduled again, with their new bodies."""
        missing = [
            missing
            for batch in _batches(messages, ACK_BATCH)
            for missing in self._run(partial(enqueueing.revive, messages=batch), patient=True)
        ]
        self._wake({message.queue for message in messages})
        return missing

    def pause(self, queue: str) -> None:
        """Turn the queue's switch."""
        self._run(lambda sql: enqueueing.set_paused(sql, queue, paused=True))

    def resume(self, queue: str) -> None:
        """Turn the queue's switch back."""
        self._run(lambda sql: enqueueing.set_paused(sql, queue, paused=False))
        self._wake([queue])

    def purge(self, queue: str, *, limit: int | None = None) -> int:
        """Make what waits dead, a transaction per batch."""
        return enqueueing.purge(self._run, queue, limit)

    # Waiting

    def wait(self, queues: Sequence[str], timeout_ms: int) -> str | None:
        """Look at the queues, seldom when nothing happens; a notification or this process ends the pause between."""
        if self._notifications is not None:
            self._notifications.listen()
        return self._wakeups.wait(queues, timeout_ms, self._look)

    def _look(self, queues: Sequence[str]) -> str | None:
        return self._database.read(lambda sql: look(sql, queues))

    def interrupt(self) -> None:
        """End the waits of this process."""
        self._wakeups.interrupt()

    def close(self) -> None:
        """Close this thread's connection, and the one that listens."""
        if self._notifications is not None:
            self._notifications.close()
        self._database.close()

    # Helpers

    def _run(
        self,
        verb: Callable[[Sql], T],
        *,
        alone: bool = False,
        patient: bool = False,
        repeatable: bool = True,
        bounded: bool = True,
        lock_ms: int | None = None,
    ) -> T:
        # What is a single statement on PostgreSQL takes several elsewhere, and then needs a transaction.
        alone = alone and self._database.vendor == "postgresql"
        return self._database.run(
            verb, alone=alone, patient=patient, repeatable=repeatable, bounded=bounded, lock_ms=lock_ms
        )

    def _wake(self, queues: Iterable[str]) -> None:
        names = set(queues)
        if names:
            self._database.after_commit(lambda: self._woken(names))

    def _woken(self, queues: set[str]) -> None:
        bells[self.alias].mark(queues)
        if self._notifications is not None:
            self._notifications.notify(queues)


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the defaults of those that are not given. Raises JobsConfigurationError."""
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise JobsConfigurationError(f"The database broker has no option {unknown[0]!r}; it has: {', '.join(OPTIONS)}.")
    given = {**OPTIONS, **options}
    wrong = "The option {} of the database broker must be {}, not {!r}."
    if not isinstance(given["LISTEN"], bool):
        raise JobsConfigurationError(wrong.format("LISTEN", "True or False", given["LISTEN"]))
    patience = given["SETTLE_TIMEOUT"]
    if not is_delay(patience) or as_ms(patience) <= 0:
        expected = "a timedelta or a number of seconds, above 0 and at most a century"
        raise JobsConfigurationError(wrong.format("SETTLE_TIMEOUT", expected, patience))
    return given


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
