"""Real servers for the tests.

`script/test` starts them and puts their addresses into the environment, where the settings and the fixtures find them.
A server that runs already is used when its variable is set before:

    TEST_REDIS_URL            Redis 7 (or Valkey); the tests write to it
    TEST_REDIS62_URL          Redis 6.2
    TEST_REDIS_CLUSTER_URL    redis+cluster://host:port
    TEST_POSTGRES_URL         postgres://user:password@host:port/database; the tests make databases named test_...
    TEST_MARIADB_URL          mysql://user:password@host:port/database

A test that wants to kill a server starts one of its own: `private_redis(tmp_path)`, `private_postgres(tmp_path)`.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from tests.services import binaries
from tests.services.mariadb import MariaDBServer
from tests.services.postgres import PostgresServer
from tests.services.process import Server, ServiceError
from tests.services.redis import RedisClusterServer, RedisSentinelServer, RedisServer

__all__ = [
    "DATABASE_VARIABLES",
    "REDIS_VARIABLES",
    "MariaDBServer",
    "PostgresServer",
    "RedisClusterServer",
    "RedisSentinelServer",
    "RedisServer",
    "Server",
    "ServiceError",
    "alias_of",
    "database_aliases",
    "named_redis",
    "private_postgres",
    "private_redis",
    "take_own_redis_databases",
    "why_missing",
]

REDIS_VARIABLES = {"redis7": "TEST_REDIS_URL", "redis62": "TEST_REDIS62_URL", "cluster": "TEST_REDIS_CLUSTER_URL"}
DATABASE_VARIABLES = {"postgres": "TEST_POSTGRES_URL", "mariadb": "TEST_MARIADB_URL"}
REASON_PREFIX = "DJANGO_JOBS_TEST_MISSING_"


def take_own_redis_databases() -> None:
    """
    Give each process of pytest-xdist a database of its own on the Redis servers of the run, and what it starts too.

    A cluster has only one database: on that, tests have a prefix of their own.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if not worker.isdigit():
        return
    for name in ("redis7", "redis62"):
        url = os.environ.get(REDIS_VARIABLES[name])
        if url:
            parts = urlsplit(url)
            os.environ[REDIS_VARIABLES[name]] = parts._replace(path=f"/{1 + int(worker) % 15}").geturl()


def named_redis() -> dict[str, str]:
    """Return the URLs of this run's Redis servers: "redis7", "redis62" and "cluster", as far as they are there."""
    return {name: os.environ[variable] for name, variable in REDIS_VARIABLES.items() if os.environ.get(variable)}


def database_aliases() -> list[str]:
    """Return the aliases of DATABASES in this run, "default" first, then the others of sqlite, postgres and mariadb.

    The one that DJANGO_JOBS_TEST_DATABASE chose is "default" and has no alias of its own.
    """
    chosen = os.environ.get("DJANGO_JOBS_TEST_DATABASE", "sqlite")
    there = ["sqlite", *(name for name, variable in DATABASE_VARIABLES.items() if os.environ.get(variable))]
    return ["default", *(name for name in there if name != chosen)]


def alias_of(database: str) -> str | None:
    """Return the alias of sqlite, postgres or mariadb in this run, None when that server is not there."""
    if database == os.environ.get("DJANGO_JOBS_TEST_DATABASE", "sqlite"):
        return "default"
    return database if database in database_aliases() else None


def why_missing(name: str) -> str:
    """Say why a server is not there, for the reason of a skipped test."""
    variable = (REDIS_VARIABLES | DATABASE_VARIABLES)[name]
    reason = os.environ.get(REASON_PREFIX + name.upper(), f"{variable} is not set; script/test starts the servers")
    return f"NOT TESTED on {name}: {reason}"


def private_redis(directory: Path, *extra_args: str) -> RedisServer:
    """Return a Redis server that belongs to the caller, not started yet: start(), kill(), start() again, stop()."""
    binary = binaries.redis7() or binaries.redis62(directory / "binary")
    return RedisServer(binary, None, directory / "redis", *extra_args)


def private_postgres(directory: Path, *extra_args: str) -> PostgresServer:
    """Return a PostgreSQL server that belongs to the caller, not started yet.

    It runs as another user when the tests run as root, who has to be able to reach `directory`.
    """
    return PostgresServer(binaries.postgres_bin(directory / "binary"), None, directory / "postgres", *extra_args)
