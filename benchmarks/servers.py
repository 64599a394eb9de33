"""A private Redis and a private PostgreSQL for the time of a run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import redis

from benchmarks.scenario import PostgresAddress
from tests.services import private_postgres, private_redis

TEMPLATE = "benchmarks_template"
DATABASE = "benchmarks"
# The servers of the tests trade safety for speed. Here PostgreSQL runs as it is shipped.
SHIPPED_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
}


class Redis:
    """A Redis server that keeps everything in memory, as a cache or a queue is commonly run."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = redis.Redis.from_url(url)
        self.version: str = self._client.info("server")["redis_version"]

    def clear(self) -> None:
        self._client.flushall()


class PostgreSQL:
    """A PostgreSQL cluster: one database for each sample, made from a template that has the tables."""

    def __init__(self, *, port: int) -> None:
        self._port = port
        with self._connect() as connection:
            self.version = str(connection.info.parameter_status("server_version"))
            connection.execute(f"CREATE DATABASE {TEMPLATE}")

    def address(self, database: str) -> PostgresAddress:
        return PostgresAddress(host="127.0.0.1", port=self._port, user="postgres", database=database)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.address("postgres").dsn, autocommit=True)

    @property
    def template(self) -> PostgresAddress:
        return self.address(TEMPLATE)

    def fresh_database(self) -> PostgresAddress:
        """Return a database that has the tables and nothing in them."""
        with self._connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE}")
        return self.address(DATABASE)


class Servers:
    """Both servers, for the time of a ``with`` statement."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        settings = [part for key, value in SHIPPED_SETTINGS.items() for part in ("-c", f"{key}={value}")]
        with ExitStack() as starting:
            redis_server = starting.enter_context(private_redis(self._directory))
            postgres_server = starting.enter_context(private_postgres(self._directory, *settings))
            self.redis = Redis(redis_server.url)
            self.postgresql = PostgreSQL(port=postgres_server.port)
            self._stack = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()
