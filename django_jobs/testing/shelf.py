"""Where the memory broker keeps its jobs: queues, each job in exactly one place of one, and the leases of consumers."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field

from django_jobs.brokers.base import Claimed, Message
from django_jobs.states import Place

#: What orders the jobs of a place: priority and moment, one or the other first, and the id.
Key = tuple[int, int, str]


@dataclass(slots=True, eq=False)
class Entry:
    """A job, as the broker holds it."""

    id: str
    body: bytes
    priority: int
    moment_ms: int
    place: Place
    deliveries: int = 0
    crashes: int = 0
    #: Who holds it, and the receipt of that claim; while it is in flight.
    consumer: str | None = None
    token: str = ""
    #: Somebody wants it stopped: when it comes back, it is dead.
    revoked: bool = False
    #: ... and interrupted.
    terminated: bool = False
    reason: str | None = None

    @property
    def key(self) -> Key:
        """Its order within its place: jobs that wait for their moment, or have ended, go by moments first."""
        if self.place is Place.DEAD:
            return self.moment_ms, 0, self.id
        if self.place is Place.SCHEDULED:
            return self.moment_ms, -self.priority, self.id
        return -self.priority, self.moment_ms, self.id


@dataclass(slots=True)
class Lease:
    """How long a consumer's claims hold, and since when it is suspected of being gone."""

    until_ms: int
    suspected_ms: int | None = None


@dataclass(slots=True)
class Standing:
    """What a worker said of itself, until when that counts, and the commands that wait for it."""

    info: bytes
    until_ms: int
    commands: list[bytes] = field(default_factory=list)


class Queue:
    """The jobs of one queue."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.order: dict[Place, list[Key]] = {place: [] for place in Place}
        self.leases: dict[str, Lease] = {}
        self.paused = False
        #: Says that there may be work: taken by the next who waits.
        self.marked = False

    def add(self, message: Message, now_ms: int) -> bool:
        """Take a job in, unless its id is known."""
        if message.id in self.entries:
            return False
        moment = now_ms if message.eta_ms is None else message.eta_ms
        place = Place.SCHEDULED if moment > now_ms else Place.READY
        entry = Entry(message.id, message.body, message.priority, moment, place)
        self.entries[entry.id] = entry
        self._put(entry)
        return True

    def move(self, entry: Entry, place: Place, moment_ms: int) -> None:
        """Take a job from its place to another. Who held it, holds it no more."""
        self._take(entry)
        entry.place, entry.moment_ms = place, moment_ms
        entry.consumer, entry.token = None, ""
        self._put(entry)

    def give_back(self, entry: Entry, moment_ms: int, now_ms: int) -> bool:
        """Let a job wait again, until ``moment_ms``; False: somebody wanted it stopped, and it is dead."""
        if entry.revoked:
            self.kill(entry, "revoked", now_ms)
            return False
        self.move(entry, Place.SCHEDULED if moment_ms > now_ms else Place.READY, moment_ms)
        return True

    def kill(self, entry: Entry, reason: str, now_ms: int) -> None:
        """Put a job aside."""
        entry.reason = reason
        self.move(entry, Place.DEAD, now_ms)

    def remove(self, entry: Entry) -> None:
        """Forget a job."""
        self._take(entry)
        del self.entries[entry.id]

    def promote(self, now_ms: int, limit: int) -> int | None:
        """Make due jobs ready. Return when the next scheduled one is due."""
        scheduled = self.order[Place.SCHEDULED]
        while scheduled and scheduled[0][0] <= now_ms and limit:
            entry = self.entries[scheduled[0][2]]
            self.move(entry, Place.READY, entry.moment_ms)
            limit -= 1
        return scheduled[0][0] if scheduled else None

    def first(self, place: Place, limit: int) -> list[Entry]:
        """Return the first jobs of a place."""
        return [self.entries[job_id] for _, _, job_id in self.order[place][:limit]]

    def held_by(self, consumer_id: str) -> list[Entry]:
        """Return what a consumer has in flight."""
        return [entry for entry in self.first(Place.IN_FLIGHT, len(self.entries)) if entry.consumer == consumer_id]

    def own(self, job: Claimed) -> Entry | None:
        """Return the job behind a receipt, if the receipt still holds."""
        entry = self.entries.get(job.id)
        return entry if entry is not None and entry.token == job.token else None

    def _put(self, entry: Entry) -> None:
        insort(self.order[entry.place], entry.key)

    def _take(self, entry: Entry) -> None:
        order = self.order[entry.place]
        del order[bisect_left(order, entry.key)]


@dataclass(slots=True, eq=False)
class Shelf:
    """Everything that several instances of a broker share, and the one lock around it."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    queues: dict[str, Queue] = field(default_factory=dict)
    #: By worker.
    standings: dict[str, Standing] = field(default_factory=dict)
    #: Who waits for the end of a job, and how many of them may go on, by (queue, id).
    watchers: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    claims: int = 0

    def queue(self, name: str) -> Queue:
        """Return a queue, making it known."""
        return self.queues.setdefault(name, Queue())

    def mark(self, queue: Queue) -> None:
        """Wake one who waits for work."""
        queue.marked = True
        self.changed.notify_all()

    def end(self, name: str, queue: Queue, entry: Entry) -> None:
        """Forget a job, and let those go on who waited for its end."""
        queue.remove(entry)
        waiting = self.watchers.pop((name, entry.id), 0)
        if waiting:
            self.ended[name, entry.id] += waiting
            self.changed.notify_all()
