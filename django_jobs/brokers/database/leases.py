"""Who may claim: leases of consumers, and what becomes of the jobs of one that falls silent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from django_jobs.brokers.base import Consumer, Heartbeat, Reaped
from django_jobs.brokers.database.dialects import Sql
from django_jobs.brokers.database.enqueueing import add_queues
from django_jobs.brokers.database.settle import BURY, give_back

RENEW = "UPDATE {lease} SET expires = {now} + %s, suspected = NULL WHERE queue = %s AND consumer IN ({many})"
OPEN = "{insert} {lease} (consumer, queue, expires, suspected) VALUES (%s, %s, {now} + %s, NULL) {ignore}"
HELD_BY = "SELECT {id}, revoked FROM {job} WHERE state = 2 AND consumer = %s AND queue = %s {locked}"


def register(sql: Sql, consumer: Consumer, *, lease_ms: int) -> None:
    """Open the leases of a consumer, or renew them when they are open."""
    queues = sorted(set(consumer.queues))
    for queue in queues:
        # Keeper and child open the same lease at the same moment: whoever is second renews it.
        sql.change(OPEN, (consumer.id, queue, lease_ms))
        sql.change(RENEW, [lease_ms, queue, consumer.id], many=1)
    if queues:
        add_queues(sql, queues)


def heartbeat(sql: Sql, consumers: Sequence[Consumer], *, lease_ms: int) -> list[Heartbeat]:
    """Renew leases, and say of each consumer how it stands."""
    ids = [consumer.id for consumer in consumers]
    for queue in sorted({queue for consumer in consumers for queue in consumer.queues}):
        listening = [consumer.id for consumer in consumers if queue in consumer.queues]
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
    return [row[0] for queue in consumer.queues for row in sql.rows(HELD_BY, (consumer.id, queue))]


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
    """Suspect a silent consumer, or take its lease and then what it holds."""
    lease = sql.rows(
        "SELECT expires, suspected, {now} FROM {lease} WHERE consumer = %s AND queue = %s {locked}",
        (consumer_id, queue),
    )
    if not lease:
        return Reaped(verdict="unknown")
    expires, suspected, now_ms = lease[0]
    if not force:
        if expires >= now_ms:
            return Reaped(verdict="alive")
        if suspected is None:
            sql.change(
                "UPDATE {lease} SET suspected = %s WHERE consumer = %s AND queue = %s", (now_ms, consumer_id, queue)
            )
        if suspected is None or now_ms - suspected < suspect_ms:
            return Reaped(verdict="suspected")
    # The lease goes first: a claim that is under way has it locked, and is committed before we go on.
    sql.change("DELETE FROM {lease} WHERE consumer = %s AND queue = %s", (consumer_id, queue))
    held: dict[str, bool] = dict(sql.rows(HELD_BY, (consumer_id, queue)))
    for job_id, reason in ended.items():
        key = sql.dialect.id_in(job_id)
        if held.pop(key, None) is not None:
            sql.change(BURY, [reason[:255], key], many=1)
    ran = set(held) if running is None else set(sql.ids_in(running)) & set(held)
    for crashes, group in ((1, ran), (0, set(held) - ran)):
        if group:
            give_back(sql, sorted(group), deliveries=1, crashes=crashes)
    return Reaped(verdict="reaped", moved=tuple(sorted(sql.dialect.id_out(key) for key in held if not held[key])))


def expired(sql: Sql, queues: Sequence[str]) -> list[tuple[str, str]]:
    """Return (queue, consumer id) of leases that have run out."""
    rows = sql.rows(
        "SELECT queue, consumer FROM {lease} WHERE queue IN ({many}) AND expires < {now} ORDER BY expires",
        queues,
        many=len(queues),
    )
    return [(row[0], row[1]) for row in rows]
