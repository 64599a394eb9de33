"""
Rows read back, in SQL that is put together once.

Whoever waits for a job reads its row again and again; building a query for it would cost more than asking it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from django_jobs import clock
from django_jobs.results.base import Record, Settled, StoredResult
from django_jobs.results.sql import among, id_of, id_writer
from django_jobs.results.upsert.columns import COLUMNS, MOMENTS, TABLE, UUIDS

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

_ALL = ", ".join(COLUMNS)
_SETTLED = ", ".join(("id", *Settled._fields[:3], "eta"))


def read(cursor: CursorWrapper, job_ids: Sequence[str]) -> dict[str, StoredResult]:
    """Return the rows of these jobs."""
    to_ms = _moment_reader(cursor.db)
    found = {}
    for row in _select(cursor, _ALL, job_ids):
        values = list(row)
        for index in UUIDS:
            values[index] = id_of(values[index])
        for index in MOMENTS:
            values[index] = to_ms(values[index])
        history = values.pop()
        found[values[0]] = StoredResult(Record._make((*values, "")), history)
    return found


def read_settled(cursor: CursorWrapper, job_ids: Sequence[str]) -> dict[str, Settled]:
    """Return how these jobs stand."""
    to_ms = _moment_reader(cursor.db)
    rows = _select(cursor, _SETTLED, job_ids)
    return {str(id_of(row[0])): Settled(row[1], row[2], row[3], to_ms(row[4])) for row in rows}


def read_children(cursor: CursorWrapper, job_id: str, limit: int) -> list[str]:
    """Return the ids of the jobs whose parent this is, oldest first."""
    parent = id_writer(cursor)(job_id)
    cursor.execute(f"SELECT id FROM {TABLE} WHERE parent_id = %s ORDER BY id LIMIT %s", [parent, limit])  # noqa: S608
    return [str(id_of(row[0])) for row in cursor.fetchall()]


def _select(cursor: CursorWrapper, columns: str, job_ids: Sequence[str]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for condition, ids in among(cursor, job_ids):
        cursor.execute(f"SELECT {columns} FROM {TABLE} WHERE id {condition}", ids)  # noqa: S608
        rows += cursor.fetchall()
    return rows


def _moment_reader(connection: BaseDatabaseWrapper) -> Callable[[datetime | None], int | None]:
    zone: tzinfo = connection.timezone or timezone.get_default_timezone()

    def to_ms(moment: datetime | None) -> int | None:
        if moment is None:
            return None
        return clock.to_ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))

    return to_ms
