"""What workers say of themselves, what they are told, and who holds leases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from django_jobs.brokers.redis.core import RedisCore
from django_jobs.brokers.redis.scripts import Bound, Call, script
from django_jobs.brokers.workers import ConsumerInfo


class Workers(RedisCore):
    """report, workers, command, consumers."""

    @cached_property
    def _worker_scripts(self) -> dict[str, Bound]:
        return {name: Bound(script(name), self._common) for name in ("report", "workers", "command")}

    def report(self, worker: str, info: bytes, *, ttl_ms: int) -> list[bytes]:
        call = Call(self._worker_scripts["report"], (worker.encode(), b"%d" % ttl_ms, info))
        return list(self.run(call))

    def workers(self) -> dict[str, bytes]:
        flat = self.run(Call(self._worker_scripts["workers"]))
        return {worker.decode(): info for worker, info in zip(flat[::2], flat[1::2], strict=True)}

    def command(self, worker: str, text: bytes) -> bool:
        return bool(self.run(Call(self._worker_scripts["command"], (worker.encode(), text))))

    def consumers(self, queues: Sequence[str]) -> list[ConsumerInfo]:
        names = sorted(set(queues))
        answers = self.run_all([self.lane(queue).call("consumers") for queue in names])
        return [
            ConsumerInfo(
                id=consumer.decode(),
                queue=queue,
                lease_ms=lease,
                suspected_ms=None if suspected < 0 else suspected,
                in_flight=in_flight,
            )
            for queue, flat in zip(names, answers, strict=True)
            for consumer, lease, suspected, in_flight in sorted(
                zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
            )
        ]
