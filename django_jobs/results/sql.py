"""What SQL that is put together by hand needs: marks for values, ids as a database has them, parts, and locks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from django_jobs.results.arrays import plain

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

T = TypeVar("T")

#: Values of one statement: ids that are asked for, or rows that are inserted.
BATCH = 500
#: The same where they are arrays.
ARRAY = 5000
#: SQLite takes 999 parameters in its oldest versions.
_SQLITE_PARAMETERS = 900


def batches(values: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Give values in parts, each for one statement."""
    return (values[start : start + size] for start in range(0, len(values), size))


def rows_of_one(cursor: CursorWrapper, width: int) -> int:
    """Return how many rows of so many columns one statement inserts, where it has a parameter for each value."""
    return BATCH if cursor.db.vendor != "sqlite" else max(1, _SQLITE_PARAMETERS // width)


@lru_cache(maxsize=128)
def marks(count: int) -> str:
    """Return so many marks for parameters."""
    return ", ".join(["%s"] * count)


def among(cursor: CursorWrapper, ids: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    """Give the conditions that a column is one of these ids, each with its values, in their order."""
    to_id = id_writer(cursor)
    return _among(cursor, ids if to_id is _as_it_is else [to_id(one) for one in ids], "uuid")


def among_numbers(cursor: CursorWrapper, numbers: Sequence[int]) -> Iterator[tuple[str, list[Any]]]:
    """Give the same of numbers."""
    return _among(cursor, numbers, "bigint")


def _among(cursor: CursorWrapper, values: Sequence[Any], type_: str) -> Iterator[tuple[str, list[Any]]]:
    if cursor.db.vendor == "postgresql":
        return ((f"= ANY(%s::{type_}[])", [plain(some)]) for some in batches(values, ARRAY))
    return ((f"IN ({marks(len(some))})", list(some)) for some in batches(values))


def id_writer(cursor: CursorWrapper) -> Any:
    """Return what turns an id, or None, into what the database takes."""
    return _as_it_is if cursor.db.vendor == "postgresql" else digits


def _as_it_is(value: str | None) -> str | None:
    return value


def digits(value: str | None) -> str | None:
    """Return an id, or None, for a database that keeps a UUID as 32 digits."""
    return None if value is None else value.replace("-", "")


def id_of(value: Any) -> str | None:
    """Return an id from what the driver gave: a UUID, or 32 digits."""
    if value is None:
        return None
    text = str(value)
    return text if len(text) == 36 else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def for_update(cursor: CursorWrapper, *, skip: bool = False) -> str:
    """
    Return what locks rows; ``skip``: but those that others have locked.

    SQLite has no row locks and needs none: a transaction of ours holds its write lock.
    """
    features = cursor.db.features
    if not features.has_select_for_update:
        return ""
    return "FOR UPDATE SKIP LOCKED" if skip and features.has_select_for_update_skip_locked else "FOR UPDATE"
