"""The database of a trial, read with the bare driver: no product code between the table and the verdict."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pymysql


class Unreadable(Exception):
    """The server is away; look again later."""


@dataclass(frozen=True, slots=True)
class Result:
    """A row of results."""

    task: str
    state: str
    result: str | None
    fence: int
    exception_type: str
    deliveries: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Reads and writes one database; a connection for each question, because servers crash in between."""

    url: str

    @property
    def vendor(self) -> str:
        return {"postgres": "postgresql"}.get(urlsplit(self.url).scheme, urlsplit(self.url).scheme)

    def ask(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in one transaction and return the rows of the last one. Raises Unreadable."""
        try:
            with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
                for statement in statements:
                    cursor.execute(statement)
                rows = list(cursor.fetchall()) if cursor.description else []
                connection.commit()
                return rows
        except (psycopg.OperationalError, pymysql.OperationalError, sqlite3.OperationalError) as error:
            raise Unreadable(str(error)) from error

    def _connect(self) -> Any:
        parts = urlsplit(self.url)
        if parts.scheme == "postgres":
            return psycopg.connect(self.url, connect_timeout=5)
        if parts.scheme == "mysql":
            return pymysql.connect(
                host=parts.hostname, port=parts.port or 0, user=parts.username, database=parts.path.lstrip("/")
            )
        return sqlite3.connect(parts.path, timeout=20)

    def results(self) -> dict[str, Result]:
        """Return every row of results by its job."""
        rows = self.ask("SELECT id, task, state, result, fence, exception_type, deliveries FROM django_jobs_jobresult")
        return {str(UUID(str(row[0]))): Result(*row[1:]) for row in rows}

    def ended(self) -> int:
        """Count the jobs that have come to an end."""
        states = "('SUCCESS', 'FAILURE', 'REVOKED')"
        return int(self.ask(f"SELECT COUNT(*) FROM django_jobs_jobresult WHERE state IN {states}")[0][0])

    def overwritten(self) -> list[tuple[Any, ...]]:
        """Return what was written over an end that was recorded: (id, state before, state after)."""
        return self.ask("SELECT id, before_state, after_state FROM chaos_overwritten")

    def counters(self) -> dict[str, int]:
        """Return how often each job that counts has had its effect."""
        return {str(UUID(str(row[0]))): row[1] for row in self.ask("SELECT id, value FROM chaos_counter")}

    def has_table(self, name: str) -> bool:
        return name in self.tables()

    def tables(self) -> list[str]:
        if self.vendor == "sqlite":
            return [row[0] for row in self.ask("SELECT name FROM sqlite_master WHERE type = 'table'")]
        schema = "DATABASE()" if self.vendor == "mysql" else "'public'"
        return [
            row[0]
            for row in self.ask(f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}")
        ]

    def clear(self) -> None:
        """Empty every table but that of the migrations."""
        # What refers to a table comes before it, by its name.
        tables = sorted(name for name in self.tables() if name.startswith(("django_jobs_", "chaos_")))
        if self.vendor == "postgresql":
            self.ask(f"TRUNCATE {', '.join(tables)}")
        else:
            self.ask(*(f"DELETE FROM {name}" for name in tables))

    def prepare(self) -> None:
        """Make the tables of the tests, and have the database itself note every end that is written over."""
        kind = "varchar(64)"
        columns = f"id {kind}, before_state {kind}, after_state {kind}"
        self.ask(f"CREATE TABLE chaos_overwritten ({columns})")
        self.ask("CREATE TABLE chaos_counter (id varchar(64) PRIMARY KEY, value integer NOT NULL)")
        self.ask(*TRIGGERS[self.vendor])


_ENDED = "OLD.state IN ('SUCCESS', 'FAILURE', 'REVOKED')"
_NOTE = "INSERT INTO chaos_overwritten VALUES (OLD.id, OLD.state, NEW.state)"
_FIELDS = ("state", "fence", "result", "exception_type", "started_at", "finished_at", "worker")


def _changed(differs: str) -> str:
    return " OR ".join(differs.format(name) for name in _FIELDS)


_ON = "CREATE TRIGGER chaos_note AFTER UPDATE ON django_jobs_jobresult"
_FUNCTION = f"CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_NOTE}; RETURN NULL; END $$"
_POSTGRESQL = f"{_ENDED} AND ({_changed('OLD.{0} IS DISTINCT FROM NEW.{0}')})"
_SQLITE = f"{_ENDED} AND ({_changed('OLD.{0} IS NOT NEW.{0}')})"
_MYSQL = f"{_ENDED} AND ({_changed('NOT (OLD.{0} <=> NEW.{0})')})"

#: What happens once to a step or barrier of a workflow: (table, column).
_ONCE = (("django_jobs_workflowstep", "opened"), ("django_jobs_workflowbarrier", "resolved"))


def _again(vendor: str) -> Iterator[str]:
    """Give the triggers that note what has happened a second time."""
    for table, column in _ONCE:
        name = f"chaos_note_{column}"
        on = f"CREATE TRIGGER {name} AFTER UPDATE ON {table}"
        note = f"INSERT INTO chaos_overwritten VALUES (OLD.id, '{column}', '{column} again')"
        when = f"OLD.{column} IS NOT NULL AND "
        if vendor == "postgresql":
            yield (f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {note}; RETURN NULL; END $$")
            yield f"{on} FOR EACH ROW WHEN ({when}OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION {name}()"
        elif vendor == "sqlite":
            yield f"{on} WHEN {when}OLD.{column} IS NOT NEW.{column} BEGIN {note}; END"
        else:
            yield f"{on} FOR EACH ROW IF {when}NOT (OLD.{column} <=> NEW.{column}) THEN {note}; END IF"


TRIGGERS = {
    "postgresql": (
        _FUNCTION,
        f"{_ON} FOR EACH ROW WHEN ({_POSTGRESQL}) EXECUTE FUNCTION chaos_note()",
        *_again("postgresql"),
    ),
    "sqlite": (f"{_ON} WHEN {_SQLITE} BEGIN {_NOTE}; END", *_again("sqlite")),
    "mysql": (f"{_ON} FOR EACH ROW IF {_MYSQL} THEN {_NOTE}; END IF", *_again("mysql")),
}
