"""The tables of workflows in SQL that is put together once, for rows by the thousand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from django.db import models

from django_jobs.models.fields import OrderedUUIDField
from django_jobs.models.workflow import WorkflowBarrier, WorkflowMember, WorkflowScope, WorkflowStep
from django_jobs.results.arrays import plain, texts
from django_jobs.results.sql import ARRAY, among, batches, id_of, id_writer, marks, rows_of_one
from django_jobs.transactions import is_stricter

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

#: Texts of one statement together.
ARRAY_BYTES = 2 * 1024 * 1024


class Table:
    """One table: rows in and out, as tuples in the order of its columns."""

    def __init__(self, model: type[models.Model]) -> None:
        self.name = model._meta.db_table
        fields = [field for field in model._meta.concrete_fields if field.column]
        self.columns = tuple(str(field.column) for field in fields)
        self._uuids = tuple(index for index, field in enumerate(fields) if isinstance(field, OrderedUUIDField))
        #: Of PostgreSQL.
        self._types = tuple(_type_of(field) for field in fields)

    def insert(self, cursor: CursorWrapper, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows."""
        if cursor.db.vendor == "postgresql":
            for some in self._parts(rows):
                cursor.execute(self._insertion_of_arrays, self._arrays(some))
            return
        to_id = id_writer(cursor)
        for some in batches(rows, rows_of_one(cursor, len(self.columns))):
            values: list[Any] = []
            for row in some:
                changed = list(row)
                for index in self._uuids:
                    changed[index] = to_id(changed[index])
                values += changed
            cursor.execute(self._insertion(len(some)), values)

    @cached_property
    def _insertion_of_arrays(self) -> str:
        names = ", ".join(self.columns)
        arrays = ", ".join(f"%s::{type_}[]" for type_ in self._types)
        return f"INSERT INTO {self.name} ({names}) SELECT {names} FROM unnest({arrays}) AS new ({names})"  # noqa: S608

    def _parts(self, rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
        """Give rows in parts that one statement carries: a signature may be large."""
        long = [index for index, type_ in enumerate(self._types) if type_ == "text"]
        start = size = 0
        for end, row in enumerate(rows):
            if end - start == ARRAY or size > ARRAY_BYTES:
                yield rows[start:end]
                start, size = end, 0
            size += sum([len(row[index]) for index in long])
        if rows:
            yield rows[start:]

    def _arrays(self, rows: Sequence[Sequence[Any]]) -> list[str]:
        columns = zip(*rows, strict=True)
        return [
            texts(column) if type_ == "text" else plain(column)
            for column, type_ in zip(columns, self._types, strict=True)
        ]

    @lru_cache(maxsize=128)  # noqa: B019 - there are as many as there are tables
    def _insertion(self, count: int) -> str:
        one = f"({marks(len(self.columns))})"
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES {', '.join([one] * count)}"  # noqa: S608

    def select(
        self, cursor: CursorWrapper, column: str, ids: Sequence[str], *, columns: Sequence[str] = (), more: str = ""
    ) -> Iterator[tuple[Any, ...]]:
        """Return the rows that have one of these ids in a column; ``more``: what follows in the statement."""
        names = tuple(columns) or self.columns
        uuids = tuple(index for index, name in enumerate(names) if self.columns.index(name) in self._uuids)
        gives_texts = cursor.db.vendor == "postgresql"
        for condition, values in among(cursor, ids):
            # Ids as text: that a driver makes objects of them costs more than the rest of a row.
            texts_of = uuids if gives_texts else ()
            cursor.execute(_selection(self.name, names, texts_of, column, condition, more), values)
            yield from cursor.fetchall() if gives_texts else self._with_ids(cursor.fetchall(), uuids)

    @staticmethod
    def _with_ids(rows: Sequence[tuple[Any, ...]], uuids: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            changed = list(row)
            for index in uuids:
                changed[index] = id_of(changed[index])
            yield tuple(changed)

    def delete(self, cursor: CursorWrapper, column: str, ids: Sequence[str]) -> int:
        """Delete the rows that have one of these ids in a column. Return how many."""
        deleted = 0
        for condition, values in among(cursor, ids):
            cursor.execute(f"DELETE FROM {self.name} WHERE {column} {condition}", values)  # noqa: S608
            deleted += int(cursor.rowcount)
        return deleted


def _type_of(field: models.Field[Any, Any]) -> str:
    if isinstance(field, OrderedUUIDField):
        return "uuid"
    if isinstance(field, models.BooleanField):
        return "boolean"
    return "bigint" if isinstance(field, models.IntegerField) else "text"


STEPS, BARRIERS, SCOPES, MEMBERS = (
    Table(model) for model in (WorkflowStep, WorkflowBarrier, WorkflowScope, WorkflowMember)
)


@lru_cache(maxsize=256)
def _selection(
    table: str, columns: tuple[str, ...], uuids: tuple[int, ...], column: str, condition: str, more: str
) -> str:
    names = ", ".join(f"{name}::text" if index in uuids else name for index, name in enumerate(columns))
    return f"SELECT {names} FROM {table} WHERE {column} {condition} {more}"  # noqa: S608


def sees_the_past(cursor: CursorWrapper) -> bool:
    """
    Say whether a query sees what was there when its transaction began: that of an atomic job, on MySQL or MariaDB, in a
    project that has chosen so. PostgreSQL refuses to lock what has changed since.
    """
    level = getattr(cursor.db, "isolation_level", None)
    return cursor.db.vendor == "mysql" and cursor.db.in_atomic_block and is_stricter(level)
