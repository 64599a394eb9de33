"""The servers of the trials: private ones, because they are killed; started when first asked for, and kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.hosts import ROOT
from tests.chaos.tables import Rows
from tests.services import (
    MariaDBServer,
    PostgresServer,
    RedisClusterServer,
    RedisServer,
    Server,
    ServiceError,
    binaries,
)

#: What the promise "acknowledged is kept" needs when a server is killed and its machine lives.
POSTGRES_DURABLE = ("-c", "synchronous_commit=on")
MARIADB_DURABLE = ("--innodb-flush-log-at-trx-commit=2",)
AOF = ("--appendonly", "yes", "--appendfsync", "always")


class Missing(Exception):
    """A server or a part of the product that a row needs is not there; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a trial runs on."""

    name: str
    #: Kind of the Redis; "" for the database broker.
    redis: str = ""
    database: str = "postgres"
    outbox: bool = False
    #: Body, effect and result of each job in one transaction.
    atomic: bool = False

    @property
    def is_redis(self) -> bool:
        return bool(self.redis)


MODES = {
    mode.name: mode
    for mode in (
        Mode(name="redis", redis="redis7"),
        Mode(name="redis+outbox", redis="redis7", outbox=True),
        Mode(name="redis62", redis="redis62"),
        Mode(name="cluster", redis="cluster"),
        Mode(name="postgres", database="postgres"),
        Mode(name="sqlite", database="sqlite"),
        Mode(name="mariadb", database="mariadb"),
        Mode(name="redis+atomic", redis="redis7", atomic=True),
        Mode(name="postgres+atomic", database="postgres", atomic=True),
    )
}


def redis_binary(kind: str, directory: Path) -> Path:
    if kind == "redis62":
        return binaries.redis62(directory / "binary")
    found = binaries.redis7()
    if found is None:
        raise Missing("redis-server is not on PATH")
    return found


class Laboratory:
    """Owns the servers and the directory of a series of trials."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        # In memory where that is possible: processes are killed here, machines are not, and syncing waits for others.
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        made = tempfile.TemporaryDirectory(prefix="django-jobs-chaos-", dir=memory)
        self.directory = Path(self._stack.enter_context(made))
        self.directory.chmod(0o755)  # PostgreSQL does not run as root, and has its directory below
        self._servers: dict[str, Server] = {}
        self._databases: dict[str, Rows] = {}
        self._numbers = 0

    def close(self) -> None:
        for server in self._servers.values():
            server.stop()
        self._stack.close()

    def restore(self) -> None:
        """Have every server run that a fault has stopped."""
        for server in self._servers.values():
            if server.running:
                server.resume()
            else:
                server.start()

    def new_directory(self) -> Path:
        self._numbers += 1
        made = self.directory / f"trial-{self._numbers}"
        made.mkdir()
        return made

    def redis(self, kind: str, *extra: str) -> RedisServer:
        """Return a running, empty Redis: redis7, redis62 or cluster, with these arguments."""

        def build(directory: Path) -> Server:
            cls = RedisClusterServer if kind == "cluster" else RedisServer
            return cls(redis_binary(kind, directory), None, directory, *extra)

        server = self._server(f"{kind} {' '.join(extra)}".strip(), build)
        assert isinstance(server, RedisServer)
        server.call("FLUSHALL")
        return server

    def database_server(self, kind: str) -> Server:
        """Return the running server of a kind of database."""
        return self._server(kind, self._postgres if kind == "postgres" else self._mariadb)

    def _postgres(self, directory: Path) -> Server:
        return PostgresServer(binaries.postgres_bin(directory / "binary"), None, directory, *POSTGRES_DURABLE)

    def _mariadb(self, directory: Path) -> Server:
        binary = binaries.find("mariadbd")
        if binary is None:
            raise Missing("mariadbd is not on PATH")
        return MariaDBServer(binary, None, directory, *MARIADB_DURABLE)

    def _server(self, name: str, build: Callable[[Path], Server]) -> Server:
        server = self._servers.get(name)
        if server is None:
            try:
                server = build(self.directory / f"server-{len(self._servers)}").start()
            except ServiceError as error:
                raise Missing(str(error)) from error
            self._servers[name] = server
        elif not server.running:
            server.start()
        return server

    def database(self, kind: str) -> Rows:
        """Return a migrated, empty database."""
        url = f"sqlite://{self.directory}/chaos.sqlite3" if kind == "sqlite" else self.database_server(kind).url
        rows = self._databases.get(kind)
        if rows is None:
            rows = self._databases[kind] = Rows(url)
            migrate(url)
            rows.prepare()
        rows.clear()
        return rows


def environment(chaos: str, directory: Path) -> dict[str, str]:
    """Return the environment of a process of the project."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.chaos.site.settings",
        "CHAOS": chaos,
        "CHAOS_DIRECTORY": str(directory),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "PYTHONUNBUFFERED": "1",
    }


def migrate(url: str) -> None:
    given = json.dumps({"database": url, "jobs": {}})
    command = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
    done = subprocess.run(
        command,
        env=environment(given, Path()),
        cwd=ROOT,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise ServiceError(f"the tables could not be made:\n{done.stdout[-3000:]}")
