"""
Rows of periodic tasks that nobody can read, because SQL has written what Python has no word for.

One such row makes every query fail that would return it among others. Here they are found, and said in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, DataError, OperationalError
from django.db.models import Field, QuerySet, TextField
from django.db.models.functions import Cast

from django_jobs.models.periodic import PeriodicTask

#: What reading a column raises that somebody has damaged: a moment that no calendar has, a text for a number.
_ERRORS = (DataError, ValueError, OverflowError, TypeError, AttributeError)
#: What SQLite says of bytes that are no text.
_NO_TEXT = "Could not decode to UTF-8"
#: Rows that are read together; below the number of parameters that any database takes.
PAGE = 500
#: Characters of a damaged value that are shown.
MOST_SHOWN = 80

#: The database computes this one from others.
_COLUMNS: Sequence[Field[Any, Any]] = [
    field for field in PeriodicTask._meta.concrete_fields if field.name not in ("id", "wake")
]


class Unreadable(DatabaseError):
    """A row was asked for that nobody can read; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A row that nobody can read."""

    pk: int
    #: The columns that cannot be read, with what the database has there.
    broken: Mapping[str, str]
    #: What stands in the others.
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it is called, or what to call it."""
        return str(self.values.get("name") or f"key {self.pk}")

    @property
    def why(self) -> str:
        """Say what cannot be read."""
        return " and ".join(f"{column} is {text}" for column, text in self.broken.items())

    @property
    def advice(self) -> str:
        """Say all of it, and what to do."""
        return f"The row with the key {self.pk} cannot be read: {self.why}. Correct it by SQL."

    def __str__(self) -> str:
        return f"{self.name!r} (key {self.pk}: {self.why})"


def is_unreadable(error: BaseException) -> bool:
    """Say whether this is what reading a damaged row raises."""
    return isinstance(error, _ERRORS) or (isinstance(error, OperationalError) and _NO_TEXT in str(error))


def read(rows: QuerySet[PeriodicTask]) -> tuple[list[PeriodicTask], list[Damaged]]:
    """Return the rows of a query in its order, and those that cannot be read. One query, where all can."""
    sound: list[PeriodicTask] = []
    damaged: list[Damaged] = []
    for row in scan(rows, at_once=True):
        if isinstance(row, Damaged):
            damaged.append(row)
        else:
            sound.append(row)
    return sound, damaged


def scan(rows: QuerySet[PeriodicTask], *, at_once: bool = False) -> Iterator[PeriodicTask | Damaged]:
    """
    Yield the rows of a query in its order, and of each that cannot be read what is wrong.

    One query, as long as all can be read; after that a page at a time, down to the row that it is about. ``at_once``:
    they all have a place in memory.
    """
    seen: set[int] = set()
    try:
        for row in rows.all() if at_once else rows.iterator(chunk_size=PAGE):
            refuse(row)
            seen.add(row.pk)
            yield row
    except Exception as error:
        if not is_unreadable(error):
            raise
    else:
        return
    keys = [pk for pk in rows.values_list("pk", flat=True) if pk not in seen]
    if rows.query.is_sliced:  # that cannot be narrowed
        rows = PeriodicTask.objects.using(rows.db)
    for start in range(0, len(keys), PAGE):
        yield from _some(rows, keys[start : start + PAGE])


def find(alias: str, pk: int) -> Damaged | None:
    """Return what cannot be read of a row; None: it can be read, or is gone."""
    found = _some(PeriodicTask.objects.using(alias), [pk])
    return next((row for row in found if isinstance(row, Damaged)), None)


def refuse(row: PeriodicTask) -> None:
    """Raise ValueError for a row that was read, and has not what every row has."""
    if not _is_whole(row):
        raise ValueError("created is no moment")


def _some(rows: QuerySet[PeriodicTask], keys: Sequence[int]) -> Iterator[PeriodicTask | Damaged]:
    """Read these; when that fails, the halves of them, down to the row that it is about."""
    try:
        found = {row.pk: row for row in rows.filter(pk__in=keys)}
    except Exception as error:
        if not is_unreadable(error):
            raise
        if len(keys) == 1:
            yield _damaged(rows.db, keys[0], str(error))
            return
        half = len(keys) // 2
        yield from _some(rows, keys[:half])
        yield from _some(rows, keys[half:])
        return
    for row in (found[pk] for pk in keys if pk in found):
        yield row if _is_whole(row) else _damaged(rows.db, row.pk, "created is no moment")


def _is_whole(row: PeriodicTask) -> bool:
    """Say whether it has what every row has: of some moments that there are not, drivers and Django make None."""
    created: Any = row.created
    return created is not None


def _damaged(alias: str, pk: int, error: str) -> Damaged:
    """Look at a row column by column."""
    row = PeriodicTask.objects.using(alias).filter(pk=pk)
    broken: dict[str, str] = {}
    values: dict[str, Any] = {}
    for field in _COLUMNS:
        try:
            found = list(row.values_list(field.attname, flat=True))
        except Exception as reason:
            if not is_unreadable(reason):
                raise
            broken[field.attname] = _text(row, field)
            continue
        value = found[0] if found else None
        values[field.attname] = value
        if found and value is None and not field.null:
            broken[field.attname] = _text(row, field)
    return Damaged(pk=pk, broken=broken or {"something": error}, values=values)


def _text(row: QuerySet[PeriodicTask], field: Field[Any, Any]) -> str:
    """Return what the database has in a column, as a text that is not too long."""
    try:
        found = list(row.values_list(Cast(field.name, TextField()), flat=True))
    except Exception as error:
        if not is_unreadable(error):
            raise
        return f"damaged ({error})"[:MOST_SHOWN]
    return repr(found[0])[:MOST_SHOWN] if found else "gone"
