"""The way in, and what is done to jobs from outside."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from django_jobs.brokers.base import ACK_BATCH, Message
from django_jobs.brokers.database.dialects import Row, Sql
from django_jobs.models.queue import DEAD, IN_FLIGHT, QUEUE_NAME_LENGTH, READY, SCHEDULED
from django_jobs.states import Place

PLACES = {READY: Place.READY, SCHEDULED: Place.SCHEDULED, IN_FLIGHT: Place.IN_FLIGHT, DEAD: Place.DEAD}
PURGE_BATCH = 500
#: Of jobs, in the order in which they were named; None: unknown.
Places = list[Place | None]
# MariaDB takes 16 MiB by default, MySQL 5.7 took 4; escaping may double a body.
PACKET_BYTES = 1 << 20

# The token tells what this call has added from what was there.
INSERT = """
    {insert} {job} (id, queue, state, precedence, moment, body, consumer, token, deliveries, crashes, revoked,
        interrupted, reason)
    VALUES
"""
VALUES = "(%s, %s, %s, %s, COALESCE(%s, {now}), {binary}, '', %s, 0, 0, %s, %s, '')"
INSERT_ONE = f"{INSERT} {VALUES} {{ignore}}"

# One statement, one plan, one moment.
INSERT_POSTGRESQL = """
    INSERT INTO {job}
        (id, queue, state, precedence, moment, body, consumer, token, deliveries, crashes, revoked, interrupted, reason)
    SELECT id, queue, CASE WHEN eta IS NULL THEN 0 ELSE 1 END, precedence, COALESCE(eta, clock.now), body,
        '', '', 0, 0, false, false, ''
    FROM (SELECT {now} AS now) clock,
        UNNEST(%s::uuid[], %s::text[], %s::smallint[], %s::bigint[], %s::bytea[]) m (id, queue, precedence, eta, body)
    ON CONFLICT DO NOTHING
    RETURNING {id}
"""


REVIVE = """
    UPDATE {job} SET state = %s, precedence = %s, moment = COALESCE(%s, {now}), body = {binary}, revoked = %s,
        interrupted = %s, deliveries = 0, crashes = 0, reason = '' WHERE id = %s AND queue = %s AND state = 3
"""


def enqueue(sql: Sql, messages: Sequence[Message]) -> list[bool]:
    """Add messages (at most ENQUEUE_BATCH). One statement on PostgreSQL."""
    for message in messages:
        if len(message.queue) > QUEUE_NAME_LENGTH:
            raise ValueError(f"The name of a queue has at most {QUEUE_NAME_LENGTH} characters, not {message.queue!r}.")
    if sql.dialect.vendor == "postgresql":
        return _first_of_each(messages, _insert_postgresql(sql, messages))
    return _first_of_each(messages, _insert(sql, messages))


def _insert_postgresql(sql: Sql, messages: Sequence[Message]) -> set[str]:
    columns = (
        sql.ids_in(message.id for message in messages),
        [message.queue for message in messages],
        [100 - message.priority for message in messages],
        [message.eta_ms for message in messages],
        [message.body for message in messages],
    )
    return {row[0] for row in sql.rows(INSERT_POSTGRESQL, columns)}


def _insert(sql: Sql, messages: Sequence[Message]) -> set[str]:
    id_in, token = sql.dialect.id_in, secrets.token_hex(8)
    rows: list[Row] = [
        (
            id_in(message.id),
            message.queue,
            READY if message.eta_ms is None else SCHEDULED,
            100 - message.priority,
            message.eta_ms,
            message.body,
            token,
            False,
            False,
        )
        for message in messages
    ]
    if sql.dialect.vendor == "sqlite":
        added = sql.change_each(INSERT_ONE, rows)
    else:
        added = sum(_insert_together(sql, part) for part in _parts(rows))
    ids = {message.id for message in messages}
    if added == len(ids):
        return ids
    found = sql.rows(
        "SELECT {id} FROM {job} WHERE id IN ({many}) AND token = %s", [*sql.ids_in(ids), token], many=len(ids)
    )
    return {sql.dialect.id_out(row[0]) for row in found}


def _insert_together(sql: Sql, rows: Sequence[Row]) -> int:
    # Put together here, not by fill(): that keeps what it makes, and each number of rows would be another.
    values = ", ".join([sql.dialect.fill(VALUES, 0)] * len(rows))
    sql.cursor.execute(f"{sql.dialect.fill(INSERT, 0)} {values}", [value for row in rows for value in row])
    return int(sql.cursor.rowcount)


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut rows into parts that fit into one packet of MySQL."""
    start = size = 0
    for end, row in enumerate(rows):
        size += len(row[5])
        if size > PACKET_BYTES and end > start:
            yield rows[start:end]
            start, size = end, len(row[5])
    yield rows[start:]


def _first_of_each(messages: Sequence[Message], added: set[str]) -> list[bool]:
    """Say of each whether it was added; of two with one id the second was not."""
    answers = []
    for message in messages:
        answers.append(message.id in added)
        added.discard(message.id)
    return answers


def add_queues(sql: Sql, names: Iterable[str]) -> None:
    """Write down names. Looks first: an insert waits for the end of an open transaction that has inserted the same."""
    wanted = sorted(set(names))
    found = {row[0] for row in sql.rows("SELECT name FROM {queue} WHERE name IN ({many})", wanted, many=len(wanted))}
    for name in wanted:
        if name not in found:
            sql.change("{insert} {queue} (name, paused) VALUES (%s, %s) {ignore}", (name, False))


def set_paused(sql: Sql, name: str, *, paused: bool) -> None:
    """Turn a queue's switch."""
    add_queues(sql, [name])
    sql.change("UPDATE {queue} SET paused = %s WHERE name = %s", (paused, name))


def revoke(
    run: Callable[[Callable[[Sql], Places]], Places], job_ids: Sequence[str], queue: str, *, terminate: bool
) -> Places:
    """Stop jobs that wait, and mark those in flight; each batch by a call of ``run``."""
    batches = (job_ids[start : start + ACK_BATCH] for start in range(0, len(job_ids), ACK_BATCH))
    verb = partial(revoke_some, queue=queue, terminate=terminate)
    return [place for batch in batches for place in run(partial(verb, job_ids=batch))]


def revoke_some(sql: Sql, job_ids: Sequence[str], queue: str, *, terminate: bool) -> Places:
    """Stop jobs that wait; mark those in flight."""
    keys, many = sql.ids_in(job_ids), len(job_ids)
    # In one order, so that nobody waits in a circle.
    template = "SELECT {id}, state FROM {job} WHERE id IN ({many}) AND queue = %s ORDER BY id {locked}"
    rows = sql.rows(template, [*keys, queue], many=many)
    places = {sql.dialect.id_out(key): PLACES[state] for key, state in rows}
    waiting = sql.ids_in(one for one, place in places.items() if place in {Place.READY, Place.SCHEDULED})
    running = sql.ids_in(one for one, place in places.items() if place is Place.IN_FLIGHT)
    if waiting:
        _kill(sql, waiting, "revoked")
    for column in ("revoked", "interrupted")[: 1 + terminate] if running else ():
        sql.change(
            f"UPDATE {{job}} SET {column} = %s WHERE id IN ({{many}})",
            [True, *running],
            many=len(running),
        )
    return [places.get(job_id) for job_id in job_ids]


def purge(run: Callable[[Callable[[Sql], int]], int], queue: str, limit: int | None) -> int:
    """Revoke what waits in a queue, up to ``limit``; each batch by a call of ``run``."""
    total = 0
    while limit is None or total < limit:
        batch = PURGE_BATCH if limit is None else min(PURGE_BATCH, limit - total)
        purged = run(partial(purge_some, queue=queue, limit=batch))
        total += purged
        if not purged:
            break
    return total


def purge_some(sql: Sql, queue: str, limit: int) -> int:
    """Revoke up to ``limit`` of a queue."""
    keys: list[str] = []
    for state in (READY, SCHEDULED):
        template = f"SELECT {{id}} FROM {{job}} WHERE state = {state} AND queue = %s LIMIT %s {{skip_locked}}"
        keys += [row[0] for row in sql.rows(template, (queue, limit - len(keys)))]
    if keys:
        _kill(sql, keys, "purged")
    return len(keys)


def _kill(sql: Sql, keys: Sequence[str], reason: str) -> None:
    sql.change(
        "UPDATE {job} SET state = 3, reason = %s, moment = {now} WHERE id IN ({many})", [reason, *keys], many=len(keys)
    )


def revive(sql: Sql, messages: Sequence[Message]) -> list[str]:
    """Let dead jobs live again. Return the ids that were not dead."""
    missing = []
    for message in messages:
        given = (
            READY if message.eta_ms is None else SCHEDULED,
            100 - message.priority,
            message.eta_ms,
            message.body,
            False,
            False,
            sql.dialect.id_in(message.id),
            message.queue,
        )
        if not sql.change(REVIVE, given):
            missing.append(message.id)
    return missing


def forget(sql: Sql, job_ids: Sequence[str], queue: str) -> int:
    """Drop dead jobs."""
    keys = sql.ids_in(job_ids)
    return sql.change(
        "DELETE FROM {job} WHERE id IN ({many}) AND queue = %s AND state = 3", [*keys, queue], many=len(keys)
    )
