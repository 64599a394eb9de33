"""
The guarded write of a batch of rows, one way for each kind of database.

All of them keep the same promise: a row is written, or left as it was because it is newer, by the rule in ``guard``;
and what they return names exactly the rows that were left. They run inside a transaction of the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django_jobs.results.base import Record
from django_jobs.results.upsert import mysql, postgresql, sqlite

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

#: From a cursor and records of different ids to the ids whose row was newer.
Write = Callable[["CursorWrapper", Sequence[Record]], list[str]]
#: Write state and meta of one running job; False: the row was newer.
Touch = Callable[["CursorWrapper", Record], bool]

WRITES: Mapping[str, Write] = {"postgresql": postgresql.write, "sqlite": sqlite.write, "mysql": mysql.write}
TOUCHES: Mapping[str, Touch] = {"postgresql": postgresql.touch, "sqlite": sqlite.touch, "mysql": mysql.touch}


def largest_row(cursor: Any) -> int:
    """Return how many bytes a row may have, more or less."""
    return mysql.largest_row(cursor) if cursor.db.vendor == "mysql" else 256 * 1024 * 1024
