"""One prepared statement, run for each row inside the driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import transaction

from django_jobs.results.base import Record
from django_jobs.results.sql import marks
from django_jobs.results.upsert.columns import COLUMNS, TABLE, TOUCHED, as_rows, assignments
from django_jobs.results.upsert.guard import GUARD

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_INSERT = (
    f"INSERT INTO {TABLE} AS kept ({', '.join(COLUMNS)}) VALUES ({marks(len(COLUMNS))})"  # noqa: S608
    " ON CONFLICT (id) DO UPDATE SET"
)
_WRITE = f"{_INSERT} {assignments('excluded.{0}', 'kept.{0}', '{0} || {1}')} WHERE {GUARD}"
_TOUCH = (
    f"{_INSERT} {', '.join(f'{name} = excluded.{name}' for name in TOUCHED)},"
    f" started_at = COALESCE(excluded.started_at, kept.started_at) WHERE {GUARD}"
)


class _SomeStayed(Exception):
    """Undoes a batch in which some rows were newer: how many is known, but not which."""


def write(cursor: CursorWrapper, records: Sequence[Record]) -> list[str]:
    """Write these rows; return the ids of those that stayed as they were."""
    rows = as_rows(records, cursor.db)
    try:
        with transaction.atomic(cursor.db.alias):
            _write_all(cursor, rows)
    except _SomeStayed:
        stayed = []
        for record, row in zip(records, rows, strict=True):
            cursor.execute(_WRITE, row)
            if not cursor.rowcount:
                stayed.append(record.id)
        return stayed
    return []


def _write_all(cursor: CursorWrapper, rows: Sequence[tuple[Any, ...]]) -> None:
    cursor.executemany(_WRITE, rows)
    if cursor.rowcount != len(rows):
        raise _SomeStayed


def touch(cursor: CursorWrapper, record: Record) -> bool:
    """Write state and meta of a running job."""
    cursor.execute(_TOUCH, as_rows([record], cursor.db)[0])
    return bool(cursor.rowcount)
