"""The cold path: what admin, shell and handles ask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django_jobs.brokers.base import ACK_BATCH, BaseBroker, Found, QueueCounts
from django_jobs.brokers.database.dialects import Row, Sql
from django_jobs.brokers.database.enqueueing import PLACES
from django_jobs.brokers.database.runner import Database
from django_jobs.identifiers import parse_id
from django_jobs.models.queue import DEAD, IN_FLIGHT, READY, SCHEDULED
from django_jobs.states import Place

STATES = {place: state for state, place in PLACES.items()}

FOUND = "SELECT {id}, queue, state, body, precedence, moment, consumer, reason FROM {job} WHERE "

# States are written out in the statements: a partial index is used only where the database sees the number.
IN_ORDER = {
    Place.READY: "state = 0 AND queue = %s ORDER BY precedence, moment, id LIMIT %s OFFSET %s",
    Place.SCHEDULED: "state = 1 AND queue = %s ORDER BY moment, precedence, id LIMIT %s OFFSET %s",
    Place.IN_FLIGHT: "state = 2 AND queue = %s ORDER BY precedence, moment, id LIMIT %s OFFSET %s",
    Place.DEAD: "state = 3 AND queue = %s ORDER BY moment, id LIMIT %s OFFSET %s",
}

AHEAD = """
    SELECT COUNT(*) FROM {job} WHERE state = 0 AND queue = %s AND precedence <= %s
        AND (precedence < %s OR moment < %s OR (moment = %s AND id < %s))
"""

COUNTS = " UNION ALL ".join(
    f"SELECT {state}, queue, COUNT(*) FROM {{job}} WHERE state = {state} AND queue IN ({{many}}) GROUP BY queue"
    for state in (READY, SCHEDULED, IN_FLIGHT, DEAD)
)
LISTENING = "SELECT queue, COUNT(*) FROM {lease} WHERE queue IN ({many}) AND expires >= {now} GROUP BY queue"
HEAD_MOMENT = """
    SELECT {now} - (SELECT moment FROM {job} WHERE state = 0 AND queue = %s ORDER BY precedence, moment, id LIMIT 1)
"""


def find(sql: Sql, job_id: str, queue: str | None) -> Found | None:
    """Say where a job is."""
    try:
        key = sql.dialect.id_in(parse_id(job_id))
    except ValueError:
        return None
    rows = sql.rows(FOUND + "id = %s", (key,))
    if not rows or (queue is not None and rows[0][1] != queue):
        return None
    return _found(sql, rows[0])


def find_some(sql: Sql, job_ids: Sequence[str]) -> dict[str, Found]:
    """Say where jobs are."""
    rows = sql.rows(FOUND + "id IN ({many})", sql.ids_in(job_ids), many=len(job_ids))
    return {found.id: found for found in (_found(sql, row) for row in rows)}


def ahead(sql: Sql, found: Found) -> int:
    """Count the ready jobs that come before this one."""
    precedence, moment = 100 - found.priority, found.moment_ms
    key = sql.dialect.id_in(found.id)
    return int(sql.rows(AHEAD, (found.queue, precedence, precedence, moment, moment, key))[0][0])


def peek(sql: Sql, queue: str, place: Place, limit: int, offset: int) -> list[Found]:
    """Return the first jobs in a place, after the offset."""
    return [_found(sql, row) for row in sql.rows(FOUND + IN_ORDER[place], (queue, limit, offset))]


def queues(sql: Sql) -> list[str]:
    """Name every known queue."""
    return sorted(row[0] for row in sql.rows("SELECT name FROM {queue}"))


def counts(sql: Sql, names: Sequence[str]) -> list[QueueCounts]:
    """Count jobs and consumers."""
    many = len(names)
    numbers = {(row[1], row[0]): row[2] for row in sql.rows(COUNTS, [*names] * 4, many=many)}
    paused = {
        row[0]: row[1] for row in sql.rows("SELECT name, paused FROM {queue} WHERE name IN ({many})", names, many=many)
    }
    consumers = {row[0]: row[1] for row in sql.rows(LISTENING, names, many=many)}
    ages = {name: sql.rows(HEAD_MOMENT, (name,))[0][0] for name in names if numbers.get((name, READY))}
    return [
        QueueCounts(
            queue=name,
            ready=numbers.get((name, READY), 0),
            scheduled=numbers.get((name, SCHEDULED), 0),
            in_flight=numbers.get((name, IN_FLIGHT), 0),
            dead=numbers.get((name, DEAD), 0),
            paused=bool(paused.get(name, False)),
            consumers=consumers.get(name, 0),
            oldest_ready_ms=None if age is None else max(age, 0),
        )
        # None also when what was counted as ready is gone by now.
        for name, age in ((name, ages.get(name)) for name in names)
    ]


def _found(sql: Sql, row: Row) -> Found:
    key, queue, state, body, precedence, moment, consumer, reason = row
    return Found(
        id=sql.dialect.id_out(key),
        queue=queue,
        place=PLACES[state],
        body=bytes(body),
        priority=100 - precedence,
        moment_ms=moment,
        consumer=consumer or None,
        reason=reason or None,
    )


class InspectedBroker(BaseBroker):
    """The half of the database broker that answers questions."""

    _database: Database

    def find(self, job_id: str, queue: str | None = None) -> Found | None:
        """Look up a row by its key."""
        return self._database.read(lambda sql: find(sql, job_id, queue))

    def find_many(self, job_ids: Sequence[str]) -> dict[str, Found]:
        """Look up rows by their keys."""
        found: dict[str, Found] = {}
        for start in range(0, len(job_ids), ACK_BATCH):
            found |= self._database.read(partial(find_some, job_ids=job_ids[start : start + ACK_BATCH]))
        return found

    def ahead(self, found: Found) -> int:
        """Count the rows that sort before it."""
        return self._database.read(lambda sql: ahead(sql, found)) if found.place is Place.READY else 0

    def peek(self, queue: str, place: Place, *, limit: int = 100, offset: int = 0) -> list[Found]:
        """Select the first rows of a place."""
        return self._database.read(lambda sql: peek(sql, queue, place, limit, offset))

    def queues(self) -> list[str]:
        """Select the known queues."""
        return self._database.read(queues)

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """Count rows by state and queue."""
        return self._database.read(lambda sql: counts(sql, queues)) if queues else []

    def ping(self) -> None:
        """Read our tables, which also tells whether they have been made."""
        self._database.read(queues)
