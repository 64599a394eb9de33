"""
Taking jobs, once per vendor.

The lease is locked while jobs are taken: whoever reaps this consumer removes the lease first, waits here for the claim
to be committed, and so finds every job that it has taken.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from django_jobs.brokers.base import PROMOTE_BATCH, Claimed
from django_jobs.brokers.database.dialects import Row, Sql


class Head(NamedTuple):
    """What a claim learns about its queue."""

    now_ms: int
    alive: bool
    paused: bool
    next_eta_ms: int | None
    expired: str | None

    @property
    def is_due(self) -> bool:
        """Is a scheduled job due?"""
        return self.next_eta_ms is not None and self.next_eta_ms <= self.now_ms


class Taken(NamedTuple):
    """What a claim has got."""

    head: Head
    jobs: list[Claimed]
    #: How many jobs have become ready.
    promoted: int


HEAD = """
    SELECT clock.now,
        (SELECT MAX(CASE WHEN paused THEN 1 ELSE 0 END) FROM {queue} WHERE name = %s),
        (SELECT moment FROM {job} WHERE state = 1 AND queue = %s ORDER BY moment LIMIT 1),
        (SELECT consumer FROM {lease} WHERE queue = %s AND expires < clock.now AND consumer <> %s
            ORDER BY expires LIMIT 1)
    FROM (SELECT {now} AS now) clock
"""
LEASE = "SELECT 1 FROM {lease} WHERE consumer = %s AND queue = %s {shared}"
DUE = "SELECT {id} FROM {job} WHERE state = 1 AND queue = %s AND moment <= %s ORDER BY moment LIMIT %s {skip_locked}"
PROMOTE = "UPDATE {job} SET state = 0 WHERE id IN ({many})"
PROMOTE_POSTGRESQL = """
    WITH due AS MATERIALIZED (
        SELECT id FROM {job} WHERE state = 1 AND queue = %s AND moment <= %s
        ORDER BY moment LIMIT %s FOR UPDATE SKIP LOCKED
    )
    UPDATE {job} j SET state = 0 FROM due WHERE j.id = due.id
"""
BEST = """
    SELECT {id}, body, moment, precedence, deliveries, crashes FROM {job} WHERE state = 0 AND queue = %s
    ORDER BY precedence, moment, id LIMIT %s {skip_locked}
"""
TAKE = "UPDATE {job} SET state = 2, consumer = %s, token = %s WHERE id IN ({many})"

# All of the above in one statement, which is one round trip and its own transaction. Where a scheduled job is due it
# takes nothing, the first time: that one is promoted first, and may be better than all that are ready.
CLAIM_POSTGRESQL = """
    WITH clock AS MATERIALIZED (SELECT {now} AS now),
    mine AS MATERIALIZED (SELECT 1 FROM {lease} WHERE consumer = %s AND queue = %s FOR KEY SHARE),
    head AS MATERIALIZED (
        SELECT clock.now,
            EXISTS (SELECT FROM mine) AS alive,
            COALESCE((SELECT paused FROM {queue} WHERE name = %s), false) AS paused,
            (SELECT moment FROM {job} WHERE state = 1 AND queue = %s ORDER BY moment LIMIT 1) AS next_eta,
            (SELECT consumer FROM {lease} WHERE queue = %s AND expires < clock.now AND consumer <> %s
            ORDER BY expires LIMIT 1) AS expired
        FROM clock
    ),
    best AS MATERIALIZED (
        SELECT id, precedence, moment, deliveries FROM {job} WHERE state = 0 AND queue = %s
            AND (SELECT alive AND NOT paused AND (%s OR COALESCE(next_eta > now, true)) FROM head)
        ORDER BY precedence, moment, id LIMIT %s FOR UPDATE SKIP LOCKED
    ),
    counted AS (
        SELECT id, ROW_NUMBER() OVER in_order AS number,
            COUNT(*) FILTER (WHERE deliveries > 0) OVER in_order AS seen_before
        FROM best WINDOW in_order AS (ORDER BY precedence, moment, id)
    ),
    taken AS (
        UPDATE {job} j SET state = 2, consumer = %s, token = %s FROM counted
        WHERE j.id = counted.id AND (counted.seen_before = 0 OR counted.number = 1)
        RETURNING j.id, body, moment, precedence, deliveries, crashes
    )
    SELECT now, alive, paused, next_eta, expired, taken.id::text, body, moment, precedence, deliveries, crashes
    FROM head LEFT JOIN taken ON true ORDER BY precedence, moment, taken.id
"""


def claim(sql: Sql, consumer: str, queue: str, limit: int) -> Taken:
    """Promote what is due, then take the best jobs. A consumer without a lease gets nothing (``head.alive``)."""
    if sql.dialect.vendor == "postgresql":
        return _claim_postgresql(sql, consumer, queue, limit)
    alive = bool(sql.rows(LEASE, (consumer, queue)))
    head = _head(sql, consumer, queue, alive=alive)
    promoted = 0
    if alive and head.is_due:
        promoted = promote(sql, queue, head.now_ms)
        head = _head(sql, consumer, queue, alive=alive)
    if not alive or head.paused or limit < 1:
        return Taken(head, [], promoted)
    best = _alone_when_seen_before(sql.rows(BEST, (queue, limit)))
    token = secrets.token_hex(8)
    if best:
        sql.change(TAKE, [consumer, token, *(row[0] for row in best)], many=len(best))
    return Taken(head, _claimed(sql, queue, token, best), promoted)


def promote(sql: Sql, queue: str, now_ms: int) -> int:
    """Make due jobs ready, at most PROMOTE_BATCH. They keep their moment. Return how many there were."""
    if sql.dialect.vendor == "postgresql":
        return sql.change(PROMOTE_POSTGRESQL, (queue, now_ms, PROMOTE_BATCH))
    keys = [row[0] for row in sql.rows(DUE, (queue, now_ms, PROMOTE_BATCH))]
    if keys:
        sql.change(PROMOTE, keys, many=len(keys))
    return len(keys)


def _head(sql: Sql, consumer: str, queue: str, *, alive: bool) -> Head:
    now_ms, paused, next_eta_ms, expired = sql.rows(HEAD, (queue, queue, queue, consumer))[0]
    return Head(now_ms, alive, bool(paused), next_eta_ms, expired)


def _alone_when_seen_before(rows: Sequence[Row]) -> Sequence[Row]:
    """Cut a batch so that a job that may have killed a process comes without company."""
    for number, row in enumerate(rows):
        if row[4] > 0:
            return rows[: max(number, 1)]
    return rows


def _claimed(sql: Sql, queue: str, token: str, rows: Sequence[Row]) -> list[Claimed]:
    id_out = sql.dialect.id_out
    return [
        Claimed(id_out(key), queue, bytes(body), token, moment, 100 - precedence, deliveries, crashes)
        for key, body, moment, precedence, deliveries, crashes in rows
    ]


def _claim_postgresql(sql: Sql, consumer: str, queue: str, limit: int) -> Taken:
    token = secrets.token_hex(8)
    before = (consumer, queue, queue, queue, queue, consumer, queue)
    after = (max(limit, 0), consumer, token)
    rows = sql.rows(CLAIM_POSTGRESQL, (*before, False, *after))
    head = Head(*rows[0][:5])
    promoted = 0
    if head.alive and head.is_due:
        promoted = promote(sql, queue, head.now_ms)
        rows = sql.rows(CLAIM_POSTGRESQL, (*before, True, *after))
        head = Head(*rows[0][:5])
    return Taken(head, _claimed(sql, queue, token, [row[5:] for row in rows if row[5] is not None]), promoted)


def in_flight(sql: Sql, consumer: str) -> int:
    """Count what a consumer has claimed and not given out of its hands."""
    return int(sql.rows("SELECT COUNT(*) FROM {job} WHERE state = 2 AND consumer = %s", (consumer,))[0][0])
