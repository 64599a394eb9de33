"""What workers say of themselves, what they are told, and who holds leases, in the memory broker."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobs import clock
from django_jobs.brokers.strays import Fault, Stray
from django_jobs.brokers.workers import ConsumerInfo
from django_jobs.states import Place
from django_jobs.testing.inspector import MemoryInspector
from django_jobs.testing.shelf import Standing


class MemoryWorkers(MemoryInspector):
    """report, workers, command, consumers, strays."""

    def report(self, worker: str, info: bytes, *, ttl_ms: int) -> list[bytes]:
        """Say how a worker stands. Return the commands that wait for it, oldest first, each once."""
        with self._shelf.changed:
            before = self._heard_of().get(worker)
            self._shelf.standings[worker] = Standing(info, clock.now_ms() + ttl_ms)
            return [] if before is None else before.commands

    def workers(self) -> dict[str, bytes]:
        """Return what the workers said that were heard of within their time, by worker."""
        with self._shelf.changed:
            return {worker: standing.info for worker, standing in self._heard_of().items()}

    def command(self, worker: str, text: bytes) -> bool:
        """Leave a command for a worker. False: it is not heard of any more."""
        with self._shelf.changed:
            standing = self._heard_of().get(worker)
            if standing is not None:
                standing.commands.append(text)
            return standing is not None

    def _heard_of(self) -> dict[str, Standing]:
        now_ms, standings = clock.now_ms(), self._shelf.standings
        for worker in [worker for worker, standing in standings.items() if standing.until_ms <= now_ms]:
            del standings[worker]
        return standings

    def consumers(self, queues: Sequence[str]) -> list[ConsumerInfo]:
        """Say who has a lease in these queues, run out or not, by queue and id."""
        with self._shelf.changed:
            now_ms = clock.now_ms()
            return [
                ConsumerInfo(
                    id=consumer_id,
                    queue=name,
                    lease_ms=lease.until_ms - now_ms,
                    suspected_ms=None if lease.suspected_ms is None else max(0, now_ms - lease.suspected_ms),
                    in_flight=len(queue.held_by(consumer_id)),
                )
                for name, queue in self._known(sorted(set(queues)))
                for consumer_id, lease in sorted(queue.leases.items())
            ]

    def strays(self, queues: Sequence[str], *, mend: bool = False) -> list[Stray]:
        """Find jobs in flight of who has no lease."""
        with self._shelf.changed:
            orphans = [
                (name, queue, entry)
                for name, queue in self._known(sorted(set(queues)))
                for entry in queue.first(Place.IN_FLIGHT, len(queue.entries))
                if entry.consumer not in queue.leases
            ]
            found = [
                Stray(id=entry.id, queue=name, fault=Fault.ORPHAN, consumer=entry.consumer)
                for name, _, entry in orphans
            ]
            for _, queue, entry in orphans if mend else ():
                entry.deliveries += 1
                queue.give_back(entry, entry.moment_ms, clock.now_ms())
                self._shelf.mark(queue)
            return found
