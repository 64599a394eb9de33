"""What workers say of themselves, what they are told, and who holds leases."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

from django_jobs.brokers.base import BaseBroker
from django_jobs.brokers.database.dialects import Sql
from django_jobs.brokers.database.leases import LOCK_MS
from django_jobs.brokers.database.runner import Database
from django_jobs.brokers.workers import ConsumerInfo

ALL = "SELECT worker, info, expires - {now}, commands FROM {worker}"
OPEN = "{insert} {worker} (worker, info, expires, commands) VALUES (%s, {binary}, {now} + %s, '') {ignore}"
RENEW = "UPDATE {worker} SET info = {binary}, expires = {now} + %s, commands = '' WHERE worker = %s"
FETCH = "SELECT commands FROM {worker} WHERE worker = %s AND expires > {now} {locked}"
SILENT = "SELECT worker FROM {worker} WHERE worker <> %s AND expires <= {now} ORDER BY worker {skip_locked}"
LEASES = """
    SELECT l.queue, l.consumer, l.expires - {now}, {now} - l.suspected,
        (SELECT COUNT(*) FROM {job} j WHERE j.state = 2 AND j.consumer = l.consumer AND j.queue = l.queue)
    FROM {lease} l WHERE l.queue IN ({many}) ORDER BY l.queue, l.consumer
"""


def is_current(sql: Sql, worker: str, info: bytes, ttl_ms: int) -> bool:
    """Say whether a report would change nothing but the moment until which it counts, and that is far enough."""
    rows = sql.rows(ALL + " WHERE worker = %s", (worker,))
    return bool(rows) and bytes(rows[0][1]) == info and rows[0][2] > ttl_ms / 2 and not rows[0][3]


def report(sql: Sql, worker: str, info: bytes, ttl_ms: int) -> list[bytes]:
    """Write down how a worker stands, and take the commands that wait for it. Drops who is not heard of any more."""
    for (other,) in sql.rows(SILENT, (worker,)):
        sql.change("DELETE FROM {worker} WHERE worker = %s", (other,))
    found = sql.rows(FETCH, (worker,))
    if ttl_ms <= 0:
        sql.change("DELETE FROM {worker} WHERE worker = %s", (worker,))
    elif not sql.change(RENEW, (info, ttl_ms, worker)):
        sql.change(OPEN, (worker, info, ttl_ms))
    return [b64decode(line) for row in found for line in row[0].split()]


def command(sql: Sql, worker: str, text: bytes) -> bool:
    """Leave a command for a worker that is heard of."""
    found = sql.rows(FETCH, (worker,))
    if found:
        commands = f"{found[0][0]}{b64encode(text).decode()}\n"
        sql.change("UPDATE {worker} SET commands = %s WHERE worker = %s", (commands, worker))
    return bool(found)


def workers(sql: Sql) -> dict[str, bytes]:
    """Return what the workers said that are heard of."""
    return {row[0]: bytes(row[1]) for row in sorted(sql.rows(ALL)) if row[2] > 0}


def consumers(sql: Sql, queues: Sequence[str]) -> list[ConsumerInfo]:
    """Return the leases in these queues."""
    return [
        ConsumerInfo(
            id=consumer,
            queue=queue,
            lease_ms=lease_ms,
            suspected_ms=None if suspected_ms is None else max(suspected_ms, 0),
            in_flight=in_flight,
        )
        for queue, consumer, lease_ms, suspected_ms, in_flight in sql.rows(LEASES, queues, many=len(queues))
    ]


class Workers(BaseBroker):
    """report, workers, command, consumers."""

    _database: Database

    def report(self, worker: str, info: bytes, *, ttl_ms: int) -> list[bytes]:
        """Write when there is something new to say or to hear, or every half of ``ttl_ms``; else only look."""
        if self._database.read(lambda sql: is_current(sql, worker, info, ttl_ms)):
            return []
        return self._database.run(lambda sql: report(sql, worker, info, ttl_ms), patient=True, lock_ms=LOCK_MS)

    def workers(self) -> dict[str, bytes]:
        """Select the rows whose time is not over."""
        return self._database.read(workers)

    def command(self, worker: str, text: bytes) -> bool:
        """Append to the worker's row."""
        return self._database.run(lambda sql: command(sql, worker, text))

    def consumers(self, queues: Sequence[str]) -> list[ConsumerInfo]:
        """Select leases, and count what each consumer holds."""
        return self._database.read(lambda sql: consumers(sql, queues)) if queues else []
