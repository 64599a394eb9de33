"""How the vendors' SQL differs, as words that a statement is filled with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django_jobs.identifiers import parse_id
from django_jobs.models.queue import ConsumerLease, KnownQueue, QueuedJob
from django_jobs.models.worker import WorkerStanding

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

Row = tuple[Any, ...]

TABLES = {
    "job": QueuedJob._meta.db_table,
    "lease": ConsumerLease._meta.db_table,
    "queue": KnownQueue._meta.db_table,
    "worker": WorkerStanding._meta.db_table,
}


class Dialect:
    """
    One vendor's way to say things.

    A statement is written once, with ``{now}``, ``{locked}`` and the like where vendors differ, and ``{many}`` for a
    list of placeholders.
    """

    vendor: ClassVar[str]
    words: ClassVar[dict[str, str]] = {}

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        features = connection.features
        #: Does a DELETE return what it deleted? (Wherever INSERT returns something, it does.)
        self.delete_returns: bool = features.can_return_columns_from_insert
        words = {**TABLES, **self.words}
        if not features.has_select_for_update_skip_locked:
            # Claims wait for each other instead of passing by.
            words["skip_locked"] = words["locked"]

        @lru_cache(maxsize=512)
        def fill(template: str, many: int) -> str:
            return template.format(**words, many=", ".join(["%s"] * many))

        #: Fill a template. Cached: the same few are used thousands of times a second.
        self.fill = fill

    def id_in(self, job_id: str) -> str:
        """Turn a job's id into what the driver is given."""
        return (job_id if len(job_id) == 36 else parse_id(job_id)).replace("-", "")

    def id_out(self, value: str) -> str:
        """Turn what the driver gave into a job's id."""
        return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"


class PostgreSQL(Dialect):
    """PostgreSQL, by psycopg or psycopg2."""

    vendor = "postgresql"
    words: ClassVar[dict[str, str]] = {
        "now": "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint",
        "id": "id::text",
        "locked": "FOR UPDATE",
        "skip_locked": "FOR UPDATE SKIP LOCKED",
        "shared": "FOR KEY SHARE",
        "insert": "INSERT INTO",
        "ignore": "ON CONFLICT DO NOTHING",
        "binary": "%s",
    }

    def id_in(self, job_id: str) -> str:
        """PostgreSQL reads a uuid from its text."""
        return job_id if len(job_id) == 36 else parse_id(job_id)

    def id_out(self, value: str) -> str:
        """Ids are selected as text."""
        return value


class MySQL(Dialect):
    """MySQL and MariaDB. Neither has UPDATE ... RETURNING, so rows are locked, read and then changed by id."""

    vendor = "mysql"
    words: ClassVar[dict[str, str]] = {
        # UNIX_TIMESTAMP(NOW(3)) would be an hour wrong, once a year, in a session whose time zone has summer time.
        "now": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)",
        "id": "id",
        "locked": "FOR UPDATE",
        "skip_locked": "FOR UPDATE SKIP LOCKED",
        "shared": "LOCK IN SHARE MODE",
        "insert": "INSERT IGNORE INTO",
        "ignore": "",
        "binary": "_binary %s",
    }


class SQLite(Dialect):
    """SQLite. It has one writer at a time, so rows need no locks."""

    vendor = "sqlite"
    words: ClassVar[dict[str, str]] = {
        "now": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        "id": "id",
        "locked": "",
        "skip_locked": "",
        "shared": "",
        "insert": "INSERT INTO",
        "ignore": "ON CONFLICT DO NOTHING",
        "binary": "%s",
    }


VENDORS: dict[str, type[Dialect]] = {dialect.vendor: dialect for dialect in (PostgreSQL, MySQL, SQLite)}


class Sql:
    """A cursor, and the dialect in which its statements are said."""

    __slots__ = ("cursor", "dialect")

    def __init__(self, cursor: CursorWrapper, dialect: Dialect) -> None:
        self.cursor = cursor
        self.dialect = dialect

    def rows(self, template: str, params: Sequence[Any] = (), *, many: int = 0) -> list[Row]:
        """Run one statement and return its rows."""
        self.cursor.execute(self.dialect.fill(template, many), params)
        return cast(list[Row], self.cursor.fetchall())

    def change(self, template: str, params: Sequence[Any] = (), *, many: int = 0) -> int:
        """Run one statement and return how many rows it changed."""
        self.cursor.execute(self.dialect.fill(template, many), params)
        return int(self.cursor.rowcount)

    def change_each(self, template: str, params: Sequence[Sequence[Any]]) -> int:
        """Run one statement for each of these, and return how many rows it changed."""
        self.cursor.executemany(self.dialect.fill(template, 0), params)
        return int(self.cursor.rowcount)

    def ids_in(self, job_ids: Iterable[str]) -> list[str]:
        """Turn ids into what the driver is given."""
        id_in = self.dialect.id_in
        return [id_in(job_id) for job_id in job_ids]
