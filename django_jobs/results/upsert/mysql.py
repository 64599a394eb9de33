"""
Look, lock what is there, decide here; then insert what is new in one statement.

Not ON DUPLICATE KEY UPDATE: it has no WHERE, its assignments see each other, and its count does not tell a new row from
one that stayed as it was. Most jobs have no row before their end, so that most batches are one look and one insert.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from django_jobs.results.base import Record
from django_jobs.results.sql import marks
from django_jobs.results.upsert.columns import COLUMNS, TABLE, TOUCHED, as_rows, assignments
from django_jobs.results.upsert.guard import wins

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

#: Rows that two writers make at once are found by the second try; a third may be needed when one of them goes again.
_TRIES = 5
_DUPLICATE = 1062

_LOOK = f"SELECT id FROM {TABLE} WHERE id IN ("  # noqa: S608
_LOCK = f"SELECT id, fence, state FROM {TABLE} WHERE id IN ("  # noqa: S608
_INSERT = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES "  # noqa: S608
_VALUES = f"({marks(len(COLUMNS))})"
_UPDATE = f"UPDATE {TABLE} SET {assignments('%s', '{0}', 'CONCAT({0}, {1})')} WHERE id = %s"  # noqa: S608
_TOUCH = (
    f"UPDATE {TABLE} SET {', '.join(f'{n} = %s' for n in TOUCHED)}, started_at = COALESCE(%s, started_at) WHERE id = %s"  # noqa: S608
)
_TOUCHED_AT = tuple(COLUMNS.index(name) for name in (*TOUCHED, "started_at", "id"))


@lru_cache(maxsize=256)
def _many(before: str, one: str, count: int, after: str = "") -> str:
    return f"{before}{', '.join([one] * count)}{after}"


def write(cursor: CursorWrapper, records: Sequence[Record]) -> list[str]:
    """Write these rows; return the ids of those that stayed as they were."""
    rows = as_rows(records, cursor.db)
    found = _insert_new(cursor, rows)
    stayed = []
    for record, row in zip(records, rows, strict=True):
        kept = found.get(row[0])
        if kept is None:
            continue
        if wins(record.fence, kept_fence=kept[0], kept_state=kept[1]):
            cursor.execute(_UPDATE, (*row[1:], row[0]))
        else:
            stayed.append(record.id)
    return stayed


def touch(cursor: CursorWrapper, record: Record) -> bool:
    """Write state and meta of a running job."""
    (row,) = as_rows([record], cursor.db)
    kept = _insert_new(cursor, [row]).get(row[0])
    if kept is None:
        return True
    if not wins(record.fence, kept_fence=kept[0], kept_state=kept[1]):
        return False
    cursor.execute(_TOUCH, [row[index] for index in _TOUCHED_AT])
    return True


def _insert_new(cursor: CursorWrapper, rows: Sequence[tuple[Any, ...]]) -> dict[str, tuple[int, str]]:
    """Insert those that are not there yet; return fence and state of the others, whose rows are locked now."""
    for attempt in range(_TRIES):
        found = _lock(cursor, [row[0] for row in rows], look_first=attempt == 0)
        new = [row for row in rows if row[0] not in found]
        try:
            with transaction.atomic(cursor.db.alias):
                _insert(cursor, new)
        except IntegrityError as error:
            if error.args[0] != _DUPLICATE:
                raise
            continue  # somebody was faster: now there is something to lock
        return found
    raise IntegrityError(_DUPLICATE, "The same jobs were written by others again and again.")


def largest_row(cursor: Any) -> int:
    """Return how many bytes a row may have: what the server takes in one packet, half of it for what quoting adds."""
    cursor.execute("SELECT @@max_allowed_packet")
    (size,) = cursor.fetchone()
    return int(size) // 2 - 64 * 1024


def _lock(cursor: CursorWrapper, ids: Sequence[str], *, look_first: bool) -> dict[str, tuple[int, str]]:
    """
    Lock the rows that are there, and return fence and state of each.

    ``look_first``: without a lock. In REPEATABLE READ a locking read that finds nothing locks the gap where it looked,
    and two writers that go on to insert into it stop each other; and a read without a lock may not see what was just
    committed.
    """
    there = ids
    if look_first:
        cursor.execute(_many(_LOOK, "%s", len(ids), ")"), ids)
        there = [row[0] for row in cursor.fetchall()]
        if not there:
            return {}
    cursor.execute(_many(_LOCK, "%s", len(there), ") ORDER BY id FOR UPDATE"), there)
    return {row[0]: (row[1], row[2]) for row in cursor.fetchall()}


def _insert(cursor: CursorWrapper, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        cursor.execute(_many(_INSERT, _VALUES, len(rows)), [value for row in rows for value in row])
