"""The tables of workflows in SQL that is put together once, for rows by the thousand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import models

from django_jobs.models.fields import OrderedUUIDField
from django_jobs.models.workflow import WorkflowBarrier, WorkflowMember, WorkflowScope, WorkflowStep

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

#: Values of one statement: ids that are asked for, or rows that are inserted; SQLite takes 999 parameters in its oldest
#: versions.
BATCH = 500
_SQLITE_PARAMETERS = 900


class Table:
    """One table: rows in and out, as tuples in the order of its columns."""

    def __init__(self, model: type[models.Model]) -> None:
        self.name = model._meta.db_table
        fields = [field for field in model._meta.concrete_fields if field.column]
        self.columns = tuple(str(field.column) for field in fields)
        self._uuids = tuple(index for index, field in enumerate(fields) if isinstance(field, OrderedUUIDField))

    def insert(self, cursor: CursorWrapper, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows."""
        to_id = id_writer(cursor)
        width = len(self.columns)
        size = BATCH if cursor.db.vendor != "sqlite" else max(1, _SQLITE_PARAMETERS // width)
        for start in range(0, len(rows), size):
            values: list[Any] = []
            some = rows[start : start + size]
            for row in some:
                changed = list(row)
                for index in self._uuids:
                    changed[index] = to_id(changed[index])
                values += changed
            cursor.execute(self._insertion(len(some)), values)

    @lru_cache(maxsize=128)  # noqa: B019 - there are as many as there are tables
    def _insertion(self, count: int) -> str:
        one = f"({', '.join(['%s'] * len(self.columns))})"
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES {', '.join([one] * count)}"  # noqa: S608

    def select(
        self, cursor: CursorWrapper, column: str, ids: Sequence[str], *, columns: Sequence[str] = (), more: str = ""
    ) -> Iterator[tuple[Any, ...]]:
        """Return the rows that have one of these ids in a column; ``more``: what follows in the statement."""
        to_id = id_writer(cursor)
        names = tuple(columns) or self.columns
        uuids = [index for index, name in enumerate(names) if self.columns.index(name) in self._uuids]
        for start in range(0, len(ids), BATCH):
            some = [to_id(one) for one in ids[start : start + BATCH]]
            cursor.execute(_selection(self.name, names, column, len(some), more), some)
            for row in cursor.fetchall():
                changed = list(row)
                for index in uuids:
                    changed[index] = id_of(changed[index])
                yield tuple(changed)

    def delete(self, cursor: CursorWrapper, column: str, ids: Sequence[str]) -> int:
        """Delete the rows that have one of these ids in a column. Return how many."""
        to_id = id_writer(cursor)
        deleted = 0
        for start in range(0, len(ids), BATCH):
            some = [to_id(one) for one in ids[start : start + BATCH]]
            cursor.execute(f"DELETE FROM {self.name} WHERE {column} IN ({marks(len(some))})", some)  # noqa: S608
            deleted += int(cursor.rowcount)
        return deleted


STEPS, BARRIERS, SCOPES, MEMBERS = (
    Table(model) for model in (WorkflowStep, WorkflowBarrier, WorkflowScope, WorkflowMember)
)


@lru_cache(maxsize=256)
def _selection(table: str, columns: tuple[str, ...], column: str, count: int, more: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {column} IN ({marks(count)}) {more}"  # noqa: S608


@lru_cache(maxsize=128)
def marks(count: int) -> str:
    """Return so many marks for parameters."""
    return ", ".join(["%s"] * count)


def id_writer(cursor: CursorWrapper) -> Any:
    """Return what turns an id, or None, into what the database takes."""
    if cursor.db.vendor == "postgresql":
        return lambda value: value
    return lambda value: None if value is None else value.replace("-", "")


def id_of(value: Any) -> str | None:
    """Return an id from what the driver gave: a UUID, or 32 digits."""
    if value is None:
        return None
    text = str(value)
    return text if len(text) == 36 else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def for_update(cursor: CursorWrapper) -> str:
    """Return what locks rows. SQLite has no row locks and needs none: a transaction of ours holds its write lock."""
    return "FOR UPDATE" if cursor.db.features.has_select_for_update else ""
