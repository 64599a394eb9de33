"""
What a broker really holds, read at one moment and around the product: one Lua script for Redis, one SQL for a database.

Both check invariant I1 on the way: an id is in exactly one place.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import redis

from tests.chaos.tables import Rows, Unreadable

LOOK = (Path(__file__).parent / "look.lua").read_text()
QUEUE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A broker at one moment."""

    #: ready, scheduled, dead, and what is kept beside them.
    counts: dict[str, int]
    consumers: frozenset[str]
    #: Those whose lease has run out.
    silent: frozenset[str]
    #: consumer -> ids
    flights: dict[str, frozenset[str]]
    #: Every id that the broker knows.
    known: frozenset[str]
    violations: tuple[str, ...]

    @property
    def in_flight(self) -> frozenset[str]:
        return frozenset().union(*self.flights.values())

    def left(self) -> list[str]:
        """Say what is there that must not be once everything has ended. Leases are looked at apart."""
        found = [f"{count} in {name}" for name, count in self.counts.items() if count]
        if self.flights:
            found.append(f"{len(self.in_flight)} in flight")
        if self.known and not found:
            found.append(f"{len(self.known)} known")
        return found


class Eyes(Protocol):
    """Looks at one broker."""

    def look(self) -> Sight:
        """Return what is there. Raises Unreadable while the server is away."""


@dataclass(slots=True)
class RedisEyes:
    """Looks at one queue of a Redis, never through a proxy."""

    port: int
    prefix: str
    single_slot: bool = False
    _client: Any = field(default=None, init=False)

    @property
    def base(self) -> str:
        return f"{{{self.prefix}}}:{QUEUE}:" if self.single_slot else f"{self.prefix}:{{{QUEUE}}}:"

    def client(self) -> Any:
        if self._client is None:
            self._client = redis.Redis(port=self.port, socket_timeout=10, socket_connect_timeout=5)
        return self._client

    def ask(self, *words: Any) -> Any:
        """Send one command. Raises Unreadable."""
        try:
            return self.client().execute_command(*words)
        except redis.RedisError as error:
            raise Unreadable(str(error)) from error

    def look(self, script: str = LOOK) -> Sight:
        counts, consumers, flights, jobs, wrong = self.ask("EVAL", script, 1, self.base)
        names = ("ready", "sched", "dead", "redeliv", "revoked", "reasons", "suspects")
        return Sight(
            counts=dict(zip(names, counts, strict=True)),
            consumers=frozenset(name.decode() for name in consumers[::2]),
            silent=_silent(zip(map(bytes.decode, consumers[::2]), map(float, consumers[1::2]), strict=True)),
            flights={
                holder.decode(): frozenset(map(text_of, ids))
                for holder, ids in zip(flights[::2], flights[1::2], strict=True)
            },
            known=frozenset(map(text_of, jobs)),
            violations=tuple(readable(text) for text in wrong),
        )


def _silent(leases: Iterable[tuple[str, float]]) -> frozenset[str]:
    """Return who has no lease any more: those who have (consumer, end in ms); servers and we have one clock."""
    now_ms = time.time() * 1000
    return frozenset(consumer for consumer, expires in leases if expires < now_ms)


def text_of(raw: bytes) -> str:
    return str(UUID(bytes=raw)) if len(raw) == 16 else repr(raw)


def readable(text: bytes) -> str:
    words, _, rest = text.partition(b": ")
    return f"{words.decode()}: {text_of(rest)}"


# Every row of the queue with what is wrong about it, and every lease. What has ended must not be in the queue as well
# where one transaction settles both: an atomic job commits its end in its own, and leaves the queue a moment later. The
# end of a job that was given away may still be recorded by its former holder: whoever gets it next looks for that.
SIGHT = """
    SELECT 'job', CAST(j.id AS {text}), j.state, j.consumer, j.deliveries,
        CASE WHEN (j.state = 2) <> (j.consumer <> '') THEN 'has a holder and is not in flight, or the reverse'
             WHEN j.state = 2 AND NOT EXISTS (
                SELECT 1 FROM django_jobs_consumerlease l WHERE l.consumer = j.consumer AND l.queue = j.queue)
             THEN 'is held without a lease'
             WHEN {together} AND j.state <> 3 AND j.deliveries = 0 AND EXISTS (
                SELECT 1 FROM django_jobs_jobresult r
                WHERE r.id = j.id AND r.state IN ('SUCCESS', 'FAILURE', 'REVOKED'))
             THEN 'has ended and is in the queue'
             ELSE '' END
    FROM django_jobs_queuedjob j WHERE j.queue = 'default'
    UNION ALL
    SELECT 'lease', consumer, CASE WHEN suspected IS NULL THEN 0 ELSE 1 END, '', expires, ''
    FROM django_jobs_consumerlease WHERE queue = 'default'
"""
PLACES = ("ready", "sched", "in flight", "dead")


@dataclass(slots=True)
class DatabaseEyes:
    """Looks at the tables of the database broker."""

    rows: Rows
    #: Are a job's end and its leaving the queue one transaction?
    together: bool = True

    def look(self) -> Sight:
        text = "char" if self.rows.vendor == "mysql" else "text"
        counts = dict.fromkeys(("ready", "sched", "dead", "redeliv", "suspects"), 0)
        leases: dict[str, float] = {}
        known, violations = set(), []
        flights: dict[str, set[str]] = defaultdict(set)
        for kind, name, state, holder, deliveries, wrong in self.rows.ask(
            SIGHT.format(text=text, together="1 = 1" if self.together else "1 = 0")
        ):
            if kind == "lease":
                leases[name] = deliveries
                counts["suspects"] += state
                continue
            job_id = str(UUID(name))
            known.add(job_id)
            counts["redeliv"] += bool(deliveries)
            if state == 2:
                flights[holder].add(job_id)
            else:
                counts[PLACES[state]] += 1
            if wrong:
                violations.append(f"{wrong}: {job_id}")
        return Sight(
            counts=counts,
            consumers=frozenset(leases),
            silent=_silent(leases.items()),
            flights={holder: frozenset(ids) for holder, ids in flights.items()},
            known=frozenset(known),
            violations=tuple(violations[:20]),
        )
