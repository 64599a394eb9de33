"""Jobs that are nobody's: rows in flight whose lease somebody has deleted."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobs.brokers.base import BaseBroker
from django_jobs.brokers.database.dialects import Sql
from django_jobs.brokers.database.runner import Database
from django_jobs.brokers.database.settle import give_back
from django_jobs.brokers.strays import Fault, Stray

#: Rows of one transaction.
BATCH = 500
# A row is in one place by being one row, so there are neither lost jobs nor ghosts.
ORPHANS = """
    SELECT {id}, queue, consumer FROM {job} WHERE state = 2 AND queue IN ({many}) AND NOT EXISTS (
        SELECT 1 FROM {lease} WHERE {lease}.consumer = {job}.consumer AND {lease}.queue = {job}.queue
    ) ORDER BY queue, consumer, id
"""


def strays(sql: Sql, queues: Sequence[str]) -> list[Stray]:
    """Return the rows without a lease."""
    return [
        Stray(id=sql.dialect.id_out(key), queue=queue, fault=Fault.ORPHAN, consumer=consumer)
        for key, queue, consumer in sql.rows(ORPHANS, queues, many=len(queues))
    ]


def give_back_some(sql: Sql, queues: Sequence[str]) -> list[Stray]:
    """Make some of them ready again, and return them."""
    found = sql.rows(ORPHANS + " LIMIT %s {locked}", [*queues, BATCH], many=len(queues))
    if found:
        give_back(sql, [row[0] for row in found], deliveries=1)
    id_out = sql.dialect.id_out
    return [Stray(id=id_out(row[0]), queue=row[1], fault=Fault.ORPHAN, consumer=row[2]) for row in found]


class Strays(BaseBroker):
    """strays."""

    _database: Database

    def strays(self, queues: Sequence[str], *, mend: bool = False) -> list[Stray]:
        """Select rows in flight without a lease; mended, by batches, each a transaction."""
        if not queues:
            return []
        if not mend:
            return self._database.read(lambda sql: strays(sql, queues))
        found: list[Stray] = []
        while batch := self._database.run(lambda sql: give_back_some(sql, queues), patient=True):
            found += batch
        return found
