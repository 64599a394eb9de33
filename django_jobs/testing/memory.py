"""The broker of tests: the whole contract, in the memory of one process, on the clock that a test can move."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from django_jobs import clock
from django_jobs.brokers.base import (
    CLAIM_BATCH,
    IN_FLIGHT_MAX,
    PROMOTE_BATCH,
    Claim,
    Claimed,
    Consumer,
    Heartbeat,
    Message,
    Reaped,
    Retry,
)
from django_jobs.exceptions import ConsumerLost
from django_jobs.states import Place
from django_jobs.testing.inspector import silent
from django_jobs.testing.shelf import Entry, Lease, Queue
from django_jobs.testing.workers import MemoryWorkers


class MemoryBroker(MemoryWorkers):
    """
    Keeps jobs in a dictionary. Instances with the same ``SHELF`` in their options see the same jobs.

    For tests, and for nothing else: what it holds is gone with its process, and no other process sees it.
    """

    # The way in

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """Make jobs ready, or scheduled when they have an eta. Return for each whether it was added."""
        with self._shelf.changed:
            now_ms = clock.now_ms()
            added = []
            for message in messages:
                queue = self._shelf.queue(message.queue)
                added.append(queue.add(message, now_ms))
                self._shelf.mark(queue)
            return added

    # The life of a consumer

    def register(self, consumer: Consumer, *, lease_ms: int) -> None:
        """Open the consumer's lease in each of its queues."""
        with self._shelf.changed:
            for name in consumer.queues:
                self._shelf.queue(name).leases[consumer.id] = Lease(clock.now_ms() + lease_ms)

    def heartbeat(self, consumers: Sequence[Consumer], *, lease_ms: int) -> list[Heartbeat]:
        """Renew leases and clear suspicions. A lost consumer is not revived."""
        with self._shelf.changed:
            return [self._beat(consumer, clock.now_ms() + lease_ms) for consumer in consumers]

    def _beat(self, consumer: Consumer, until_ms: int) -> Heartbeat:
        queues = [self._shelf.queue(name) for name in consumer.queues]
        for queue in queues:
            if consumer.id in queue.leases:
                queue.leases[consumer.id] = Lease(until_ms)
        held = [entry for queue in queues for entry in queue.held_by(consumer.id)]
        return Heartbeat(
            alive=all(consumer.id in queue.leases for queue in queues),
            in_flight=len(held),
            revoked=tuple(entry.id for entry in held if entry.revoked),
            terminated=tuple(entry.id for entry in held if entry.terminated),
        )

    def unregister(self, consumer: Consumer) -> None:
        """End the lease of a consumer that leaves in order. What it has in flight goes back to ready, not counted."""
        with self._shelf.changed:
            self.resync(consumer, ())
            for name in consumer.queues:
                self._shelf.queue(name).leases.pop(consumer.id, None)

    def resync(self, consumer: Consumer, known: Collection[str]) -> list[str]:
        """Release what is in flight for this consumer but unknown to it. Return those ids."""
        with self._shelf.changed:
            released = []
            for name in consumer.queues:
                queue = self._shelf.queue(name)
                for entry in queue.held_by(consumer.id):
                    if entry.id not in known:
                        self._back(queue, entry, entry.moment_ms)
                        released.append(entry.id)
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
        """Move what a silent consumer has in flight back to ready, at its old place."""
        with self._shelf.changed:
            shelved, now_ms = self._shelf.queue(queue), clock.now_ms()
            lease = shelved.leases.get(consumer_id)
            if lease is None:
                return Reaped(verdict="unknown")
            if not force and lease.until_ms > now_ms:
                return Reaped(verdict="alive")
            if not force and (lease.suspected_ms is None or now_ms - lease.suspected_ms < suspect_ms):
                lease.suspected_ms = now_ms if lease.suspected_ms is None else lease.suspected_ms
                return Reaped(verdict="suspected")
            del shelved.leases[consumer_id]
            moved = []
            for entry in shelved.held_by(consumer_id):
                if ended and entry.id in ended:
                    shelved.kill(entry, ended[entry.id], now_ms)
                    continue
                entry.deliveries += 1
                entry.crashes += running is None or entry.id in running
                if self._back(shelved, entry, entry.moment_ms):
                    moved.append(entry.id)
            return Reaped(verdict="reaped", moved=tuple(moved))

    def expired(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """Return (queue, consumer id) of every lease that has run out."""
        with self._shelf.changed:
            return [(name, consumer_id) for name, queue in self._known(queues) for consumer_id in silent(queue)]

    # The way through

    def claim(self, consumer: Consumer, queue: str, limit: int, *, settled: Sequence[Claimed] = ()) -> Claim:
        """Ack ``settled``, then take up to ``limit`` jobs of one queue, best first. Raises ConsumerLost."""
        with self._shelf.changed:
            lost = self.ack(settled)
            shelved = self._shelf.queues.get(queue) or Queue()
            if consumer.id not in shelved.leases:
                raise ConsumerLost(f"The consumer {consumer.id} has no lease in the queue {queue!r}.")
            now_ms = clock.now_ms()
            next_eta_ms = shelved.promote(now_ms, PROMOTE_BATCH)
            room = min(limit, CLAIM_BATCH, IN_FLIGHT_MAX - len(shelved.held_by(consumer.id)))
            taken = [] if shelved.paused else _next_batch(shelved, room)
            jobs = [self._hand_out(queue, shelved, entry, consumer) for entry in taken]
            if taken and shelved.order[Place.READY]:
                self._shelf.mark(shelved)
            others = (consumer_id for consumer_id in silent(shelved) if consumer_id != consumer.id)
            return Claim(jobs, now_ms, next_eta_ms, next(others, None), lost)

    def _hand_out(self, name: str, queue: Queue, entry: Entry, consumer: Consumer) -> Claimed:
        queue.move(entry, Place.IN_FLIGHT, entry.moment_ms)
        self._shelf.claims += 1
        entry.consumer, entry.token = consumer.id, f"{consumer.id}:{self._shelf.claims}"
        return Claimed(
            entry.id, name, entry.body, entry.token, entry.moment_ms, entry.priority, entry.deliveries, entry.crashes
        )

    def ack(self, jobs: Sequence[Claimed]) -> list[str]:
        """Remove finished jobs and wake who waits for their end. Return the ids that were not ours any more."""
        return self._settle(jobs, lambda job, queue, entry: self._shelf.end(job.queue, queue, entry))

    def retry(self, retries: Sequence[Retry]) -> list[str]:
        """Schedule claimed jobs again with a new body; their delivery and crash counts start anew. Return lost ids."""
        again = {retry.job.token: retry for retry in retries}

        def schedule(job: Claimed, queue: Queue, entry: Entry) -> None:
            entry.body, entry.deliveries, entry.crashes = again[job.token].body, 0, 0
            self._back(queue, entry, clock.now_ms() + again[job.token].delay_ms)

        return self._settle([retry.job for retry in retries], schedule)

    def release(self, jobs: Sequence[Claimed], *, delay_ms: int = 0, started: bool = False) -> list[str]:
        """Give claimed jobs back, at their old place (or scheduled, with a delay). Return lost ids."""

        def give_back(job: Claimed, queue: Queue, entry: Entry) -> None:
            entry.deliveries += started
            self._back(queue, entry, clock.now_ms() + delay_ms if delay_ms else entry.moment_ms)

        return self._settle(jobs, give_back)

    def bury(self, jobs: Sequence[Claimed], *, reason: str) -> list[str]:
        """Put claimed jobs aside as dead, message kept. Return lost ids."""
        return self._settle(jobs, lambda job, queue, entry: queue.kill(entry, reason, clock.now_ms()))

    def _settle(self, jobs: Sequence[Claimed], action: Callable[[Claimed, Queue, Entry], None]) -> list[str]:
        """Do something to each job that is still held under the receipt given. Return the ids of the others."""
        with self._shelf.changed:
            lost = []
            for job in jobs:
                queue = self._shelf.queues.get(job.queue)
                entry = None if queue is None else queue.own(job)
                if queue is None or entry is None:
                    lost.append(job.id)
                else:
                    action(job, queue, entry)
            return lost

    def _back(self, queue: Queue, entry: Entry, moment_ms: int) -> bool:
        self._shelf.mark(queue)
        return queue.give_back(entry, moment_ms, clock.now_ms())

    # From outside

    def revoke(self, job_id: str, queue: str, *, terminate: bool = False) -> Place | None:
        """Stop a job that waits. Return the place where it was found; None: unknown."""
        with self._shelf.changed:
            for _, shelved in self._known([queue]):
                entry = shelved.entries.get(job_id)
                if entry is None:
                    continue
                place = entry.place
                if place is Place.IN_FLIGHT:
                    entry.revoked = True
                    entry.terminated = entry.terminated or terminate
                elif place is not Place.DEAD:
                    shelved.kill(entry, "revoked", clock.now_ms())
                return place
            return None

    def forget(self, job_ids: Sequence[str], queue: str) -> int:
        """Drop dead jobs whose end has been recorded, waking who waits for their end. Return how many there were."""
        with self._shelf.changed:
            shelved = self._shelf.queues.get(queue) or Queue()
            found = [shelved.entries[job_id] for job_id in dict.fromkeys(job_ids) if job_id in shelved.entries]
            dead = [entry for entry in found if entry.place is Place.DEAD]
            for entry in dead:
                self._shelf.end(queue, shelved, entry)
            return len(dead)

    def revive(self, messages: Sequence[Message]) -> list[str]:
        """Let dead jobs live again, with new messages. Return the ids that were not dead."""
        with self._shelf.changed:
            missing = []
            for message in messages:
                queue = self._shelf.queue(message.queue)
                entry = queue.entries.get(message.id)
                if entry is None or entry.place is not Place.DEAD:
                    missing.append(message.id)
                    continue
                queue.remove(entry)
                queue.add(message, clock.now_ms())
                self._shelf.mark(queue)
            return missing

    def pause(self, queue: str) -> None:
        """Let nobody claim from this queue until ``resume``."""
        with self._shelf.changed:
            self._shelf.queue(queue).paused = True

    def resume(self, queue: str) -> None:
        """End a pause and wake a consumer."""
        with self._shelf.changed:
            shelved = self._shelf.queue(queue)
            shelved.paused = False
            self._shelf.mark(shelved)

    def purge(self, queue: str, *, limit: int | None = None) -> int:
        """Revoke everything ready and scheduled of a queue, or up to ``limit`` of it. Return how many."""
        with self._shelf.changed:
            shelved = self._shelf.queue(queue)
            waiting = [
                entry
                for place in (Place.READY, Place.SCHEDULED)
                for entry in shelved.first(place, len(shelved.entries))
            ]
            for entry in waiting[:limit]:
                shelved.kill(entry, "purged", clock.now_ms())
            return len(waiting[:limit])


def _next_batch(queue: Queue, limit: int) -> list[Entry]:
    """Return the best jobs that are ready; one that was delivered before comes alone."""
    batch: list[Entry] = []
    for entry in queue.first(Place.READY, max(0, limit)):
        if entry.deliveries:
            return batch or [entry]
        batch.append(entry)
    return batch
