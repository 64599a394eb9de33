"""
Giving claimed jobs out of one's hands: ack, retry, release, bury.

The fence is the row itself: in flight, under the token of that very claim. What is not found so is not ours any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from django_jobs.brokers.base import Claimed, Retry
from django_jobs.brokers.database.dialects import Sql

# Beyond this many claims in one batch it is cheaper to look first than to delete claim by claim.
ACK_BY_CLAIM = 4

HELD = "SELECT {id}, token FROM {job} WHERE id IN ({many}) AND state = 2 {locked}"
ACK = "DELETE FROM {job} WHERE id IN ({many}) AND state = 2 AND token = %s RETURNING {id}"
ACK_POSTGRESQL = """
    DELETE FROM {job} j USING UNNEST(%s::uuid[], %s::text[]) AS held (id, token)
    WHERE j.id = held.id AND j.token = held.token AND j.state = 2 RETURNING j.id::text
"""
# A job that was revoked while somebody held it does not run again: given back, by whatever verb, it is dead.
RETRY = """
    UPDATE {job} SET body = {binary}, deliveries = 0, crashes = 0,
        state = CASE WHEN revoked THEN 3 ELSE %s END, reason = CASE WHEN revoked THEN 'revoked' ELSE '' END,
        moment = CASE WHEN revoked THEN {now} ELSE {now} + %s END, consumer = '', token = '' WHERE id = %s
"""
RETRY_POSTGRESQL = """
    UPDATE {job} j SET body = again.body, deliveries = 0, crashes = 0,
        state = CASE WHEN revoked THEN 3 WHEN again.delay > 0 THEN 1 ELSE 0 END,
        reason = CASE WHEN revoked THEN 'revoked' ELSE '' END,
        moment = CASE WHEN revoked THEN clock.now ELSE clock.now + again.delay END, consumer = '', token = ''
    FROM (SELECT {now} AS now) clock, UNNEST(%s::uuid[], %s::bytea[], %s::bigint[]) AS again (id, body, delay)
    WHERE j.id = again.id
"""
RELEASE = """
    UPDATE {job} SET deliveries = deliveries + %s, crashes = crashes + %s,
        state = CASE WHEN revoked THEN 3 ELSE 0 END, reason = CASE WHEN revoked THEN 'revoked' ELSE '' END,
        moment = CASE WHEN revoked THEN {now} ELSE moment END, consumer = '', token = ''
    WHERE id IN ({many})
"""
RELEASE_LATER = """
    UPDATE {job} SET deliveries = deliveries + %s,
        state = CASE WHEN revoked THEN 3 ELSE 1 END, reason = CASE WHEN revoked THEN 'revoked' ELSE '' END,
        moment = CASE WHEN revoked THEN {now} ELSE {now} + %s END, consumer = '', token = ''
    WHERE id IN ({many})
"""
BURY = "UPDATE {job} SET state = 3, consumer = '', token = '', reason = %s, moment = {now} WHERE id IN ({many})"


def ack(sql: Sql, jobs: Sequence[Claimed]) -> list[str]:
    """Remove finished jobs. Return lost ids."""
    if not jobs:
        return []
    if sql.dialect.vendor == "postgresql":
        gone = {row[0] for row in sql.rows(ACK_POSTGRESQL, ([job.id for job in jobs], [job.token for job in jobs]))}
    else:
        gone = _ack(sql, jobs)
    return [job.id for job in jobs if job.id not in gone]


def _ack(sql: Sql, jobs: Sequence[Claimed]) -> set[str]:
    by_token: dict[str, list[str]] = {}
    for job in jobs:
        by_token.setdefault(job.token, []).append(job.id)
    if not sql.dialect.delete_returns or len(by_token) > ACK_BY_CLAIM:
        held = hold(sql, jobs)
        if held:
            sql.change("DELETE FROM {job} WHERE id IN ({many})", sql.ids_in(held), many=len(held))
        return held
    id_out = sql.dialect.id_out
    return {
        id_out(row[0])
        for token, ids in by_token.items()
        for row in sql.rows(ACK, [*sql.ids_in(ids), token], many=len(ids))
    }


def hold(sql: Sql, jobs: Iterable[Claimed]) -> set[str]:
    """Lock those of the jobs that are still held under the token of their claim, and return their ids."""
    tokens = {job.id: job.token for job in jobs}
    if not tokens:
        return set()
    id_out = sql.dialect.id_out
    rows = [(id_out(key), token) for key, token in sql.rows(HELD, sql.ids_in(tokens), many=len(tokens))]
    return {job_id for job_id, token in rows if tokens[job_id] == token}


def retry(sql: Sql, retries: Sequence[Retry]) -> list[str]:
    """Schedule jobs again, with a new body and a clean record. Return lost ids."""
    held = hold(sql, [again.job for again in retries])
    ours = [again for again in retries if again.job.id in held]
    if ours and sql.dialect.vendor == "postgresql":
        columns = ([again.job.id for again in ours], [again.body for again in ours], [again.delay_ms for again in ours])
        sql.change(RETRY_POSTGRESQL, columns)
    elif ours:
        id_in = sql.dialect.id_in
        sql.change_each(
            RETRY, [(again.body, 1 if again.delay_ms > 0 else 0, again.delay_ms, id_in(again.job.id)) for again in ours]
        )
    return [again.job.id for again in retries if again.job.id not in held]


def release(sql: Sql, jobs: Sequence[Claimed], *, delay_ms: int, started: bool) -> list[str]:
    """Give jobs back, at their place or after a delay. Return lost ids."""
    held = hold(sql, jobs)
    keys = sql.ids_in(held)
    if held and delay_ms > 0:
        sql.change(RELEASE_LATER, [int(started), delay_ms, *keys], many=len(keys))
    elif held:
        give_back(sql, keys, deliveries=int(started))
    return [job.id for job in jobs if job.id not in held]


def give_back(sql: Sql, keys: Collection[str], *, deliveries: int = 0, crashes: int = 0) -> None:
    """Make jobs ready at their old place; those that were revoked meanwhile, dead."""
    sql.change(RELEASE, [deliveries, crashes, *keys], many=len(keys))


def bury(sql: Sql, jobs: Sequence[Claimed], *, reason: str) -> list[str]:
    """Put jobs aside as dead. Return lost ids."""
    held = hold(sql, jobs)
    if held:
        sql.change(BURY, [reason[:255], *sql.ids_in(held)], many=len(held))
    return [job.id for job in jobs if job.id not in held]
