"""The life of a consumer: its lease, its heartbeat, its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from django_jobs.brokers.base import Consumer, Heartbeat, Reaped
from django_jobs.brokers.redis.codec import pack_id, unpack_id
from django_jobs.brokers.redis.core import RedisCore


class Leases(RedisCore):
    """register, heartbeat, unregister, resync, reap, expired."""

    def register(self, consumer: Consumer, *, lease_ms: int) -> None:
        lanes = [self.lane(queue) for queue in consumer.queues]
        self.introduce(lanes, again=True)
        arguments = (consumer.id.encode(), b"%d" % lease_ms, b"1")
        self.run_all([lane.call_for(consumer.id, "heartbeat", arguments) for lane in lanes])

    def heartbeat(self, consumers: Sequence[Consumer], *, lease_ms: int) -> list[Heartbeat]:
        beats = [(consumer, queue) for consumer in consumers for queue in consumer.queues]
        answers = iter(
            self.run_all(
                [
                    self.lane(queue).call_for(consumer.id, "heartbeat", (consumer.id.encode(), b"%d" % lease_ms, b"0"))
                    for consumer, queue in beats
                ]
            )
        )
        found = []
        for consumer in consumers:
            alive, in_flight = True, 0
            revoked: dict[str, bool] = {}
            for _ in consumer.queues:
                answer = next(answers)
                if answer == b"lost":
                    alive = False
                else:
                    in_flight += answer[0]
                    pairs = zip(answer[1::2], answer[2::2], strict=True)
                    revoked.update((unpack_id(raw), how == b"1") for raw, how in pairs)
            terminated = tuple(job_id for job_id, is_terminated in revoked.items() if is_terminated)
            found.append(Heartbeat(alive=alive, in_flight=in_flight, revoked=tuple(revoked), terminated=terminated))
        return found

    def unregister(self, consumer: Consumer) -> None:
        arguments = (consumer.id.encode(),)
        self.run_all([self.lane(queue).call_for(consumer.id, "unregister", arguments) for queue in consumer.queues])

    def resync(self, consumer: Consumer, known: Collection[str]) -> list[str]:
        arguments = [pack_id(job_id) for job_id in known]
        answers = self.run_all(
            [self.lane(queue).call_for(consumer.id, "resync", arguments) for queue in consumer.queues]
        )
        return [unpack_id(raw) for answer in answers for raw in answer]

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
        arguments = [
            consumer_id.encode(),
            b"%d" % suspect_ms,
            b"1" if force else b"0",
            b"1" if running is None else b"0",
            b"%d" % len(ended or {}),
            *(part for job_id, reason in (ended or {}).items() for part in (pack_id(job_id), reason.encode())),
            *(pack_id(job_id) for job_id in running or ()),
        ]
        verdict, *moved = self.run(self.lane(queue).call_for(consumer_id, "reap", arguments))
        return Reaped(verdict=verdict.decode(), moved=tuple(unpack_id(raw) for raw in moved))

    def expired(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        answers = self.run_all([self.lane(queue).call("expired") for queue in queues])
        return [(queue, found.decode()) for queue, answer in zip(queues, answers, strict=True) for found in answer]
