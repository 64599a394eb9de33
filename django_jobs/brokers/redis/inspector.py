"""The cold path: what admin, shell and handles may ask. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobs.brokers.base import Found, QueueCounts
from django_jobs.brokers.hazards import Hazard
from django_jobs.brokers.redis.codec import RANK, pack_id, unpack_id, unpack_message
from django_jobs.brokers.redis.core import Lane, RedisCore
from django_jobs.brokers.redis.hazards import hazards_of_redis
from django_jobs.brokers.redis.scripts import Command
from django_jobs.states import Place

#: Of one round trip: each is answered with its message.
FIND_BATCH = 100


class Inspector(RedisCore):
    """find, find_many, ahead, peek, queues, counts, ping, hazards."""

    def find(self, job_id: str, queue: str | None = None) -> Found | None:
        raw = pack_id(job_id)
        names = [queue] if queue is not None else self.queues()
        answers = self.run_all([self.lane(name).call("find", raw) for name in names])
        found = (_placed(raw, name, answer) for name, answer in zip(names, answers, strict=True) if answer)
        return next(found, None)

    def find_many(self, job_ids: Sequence[str]) -> dict[str, Found]:
        """Ask queue by queue for what was in none before it."""
        found: dict[str, Found] = {}
        for name in self.queues():
            lane, sought = self.lane(name), [pack_id(job_id) for job_id in job_ids if job_id not in found]
            for start in range(0, len(sought), FIND_BATCH):
                some = sought[start : start + FIND_BATCH]
                answers = self.run_all([lane.call("find", raw) for raw in some])
                placed = (_placed(raw, name, answer) for raw, answer in zip(some, answers, strict=True) if answer)
                found |= {one.id: one for one in placed}
        return found

    def ahead(self, found: Found) -> int:
        lane = self.lane(found.queue)
        rank = self.run(lane.command(b"ZRANK", lane.keys["ready"], pack_id(found.id)))
        return int(rank or 0)

    def peek(self, queue: str, place: Place, *, limit: int = 100, offset: int = 0) -> list[Found]:
        lane = self.lane(queue)
        if limit <= 0:
            return []
        match place:
            case Place.READY:
                return self._first(lane, place, lane.keys["ready"], offset, limit)
            case Place.SCHEDULED:
                return self._first(lane, place, lane.keys["sched"], offset, limit)
            case Place.DEAD:
                return self._first(lane, place, lane.keys["dead"], offset, limit)
            case Place.IN_FLIGHT:
                return self._in_flight(lane)[offset : offset + limit]

    def _first(self, lane: Lane, place: Place, key: bytes, offset: int, limit: int) -> list[Found]:
        first, last = b"%d" % offset, b"%d" % (offset + limit - 1)
        rows = self.run(lane.command(b"ZRANGE", key, first, last, b"WITHSCORES"))
        ids = [member[-16:] for member in rows[::2]]
        if not ids:
            return []
        messages, reasons = self.run_all(
            [
                lane.command(b"HMGET", lane.keys["jobs"], *ids),
                lane.command(b"HMGET", lane.keys["reasons"], *ids),
            ]
        )
        # What has moved on between the two questions is left out.
        return [
            _found(
                raw,
                lane.name,
                place,
                message,
                moment_ms=int(score) % RANK,
                reason=(reason or b"") if place is Place.DEAD else b"",
            )
            for raw, score, message, reason in zip(ids, rows[1::2], messages, reasons, strict=True)
            if message is not None
        ]

    def _in_flight(self, lane: Lane) -> list[Found]:
        """Return what consumers hold, in the order in which it would have left ready: nobody knows when it ends."""
        consumers = self.run(lane.command(b"ZRANGE", lane.keys["consumers"], b"0", b"-1"))
        held = self.run_all([lane.command(b"HKEYS", lane.keys.inflight(name.decode())) for name in consumers])
        holders = {raw: name for name, ids in zip(consumers, held, strict=True) for raw in ids}
        if not holders:
            return []
        messages = self.run(lane.command(b"HMGET", lane.keys["jobs"], *holders))
        rows = sorted((message[:18], raw, message) for raw, message in zip(holders, messages, strict=True) if message)
        return [_found(raw, lane.name, Place.IN_FLIGHT, message, consumer=holders[raw]) for _, raw, message in rows]

    def queues(self) -> list[str]:
        names = self.run(Command(self._common.slot, b"SMEMBERS", self._common["queues"]))
        return sorted(name.decode() for name in names)

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        answers = self.run_all([self.lane(queue).call("counts") for queue in queues])
        return [
            QueueCounts(
                queue=queue,
                ready=ready,
                scheduled=scheduled,
                in_flight=in_flight,
                dead=dead,
                paused=bool(paused),
                consumers=consumers,
                oldest_ready_ms=None if age < 0 else age,
            )
            for queue, (ready, scheduled, in_flight, dead, paused, consumers, age) in zip(queues, answers, strict=True)
        ]

    def ping(self) -> None:
        """Raise BrokerUnavailable, with a sentence an operator understands, when the service cannot be used."""
        self.run(Command(self._common.slot, b"PING"))

    def hazards(self) -> list[Hazard]:
        """Ask Redis how it is set up."""
        return hazards_of_redis(self, self.whereabouts)


def _placed(raw: bytes, queue: str, answer: Sequence[bytes]) -> Found:
    """Read an answer of find.lua that has found something."""
    place, message, moment, note = answer
    return _found(
        raw,
        queue,
        Place(place.decode()),
        message,
        moment_ms=int(moment) if moment else None,
        consumer=note if place == b"in_flight" else b"",
        reason=note if place == b"dead" else b"",
    )


def _found(
    raw: bytes,
    queue: str,
    place: Place,
    message: bytes,
    *,
    moment_ms: int | None = None,
    consumer: bytes = b"",
    reason: bytes = b"",
) -> Found:
    stored = unpack_message(message)
    return Found(
        id=unpack_id(raw),
        queue=queue,
        place=place,
        body=stored.body,
        priority=stored.priority,
        moment_ms=stored.moment_ms if moment_ms is None else moment_ms,
        consumer=consumer.decode() or None,
        reason=reason.decode() or None,
    )
