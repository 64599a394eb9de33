"""What may be asked of the memory broker, and waited for, without moving a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django_jobs import clock
from django_jobs.brokers.base import BaseBroker, Found, QueueCounts
from django_jobs.states import Place
from django_jobs.testing.shelf import Entry, Queue, Shelf


class MemoryInspector(BaseBroker):
    """The cold half of the memory broker."""

    is_shared = False

    def __init__(
        self,
        location: str = "memory://",
        *,
        prefix: str = "dj",
        timeout_ms: int = 2000,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(location, prefix=prefix, timeout_ms=timeout_ms, options=options)
        self._shelf: Shelf = self.options.get("SHELF") or Shelf()
        self._interrupts = 0

    # Waiting

    def wait(self, queues: Sequence[str], timeout_ms: int) -> str | None:
        """Block until one of the queues may have work, or the time is over. Return that queue, or None."""
        with self._shelf.changed:
            interrupts = self._interrupts

            def found() -> str | None:
                return next((name for name, queue in self._known(queues) if queue.marked), None)

            self._until(lambda: self._interrupts != interrupts or found() is not None, timeout_ms)
            name = found() if self._interrupts == interrupts else None
            if name is not None:
                self._shelf.queue(name).marked = False
            return name

    def interrupt(self) -> None:
        """Make every ``wait`` of this instance return soon."""
        with self._shelf.changed:
            self._interrupts += 1
            self._shelf.changed.notify_all()

    def watch_end(self, job_id: str, queue: str) -> None:
        """Say that somebody waits for the end of this job."""
        with self._shelf.changed:
            self._shelf.watchers[queue, job_id] += 1

    def wait_end(self, job_id: str, queue: str, timeout_ms: int) -> bool:
        """Block until the job ends; True: woken."""
        with self._shelf.changed:
            woken = self._until(lambda: self._shelf.ended[queue, job_id] > 0, timeout_ms)
            self._shelf.ended[queue, job_id] -= woken
            return woken

    def unwatch_end(self, job_id: str, queue: str) -> None:
        """Take back ``watch_end`` when nobody was woken."""
        with self._shelf.changed:
            for counter in (self._shelf.watchers, self._shelf.ended):
                if counter[queue, job_id]:
                    counter[queue, job_id] -= 1
                    return

    def _until(self, condition: Callable[[], bool], timeout_ms: int) -> bool:
        # Real time, not the test's: a moved clock must not end a wait, nor make it endless.
        deadline = time.monotonic() + timeout_ms / 1000
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._shelf.changed.wait(left)
        return True

    # The cold path

    def find(self, job_id: str, queue: str | None = None) -> Found | None:
        """Say where a job is."""
        with self._shelf.changed:
            for name, shelved in self._known(self.queues() if queue is None else [queue]):
                if job_id in shelved.entries:
                    return _found(name, shelved.entries[job_id])
            return None

    def ahead(self, found: Found) -> int:
        """Count the ready jobs that will be claimed before this one (0 unless it is ready)."""
        with self._shelf.changed:
            entry = self._shelf.queue(found.queue).entries.get(found.id)
            if entry is None or entry.place is not Place.READY:
                return 0
            return self._shelf.queue(found.queue).order[Place.READY].index(entry.key)

    def peek(self, queue: str, place: Place, *, limit: int = 100, offset: int = 0) -> list[Found]:
        """Return the first jobs in a place, in the order they would leave it, having passed over ``offset`` of them."""
        with self._shelf.changed:
            return [
                _found(name, entry)
                for name, shelved in self._known([queue])
                for entry in shelved.first(place, offset + limit)[offset:]
            ]

    def queues(self) -> list[str]:
        """Name every queue that was ever enqueued to or listened to, sorted."""
        with self._shelf.changed:
            return sorted(self._shelf.queues)

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """Count the jobs of these queues."""
        with self._shelf.changed:
            return [_counts(name, self._shelf.queues.get(name) or Queue()) for name in queues]

    def _known(self, names: Sequence[str]) -> Iterator[tuple[str, Queue]]:
        return ((name, self._shelf.queues[name]) for name in names if name in self._shelf.queues)

    def ping(self) -> None:
        """Do nothing: memory is there."""

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _found(queue: str, entry: Entry) -> Found:
    return Found(
        id=entry.id,
        queue=queue,
        place=entry.place,
        body=entry.body,
        priority=entry.priority,
        moment_ms=entry.moment_ms,
        consumer=entry.consumer,
        reason=entry.reason if entry.place is Place.DEAD else None,
    )


def _counts(name: str, queue: Queue) -> QueueCounts:
    oldest = queue.first(Place.READY, 1)
    gone = set(silent(queue))
    return QueueCounts(
        queue=name,
        ready=len(queue.order[Place.READY]),
        scheduled=len(queue.order[Place.SCHEDULED]),
        in_flight=len(queue.order[Place.IN_FLIGHT]),
        dead=len(queue.order[Place.DEAD]),
        paused=queue.paused,
        consumers=len(queue.leases) - len(gone),
        oldest_ready_ms=max(0, clock.now_ms() - oldest[0].moment_ms) if oldest else None,
    )


def silent(queue: Queue) -> list[str]:
    """Name the consumers whose lease has run out."""
    now_ms = clock.now_ms()
    return [consumer_id for consumer_id, lease in queue.leases.items() if lease.until_ms <= now_ms]
