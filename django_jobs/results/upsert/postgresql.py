"""
One statement a batch, however large: a column of the batch travels as one array.

Arrays that we write, not the driver, and one parse of one statement that never changes, are most of what makes a row
cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django_jobs.results.arrays import plain, texts
from django_jobs.results.base import Record
from django_jobs.results.upsert.columns import COLUMNS, MOMENTS, NUMBERS, TABLE, TOUCHED, UUIDS, assignments
from django_jobs.results.upsert.guard import GUARD

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_TYPES = tuple(
    "uuid" if index in UUIDS else "bigint" if index in MOMENTS or index in NUMBERS else "text"
    for index in range(len(COLUMNS))
)
_SELECTED = ", ".join(
    f"to_timestamp(new.{name} / 1000.0)" if index in MOMENTS else f"new.{name}" for index, name in enumerate(COLUMNS)
)
_INTO = f"INSERT INTO {TABLE} AS kept ({', '.join(COLUMNS)})"
_INSERT_MANY = (
    f"{_INTO} SELECT {_SELECTED}"  # noqa: S608
    f" FROM unnest({', '.join(f'%s::{type_}[]' for type_ in _TYPES)}) AS new ({', '.join(COLUMNS)})"
    " ON CONFLICT (id) DO UPDATE SET"
)
#: Planned and run in half the time that unnest takes for a single row.
_INSERT_ONE = (
    f"{_INTO} VALUES ("
    + ", ".join(
        "to_timestamp(%s::bigint / 1000.0)" if index in MOMENTS else f"%s::{type_}"
        for index, type_ in enumerate(_TYPES)
    )
    + ") ON CONFLICT (id) DO UPDATE SET"
)
_UPDATE = f" {assignments('excluded.{0}', 'kept.{0}', '{0} || {1}')} WHERE {GUARD} RETURNING kept.id::text"
_WRITE_MANY, _WRITE_ONE = _INSERT_MANY + _UPDATE, _INSERT_ONE + _UPDATE
_TOUCH = (
    f"{_INSERT_ONE} {', '.join(f'{name} = excluded.{name}' for name in TOUCHED)},"
    f" started_at = COALESCE(excluded.started_at, kept.started_at) WHERE {GUARD}"
)


def write(cursor: CursorWrapper, records: Sequence[Record]) -> list[str]:
    """Write these rows; return the ids of those that stayed as they were."""
    if len(records) == 1:
        cursor.execute(_WRITE_ONE, records[0])
    else:
        cursor.execute(_WRITE_MANY, _arrays(records))
    if cursor.rowcount == len(records):
        return []
    written = {row[0] for row in cursor.fetchall()}
    return [record.id for record in records if record.id not in written]


def touch(cursor: CursorWrapper, record: Record) -> bool:
    """Write state and meta of a running job."""
    cursor.execute(_TOUCH, record)
    return bool(cursor.rowcount)


def _arrays(records: Sequence[Record]) -> list[str]:
    columns: list[tuple[Any, ...]] = list(zip(*records, strict=True))
    return [texts(column) if type_ == "text" else plain(column) for column, type_ in zip(columns, _TYPES, strict=True)]
