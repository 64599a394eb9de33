"""
The verbs of a queue, and what every broker promises about them.

A broker keeps jobs and moves them between places, atomically. A job's id is in exactly one place at any moment:

    ready        waits for a consumer
    scheduled    waits for its moment
    in flight    claimed by one consumer, under that consumer's lease
    dead         ended without a consumer (revoked, or buried); its message is kept until its end has been recorded

    enqueue   -> ready or scheduled            claim     scheduled -> ready when due, ready -> in flight
    ack       in flight -> gone                retry     in flight -> scheduled (or ready), with a new message
    release   in flight -> ready, at its place bury      in flight -> dead
    reap      in flight of a dead consumer -> ready
    revoke    ready or scheduled -> dead       purge     ready and scheduled of a queue -> dead, by batches
    revive    dead -> ready or scheduled       forget    dead -> gone

Leases belong to consumers, not to jobs: a consumer that heartbeats keeps whatever it has claimed for as long as it
takes; one that falls silent for longer than its lease is first suspected, then reaped. A consumer id is used by one
process incarnation and never again, so "is it in my in-flight set under my token" is the whole fence: what is not ours
any more is answered with "lost", dropped and counted, never an error.

Time is the broker's own (``_ms``: integer milliseconds since the epoch); clocks of workers and clients are used
nowhere. Every verb may be repeated after a lost reply without harm, except claim, whose lost reply is healed by
``resync``. Every verb raises ``BrokerUnavailable`` when the service cannot be reached or refuses, and nothing else.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from django_jobs.brokers.continuity import ContinuityVerbs
from django_jobs.brokers.named import NamedVerbs
from django_jobs.brokers.strays import StrayVerbs
from django_jobs.brokers.workers import ConsumerInfo as ConsumerInfo
from django_jobs.brokers.workers import WorkerVerbs
from django_jobs.options import PRIORITY_MAX as PRIORITY_MAX
from django_jobs.options import PRIORITY_MIN as PRIORITY_MIN
from django_jobs.states import Place

# Bounds of one call. A script holds the server while it runs; these keep a call under about half a millisecond to a few
# milliseconds (measured on Redis 7), so that other clients are not held up.
ENQUEUE_BATCH = 500
CLAIM_BATCH = 100
ACK_BATCH = 500
PROMOTE_BATCH = 200
IN_FLIGHT_MAX = 1000


# The four below cross the hot path once per job, thousands of times a second: tuples are made in a third of the time
# that a frozen dataclass takes.


class Message(NamedTuple):
    """A job on its way in. ``body`` is opaque to the broker."""

    id: str
    queue: str
    body: bytes
    priority: int = 0
    #: Not before this moment; None: at once.
    eta_ms: int | None = None


class Claimed(NamedTuple):
    """A job in flight, and the receipt that settles it."""

    id: str
    queue: str
    body: bytes
    token: str
    #: The moment that orders it in its queue: when it was enqueued, or became due (broker's time).
    moment_ms: int
    priority: int
    #: How often it was handed out before without its end having been seen.
    deliveries: int = 0
    #: How often a process died while this job was running in it.
    crashes: int = 0


class Claim(NamedTuple):
    """What one call of ``claim`` returns."""

    jobs: list[Claimed]
    #: The broker's clock at the claim.
    now_ms: int
    #: When the queue's earliest scheduled job is due; None: nothing scheduled.
    next_eta_ms: int | None = None
    #: A consumer whose lease has run out, to be reaped; None: none seen.
    expired: str | None = None
    #: Ids among ``settled`` that were not ours any more.
    lost: list[str] = []  # never mutated


class Woken(NamedTuple):
    """What ``wait_and_claim`` returns."""

    #: Where it claimed.
    queue: str
    claim: Claim
    #: Another queue that may have work; None: none is known.
    other: str | None = None


class Retry(NamedTuple):
    """A claimed job that is to run again: with this body, at this moment."""

    job: Claimed
    body: bytes
    #: How long from now, on the broker's clock; 0: at once.
    delay_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One process incarnation that claims jobs. The id is a fresh uuid (hex), never reused."""

    id: str
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """How a consumer stands."""

    #: False: its lease is gone in at least one of its queues (reaped, or the broker lost its data); it must stop
    #: claiming.
    alive: bool
    #: How many jobs the broker has in flight for it, over all its queues.
    in_flight: int = 0
    #: Ids in flight for it that somebody revoked: they are asked to stop.
    revoked: tuple[str, ...] = ()
    #: Those among them that are to be interrupted.
    terminated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaped:
    """What became of a consumer that was to be reaped."""

    #: "alive" (its lease is good), "suspected" (expired, waiting out the suspect time), "reaped", "locked" (others have
    #: locked its lease, or jobs of it, which stay where they are: ask again), or "unknown" (no such consumer).
    verdict: str
    #: Ids moved back to ready.
    moved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a job is."""

    id: str
    queue: str
    place: Place
    body: bytes
    priority: int
    #: When it was enqueued, becomes due (scheduled), or ended (dead).
    moment_ms: int
    #: The consumer that holds it, when it is in flight.
    consumer: str | None = None
    #: Why it is dead ("revoked", or what bury said).
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """How many jobs of a queue are where, and who listens."""

    queue: str
    ready: int = 0
    scheduled: int = 0
    in_flight: int = 0
    dead: int = 0
    paused: bool = False
    #: Consumers with a good lease.
    consumers: int = 0
    #: Age of the job that has been ready the longest; None: none is ready. Priorities make it an estimate: the head's
    #: age.
    oldest_ready_ms: int | None = None


class BaseBroker(NamedVerbs, WorkerVerbs, StrayVerbs, ContinuityVerbs):
    """
    The contract. Implementations are reached by the dotted path in ``DJANGO_JOBS["BROKER"]``.

    Instances are thread-safe and survive a fork (connections are opened per process on first use). Making one opens no
    connection.
    """

    #: Do other processes see its jobs? Those of a test's broker are seen by the test alone.
    is_shared: ClassVar[bool] = True
    #: Does ``wait_end`` wake up when a job ends (else callers poll the result store)?
    supports_wait_end: ClassVar[bool] = True

    def __init__(
        self, location: str, *, prefix: str = "dj", timeout_ms: int = 2000, options: dict[str, Any] | None = None
    ):
        self.location = location
        self.prefix = prefix
        #: How long one call may take when the service does not answer.
        self.timeout_ms = timeout_ms
        self.options = options or {}

    def describe(self) -> str:
        """Name this broker for an operator: its location without credentials."""
        scheme, separator, rest = self.location.partition("://")
        return f"{scheme}{separator}{rest.rpartition('@')[2]}"

    # The way in

    @abc.abstractmethod
    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        """
        Make jobs ready, or scheduled when they have an eta. Return for each whether it was added.

        False: the id is known already (in any place), and nothing changed. Any number of messages and queues; sent in
        batches of ENQUEUE_BATCH, each batch of a queue atomically. Wakes one idle consumer.
        """

    def joins_transaction(self, using: str) -> bool:
        """Say whether ``enqueue`` writes in the open transaction of that database alias."""
        return False

    # The life of a consumer

    @abc.abstractmethod
    def register(self, consumer: Consumer, *, lease_ms: int) -> None:
        """Open the consumer's lease in each of its queues. Before it, claim answers that the consumer is lost."""

    @abc.abstractmethod
    def heartbeat(self, consumers: Sequence[Consumer], *, lease_ms: int) -> list[Heartbeat]:
        """Renew leases, clear suspicions, in one round trip. A lost consumer is not revived."""

    @abc.abstractmethod
    def unregister(self, consumer: Consumer) -> None:
        """End the lease of a consumer that leaves in order. What it has in flight goes back to ready, not counted."""

    @abc.abstractmethod
    def resync(self, consumer: Consumer, known: Collection[str]) -> list[str]:
        """
        Release what is in flight for this consumer but unknown to it (a claim's reply was lost). Return those ids.
        """

    @abc.abstractmethod
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
        """
        Move what a silent consumer has in flight back to ready, at its old place; what is in ``ended`` (id -> reason,
        of jobs that were ended together with their process) to dead.

        Two calls at least ``suspect_ms`` apart with no heartbeat between them, or one with ``force`` (by the parent
        that has seen the process end). Each job gets deliveries + 1; those in ``running`` also crashes + 1 (all, when
        None: unknown).
        """

    @abc.abstractmethod
    def expired(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """Return (queue, consumer id) of every lease that has run out."""

    # The way through

    @abc.abstractmethod
    def claim(self, consumer: Consumer, queue: str, limit: int, *, settled: Sequence[Claimed] = ()) -> Claim:
        """
        Ack ``settled`` (any queue), then take up to ``limit`` jobs (at most CLAIM_BATCH) of one queue, best first.

        Best: higher priority, then earlier moment, then smaller id. Promotes due scheduled jobs first, PROMOTE_BATCH at
        a time, also with limit 0. A job with deliveries > 0 comes alone in its batch. A paused queue gives nothing.
        When ready jobs remain, another idle consumer is woken. Raises ConsumerLost when the lease is gone (settled jobs
        that were still ours are acked all the same).
        """

    @abc.abstractmethod
    def ack(self, jobs: Sequence[Claimed]) -> list[str]:
        """Remove finished jobs and wake who waits for their end. Return the ids that were not ours any more."""

    @abc.abstractmethod
    def retry(self, retries: Sequence[Retry]) -> list[str]:
        """Schedule claimed jobs again with a new body; their delivery and crash counts start anew. Return lost ids."""

    @abc.abstractmethod
    def release(self, jobs: Sequence[Claimed], *, delay_ms: int = 0, started: bool = False) -> list[str]:
        """
        Give claimed jobs back, at their old place (or scheduled, with a delay). Return lost ids.

        ``started``: they had begun to run, which counts as a delivery (not as a crash).
        """

    @abc.abstractmethod
    def bury(self, jobs: Sequence[Claimed], *, reason: str) -> list[str]:
        """Put claimed jobs aside as dead, message kept. Return lost ids."""

    # From outside

    @abc.abstractmethod
    def forget(self, job_ids: Sequence[str], queue: str) -> int:
        """Drop dead jobs whose end has been recorded, waking who waits for their end. Return how many there were."""

    @abc.abstractmethod
    def revive(self, messages: Sequence[Message]) -> list[str]:
        """
        Let dead jobs live again, with new messages: ready, or scheduled when they have an eta, and never delivered
        before. Return the ids that were not dead.
        """

    @abc.abstractmethod
    def pause(self, queue: str) -> None:
        """Let nobody claim from this queue until ``resume``. What runs goes on."""

    @abc.abstractmethod
    def resume(self, queue: str) -> None:
        """End a pause and wake a consumer."""

    @abc.abstractmethod
    def purge(self, queue: str, *, limit: int | None = None) -> int:
        """
        Revoke everything ready and scheduled of a queue, or up to ``limit`` of it, by batches; each goes to dead
        ("purged"). Return how many.
        """

    # Waiting

    @abc.abstractmethod
    def wait(self, queues: Sequence[str], timeout_ms: int) -> str | None:
        """Block until one of the queues may have work, or the time is over. Return that queue, or None."""

    def wait_and_claim(self, consumer: Consumer, limit: int, timeout_ms: int) -> Woken | None:
        """
        Block until one of the consumer's queues may have work, or the time is over, and claim there: what an idle
        worker does. None: the time is over. Raises as ``claim`` does.
        """
        queue = self.wait(consumer.queues, timeout_ms)
        return None if queue is None else Woken(queue, self.claim(consumer, queue, limit))

    @abc.abstractmethod
    def interrupt(self) -> None:
        """Make every ``wait`` of this instance in this process return soon (at a shutdown)."""

    def watch_end(self, job_id: str, queue: str) -> None:
        """Say that somebody waits for the end of this job; call it before looking whether it has ended."""

    def wait_end(self, job_id: str, queue: str, timeout_ms: int) -> bool:
        """Block until the job ends; True: woken. Only where ``supports_wait_end``."""
        raise NotImplementedError

    def unwatch_end(self, job_id: str, queue: str) -> None:
        """Take back ``watch_end`` when nobody was woken."""

    # The cold path: what admin, shell and handles may ask

    @abc.abstractmethod
    def ahead(self, found: Found) -> int:
        """Count the ready jobs that will be claimed before this one (0 unless it is ready)."""

    @abc.abstractmethod
    def peek(self, queue: str, place: Place, *, limit: int = 100, offset: int = 0) -> list[Found]:
        """Return the first jobs in a place, in the order they would leave it, having passed over ``offset`` of them."""

    @abc.abstractmethod
    def queues(self) -> list[str]:
        """Name every queue that was ever enqueued to or listened to, sorted."""

    @abc.abstractmethod
    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """Count the jobs of these queues, in one round trip."""

    @abc.abstractmethod
    def ping(self) -> None:
        """Raise BrokerUnavailable, with a sentence an operator understands, when the service cannot be used."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connections of this thread and those shared by the process. The next verb opens new ones."""
