"""
Who may claim: leases of consumers, and what becomes of the jobs of one that falls silent.

Nothing here waits for long for the locks of others. One that is frozen may hold its own, in the middle of whatever it
was doing, and whoever waited for them would fall silent with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from django_jobs.brokers.base import BaseBroker, Consumer, Heartbeat, Reaped
from django_jobs.brokers.database.dialects import Sql
from django_jobs.brokers.database.enqueueing import add_queues
from django_jobs.brokers.database.runner import Database, LockedOut
from django_jobs.brokers.database.settle import BURY, give_back

#: How long a keeper waits for a lock that somebody else holds: far below a heartbeat.
LOCK_MS = 1000

RENEW = "UPDATE {lease} SET expires = {now} + %s, suspected = NULL WHERE queue = %s AND consumer IN ({many})"
OPEN = "{insert} {lease} (consumer, queue, expires, suspected) VALUES (%s, %s, {now} + %s, NULL) {ignore}"
FREE = "SELECT consumer FROM {lease} WHERE queue = %s AND consumer IN ({many}) {skip_locked}"
HELD_BY = "SELECT {id}, revoked FROM {job} WHERE state = 2 AND consumer = %s AND queue = %s"


def register(sql: Sql, consumer: Consumer, *, lease_ms: int) -> None:
    """Open the leases of a consumer, or renew them when they are open."""
    queues = sorted(set(consumer.queues))
    for queue in queues:
        # Asked for again, after an answer that was lost, it is open already.
        sql.change(OPEN, (consumer.id, queue, lease_ms))
        sql.change(RENEW, [lease_ms, queue, consumer.id], many=1)
    if queues:
        add_queues(sql, queues)


def heartbeat(sql: Sql, consumers: Sequence[Consumer], *, lease_ms: int, skip_locked: bool = False) -> list[Heartbeat]:
    """Renew leases, with ``skip_locked`` those that nobody has locked, and say of each consumer how it stands."""
    ids = [consumer.id for consumer in consumers]
    for queue in sorted({queue for consumer in consumers for queue in consumer.queues}):
        listening = [consumer.id for consumer in consumers if queue in consumer.queues]
        if skip_locked:
            listening = [row[0] for row in sql.rows(FREE, [queue, *listening], many=len(listening))]
        if listening:
            sql.change(RENEW, [lease_ms, queue, *listening], many=len(listening))
    leases = sql.rows("SELECT consumer, queue FROM {lease} WHERE consumer IN ({many})", ids, many=len(ids))
    counts = sql.rows(
        "SELECT consumer, COUNT(*) FROM {job} WHERE state = 2 AND consumer IN ({many}) GROUP BY consumer",
        ids,
        many=len(ids),
    )
    revoked = sql.rows(
        "SELECT consumer, {id}, interrupted FROM {job} WHERE state = 2 AND consumer IN ({many}) AND revoked = %s",
        [*ids, True],
        many=len(ids),
    )
    held = {(row[0], row[1]) for row in leases}
    in_flight = {row[0]: row[1] for row in counts}
    id_out = sql.dialect.id_out
    return [
        Heartbeat(
            alive=all((consumer.id, queue) in held for queue in consumer.queues),
            in_flight=in_flight.get(consumer.id, 0),
            revoked=tuple(sorted(id_out(row[1]) for row in revoked if row[0] == consumer.id)),
            terminated=tuple(sorted(id_out(row[1]) for row in revoked if row[0] == consumer.id and row[2])),
        )
        for consumer in consumers
    ]


def unregister(sql: Sql, consumer: Consumer) -> None:
    """End a consumer's leases, and give back what it holds."""
    for queue in consumer.queues:
        sql.change("DELETE FROM {lease} WHERE consumer = %s AND queue = %s", (consumer.id, queue))
    keys = _held(sql, consumer)
    if keys:
        give_back(sql, keys)


def resync(sql: Sql, consumer: Consumer, known: Collection[str]) -> list[str]:
    """Give back what is in flight for a consumer without its knowledge. Return those ids."""
    known_keys = set(sql.ids_in(known))
    keys = [key for key in _held(sql, consumer) if key not in known_keys]
    if keys:
        give_back(sql, keys)
    return sorted(sql.dialect.id_out(key) for key in keys)


def _held(sql: Sql, consumer: Consumer) -> list[str]:
    return [row[0] for queue in consumer.queues for row in sql.rows(HELD_BY + " {locked}", (consumer.id, queue))]


def reap(
    sql: Sql,
    queue: str,
    consumer_id: str,
    *,
    suspect_ms: int,
    force: bool,
    running: Collection[str] | None,
    ended: Mapping[str, str],
) -> Reaped:
    """
    Suspect a silent consumer, or take what it holds and then its lease.

    Its lease is locked first: a claim that is under way has it locked, and no other can begin. What somebody else has
    locked is left for the next time, and the lease with it: a job in flight without one would be nobody's.
    """
    key = (consumer_id, queue)
    lease = sql.rows(
        "SELECT expires, suspected, {now} FROM {lease} WHERE consumer = %s AND queue = %s {skip_locked}", key
    )
    if not lease:
        is_there = sql.rows("SELECT 1 FROM {lease} WHERE consumer = %s AND queue = %s", key)
        return Reaped(verdict="locked" if is_there else "unknown")
    if not force and (verdict := _suspect(sql, key, *lease[0], suspect_ms=suspect_ms)) is not None:
        return Reaped(verdict=verdict)
    held: dict[str, bool] = dict(sql.rows(HELD_BY + " {skip_locked}", key))
    is_all = {row[0] for row in sql.rows(HELD_BY, key)} <= held.keys()
    if is_all:
        sql.change("DELETE FROM {lease} WHERE consumer = %s AND queue = %s", key)
    for job_id, reason in ended.items():
        job_key = sql.dialect.id_in(job_id)
        if held.pop(job_key, None) is not None:
            sql.change(BURY, [reason[:255], job_key], many=1)
    ran = set(held) if running is None else set(sql.ids_in(running)) & set(held)
    for crashes, group in ((1, ran), (0, set(held) - ran)):
        if group:
            give_back(sql, sorted(group), deliveries=1, crashes=crashes)
    moved = tuple(sorted(sql.dialect.id_out(job_key) for job_key in held if not held[job_key]))
    return Reaped(verdict="reaped" if is_all else "locked", moved=moved)


def _suspect(
    sql: Sql, key: tuple[str, str], expires: int, suspected: int | None, now_ms: int, *, suspect_ms: int
) -> str | None:
    """Return the verdict on a consumer whose lease is locked; None: its time is over."""
    if expires >= now_ms:
        return "alive"
    if suspected is None:
        sql.change("UPDATE {lease} SET suspected = %s WHERE consumer = %s AND queue = %s", (now_ms, *key))
    return "suspected" if suspected is None or now_ms - suspected < suspect_ms else None


def expired(sql: Sql, queues: Sequence[str]) -> list[tuple[str, str]]:
    """Return (queue, consumer id) of leases that have run out."""
    rows = sql.rows(
        "SELECT queue, consumer FROM {lease} WHERE queue IN ({many}) AND expires < {now} ORDER BY expires",
        queues,
        many=len(queues),
    )
    return [(row[0], row[1]) for row in rows]


class Leases(BaseBroker):
    """register, heartbeat, expired."""

    _database: Database

    def register(self, consumer: Consumer, *, lease_ms: int) -> None:
        """Insert a lease per queue."""
        self._database.run(lambda sql: register(sql, consumer, lease_ms=lease_ms), patient=True, lock_ms=LOCK_MS)

    def heartbeat(self, consumers: Sequence[Consumer], *, lease_ms: int) -> list[Heartbeat]:
        """Update the leases of all these consumers at once; where one is locked for long, the others."""
        if not consumers:
            return []
        verb = partial(heartbeat, consumers=consumers, lease_ms=lease_ms)
        try:
            return self._database.run(verb, patient=True, lock_ms=LOCK_MS)
        except LockedOut:
            return self._database.run(partial(verb, skip_locked=True), patient=True, lock_ms=LOCK_MS)

    def expired(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """Find leases by index."""
        return self._database.read(lambda sql: expired(sql, queues)) if queues else []
