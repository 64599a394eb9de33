"""Jobs that are nobody's: keys that others have deleted, or Redis has evicted, leave them behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_jobs.brokers.redis.codec import unpack_id
from django_jobs.brokers.redis.core import Lane
from django_jobs.brokers.redis.leases import Leases
from django_jobs.brokers.redis.scripts import Command
from django_jobs.brokers.strays import Fault, Stray

#: Ids of one call.
BATCH = 500
#: Keys that Redis looks at in one step of a search through all of them.
SCAN_COUNT = 1000


class Strays(Leases):
    """strays."""

    def strays(self, queues: Sequence[str], *, mend: bool = False) -> list[Stray]:
        lanes = [self.lane(queue) for queue in sorted(set(queues))]
        orphans = [orphan for lane, consumer in self._ownerless(lanes) for orphan in self._held(lane, consumer)]
        if mend:
            for queue, consumer in sorted({(orphan.queue, orphan.consumer or "") for orphan in orphans}):
                self.reap(queue, consumer, suspect_ms=0, force=True, running=())
        known = {orphan.id for orphan in orphans}
        others = [stray for lane in lanes if self._balance(lane) for stray in self._misplaced(lane, mend=mend)]
        return orphans + [stray for stray in others if stray.id not in known]

    def _ownerless(self, lanes: Sequence[Lane]) -> Iterator[tuple[Lane, str]]:
        """Find the keys of what is in flight whose consumer has no lease."""
        holders = {lane.keys["flights"]: lane for lane in lanes}
        held: dict[bytes, list[str]] = {}
        for key in self._flight_keys():
            start, separator, consumer = key.rpartition(b":")
            if start + separator in holders:
                held.setdefault(start + separator, []).append(consumer.decode())
        for start, consumers in sorted(held.items()):
            lane = holders[start]
            key = lane.keys["consumers"]
            leases = self.run_all([lane.command(b"ZSCORE", key, consumer.encode()) for consumer in consumers])
            yield from ((lane, consumer) for consumer, lease in zip(consumers, leases, strict=True) if lease is None)

    def _flight_keys(self) -> set[bytes]:
        """Go through the keys of every server, a thousand at a time, for those of what is in flight."""
        pattern = (f"{{{self.prefix}}}:*" if self.single_slot else f"{self.prefix}:{{*}}") + ":inflight:*"
        found: set[bytes] = set()
        for link in list(self.every_server()):
            cursor = b"0"
            while True:
                scan = Command(0, b"SCAN", cursor, b"MATCH", pattern.encode(), b"COUNT", b"%d" % SCAN_COUNT)
                cursor, keys = link.call(scan.pack())
                found.update(keys)
                if cursor == b"0":
                    break
        return found

    def _held(self, lane: Lane, consumer: str) -> list[Stray]:
        ids = self.run(lane.command(b"HKEYS", lane.keys.inflight(consumer)))
        return [Stray(id=unpack_id(raw), queue=lane.name, fault=Fault.ORPHAN, consumer=consumer) for raw in ids]

    def _balance(self, lane: Lane) -> int:
        return int(self.run(lane.call("balance")))

    def _misplaced(self, lane: Lane, *, mend: bool) -> Iterator[Stray]:
        for fault, script, members in (
            (Fault.LOST, "lost", self._messages(lane)),
            (Fault.GHOST, "ghosts", self._members(lane)),
        ):
            # First all, then mended: what leaves a place meanwhile would move what is still to be looked at.
            found = [member for batch in members for member in self.run(lane.call(script, b"0", *batch))]
            for start in range(0, len(found) if mend else 0, BATCH):
                self.run(lane.call(script, b"1", *found[start : start + BATCH]))
            for member in dict.fromkeys(found):
                yield Stray(id=unpack_id(member[-16:]), queue=lane.name, fault=fault)

    def _messages(self, lane: Lane) -> Iterator[list[bytes]]:
        cursor = b"0"
        while True:
            cursor, pairs = self.run(lane.command(b"HSCAN", lane.keys["jobs"], cursor, b"COUNT", b"%d" % BATCH))
            # A small hash comes whole, whatever was asked for.
            ids = pairs[::2]
            yield from (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
            if cursor == b"0":
                return

    def _members(self, lane: Lane) -> Iterator[list[bytes]]:
        for name in ("ready", "sched", "dead"):
            start = 0
            while members := self.run(
                lane.command(b"ZRANGE", lane.keys[name], b"%d" % start, b"%d" % (start + BATCH - 1))
            ):
                yield members
                start += len(members)
