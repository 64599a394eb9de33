"""
Whether this is still the Redis that was told what we have told it.

Three things say so. A key that is written once goes with the data (FLUSHALL, an empty restart). The id of a run changes
when a server starts again, perhaps from an older file, and when another server takes over. The id of a replication
changes when a server takes its data from another one, and is made a master again.
"""

from __future__ import annotations

import hashlib
import os

from redis.exceptions import ResponseError

from django_jobs.brokers.redis.connection import Link
from django_jobs.brokers.redis.core import RedisCore
from django_jobs.brokers.redis.scripts import Bound, Call, Command, script


class Continuity(RedisCore):
    """connects, continuity, now_ms."""

    @property
    def connects(self) -> int:  # type: ignore[override]
        """How many connections were opened."""
        return sum(link.connects for link in self._servers.links())

    def continuity(self) -> str:
        name = self.run(Call(Bound(script("epoch"), self._common), (os.urandom(16).hex().encode(),)))
        parts = [name.decode(), *sorted(map(_identity, self._servers.masters()))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def now_ms(self) -> int:
        seconds, micros = self.run(Command(self._common.slot, b"TIME"))
        return int(seconds) * 1000 + int(micros) // 1000


def _identity(link: Link) -> str:
    """Return who a server is; nothing, where its operator does not let us ask."""
    found = []
    for section, field in ((b"server", b"run_id:"), (b"replication", b"master_replid:")):
        try:
            text: bytes = link.call(Command(0, b"INFO", section).pack())
        except ResponseError:
            continue
        found += [line for line in text.splitlines() if line.startswith(field)]
    return b",".join(found).decode()
