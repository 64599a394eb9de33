"""
A broker in plain Python: what the verbs mean, without a server, concurrency or time of its own.

The state machine drives it beside a real broker. Moments come from the real one's clock: whoever calls ``enqueue``,
``retry``, ``release`` or anything that ends a job says afterwards at which moment that was (``set_moment``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from django_jobs.brokers.base import CLAIM_BATCH, Claimed, Message, Retry
from django_jobs.states import Place


@dataclass(slots=True)
class ModelJob:
    id: str
    queue: str
    body: bytes
    priority: int
    place: Place
    moment_ms: int = 0
    consumer: str | None = None
    token: str = ""
    deliveries: int = 0
    crashes: int = 0
    revoked: bool = False
    terminated: bool = False
    reason: str | None = None

    @property
    def order(self) -> tuple[int, int, str]:
        return -self.priority, self.moment_ms, self.id


@dataclass(slots=True)
class Model:
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    #: (consumer, queue) with a lease that was not taken away.
    leases: set[tuple[str, str]] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)

    def at(self, queue: str, place: Place) -> list[ModelJob]:
        """Return the jobs in a place, in the order they would leave it."""
        found = [job for job in self.jobs.values() if job.queue == queue and job.place is place]
        if place is Place.DEAD:
            return sorted(found, key=lambda job: (job.moment_ms, job.id))
        if place is Place.SCHEDULED:
            return sorted(found, key=lambda job: (job.moment_ms, job.order))
        return sorted(found, key=lambda job: job.order)

    def set_moment(self, job_id: str, moment_ms: int) -> None:
        self.jobs[job_id].moment_ms = moment_ms

    # The verbs

    def enqueue(self, message: Message) -> bool:
        if message.id in self.jobs:
            return False
        place = Place.READY if message.eta_ms is None else Place.SCHEDULED
        made = ModelJob(message.id, message.queue, message.body, message.priority, place, message.eta_ms or 0)
        self.jobs[message.id] = made
        return True

    def claim(self, consumer: str, queue: str, limit: int, now_ms: int) -> list[ModelJob] | None:
        """Return the jobs that are handed out, with their counts as they were; None: the consumer is lost."""
        if (consumer, queue) not in self.leases:
            return None
        for job in self.at(queue, Place.SCHEDULED):
            if job.moment_ms <= now_ms:
                job.place = Place.READY
        if queue in self.paused or limit <= 0:
            return []
        batch = self.at(queue, Place.READY)[: min(limit, CLAIM_BATCH)]
        redelivered = next((number for number, job in enumerate(batch) if job.deliveries), len(batch))
        batch = batch[: redelivered or 1]
        for job in batch:
            job.place, job.consumer = Place.IN_FLIGHT, consumer
        return batch

    def claimed(self, jobs: Iterable[Claimed]) -> None:
        for job in jobs:
            self.jobs[job.id].token = job.token

    def is_held(self, receipt: Claimed) -> bool:
        job = self.jobs.get(receipt.id)
        return job is not None and job.place is Place.IN_FLIGHT and job.token == receipt.token

    def ack(self, receipts: Sequence[Claimed]) -> list[str]:
        lost = [receipt.id for receipt in receipts if not self.is_held(receipt)]
        for receipt in receipts:
            if self.is_held(receipt):
                del self.jobs[receipt.id]
        return lost

    def retry(self, retries: Sequence[Retry]) -> list[str]:
        lost = []
        for retry in retries:
            if not self.is_held(retry.job):
                lost.append(retry.job.id)
                continue
            job = self.jobs[retry.job.id]
            job.body, job.deliveries, job.crashes = retry.body, 0, 0
            self._leave(job, Place.SCHEDULED if retry.delay_ms else Place.READY)
        return lost

    def release(self, receipts: Sequence[Claimed], delay_ms: int, started: bool) -> list[str]:
        lost = []
        for receipt in receipts:
            if not self.is_held(receipt):
                lost.append(receipt.id)
                continue
            job = self.jobs[receipt.id]
            job.deliveries += started
            self._leave(job, Place.SCHEDULED if delay_ms else Place.READY)
        return lost

    def bury(self, receipts: Sequence[Claimed], reason: str) -> list[str]:
        lost = [receipt.id for receipt in receipts if not self.is_held(receipt)]
        for receipt in receipts:
            if self.is_held(receipt):
                self._die(self.jobs[receipt.id], reason)
        return lost

    def give_back(self, consumer: str, queue: str, *, known: Collection[str] = ()) -> list[ModelJob]:
        """Do what unregister, resync and reap have in common; return the jobs that left flight."""
        moved = [job for job in self.at(queue, Place.IN_FLIGHT) if job.consumer == consumer and job.id not in known]
        for job in moved:
            self._leave(job, Place.READY)
        return moved

    def reap(
        self, consumer: str, queue: str, running: Collection[str] | None, ended: Collection[str] = ()
    ) -> list[str] | None:
        """Return the ids that are ready again; None: nobody of that name."""
        if (consumer, queue) not in self.leases:
            return None
        self.leases.discard((consumer, queue))
        for job in self.at(queue, Place.IN_FLIGHT):
            if job.consumer == consumer and job.id in ended:
                self._die(job, "ended")
        moved = [job for job in self.give_back(consumer, queue) if job.place is Place.READY]
        for job in moved:
            job.deliveries += 1
            job.crashes += running is None or job.id in running
        return [job.id for job in moved]

    def revoke(self, job_id: str, *, terminate: bool = False) -> Place | None:
        job = self.jobs.get(job_id)
        if job is None:
            return None
        place = job.place
        if place is Place.IN_FLIGHT:
            job.revoked = True
            job.terminated = job.terminated or terminate
        elif place is not Place.DEAD:
            self._die(job, "revoked")
        return place

    def revive(self, messages: Sequence[Message]) -> list[str]:
        missing = []
        for message in messages:
            job = self.jobs.get(message.id)
            if job is None or job.place is not Place.DEAD or job.queue != message.queue:
                missing.append(message.id)
                continue
            del self.jobs[message.id]
            self.enqueue(message)
        return missing

    def forget(self, job_ids: Iterable[str], queue: str) -> int:
        dead = [job.id for job in self.at(queue, Place.DEAD) if job.id in set(job_ids)]
        for job_id in dead:
            del self.jobs[job_id]
        return len(dead)

    def purge(self, queue: str) -> int:
        waiting = self.at(queue, Place.READY) + self.at(queue, Place.SCHEDULED)
        for job in waiting:
            self._die(job, "purged")
        return len(waiting)

    def _leave(self, job: ModelJob, place: Place) -> None:
        """Take a job out of flight; one that was revoked meanwhile dies."""
        if job.revoked:
            self._die(job, "revoked")
        else:
            job.place, job.consumer, job.token = place, None, ""

    def _die(self, job: ModelJob, reason: str) -> None:
        job.place, job.reason, job.consumer, job.token, job.revoked = Place.DEAD, reason, None, "", False
        job.terminated = False
        job.deliveries = job.crashes = 0
