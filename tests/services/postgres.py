"""A private PostgreSQL server."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.services.process import Server, run_tool, unprivileged_user


class PostgresServer(Server):
    """Run one PostgreSQL cluster, without fsync unless the arguments ask for it: ("-c", "fsync=on")."""

    name = "PostgreSQL"
    parent_death_signal = signal.SIGQUIT  # immediate shutdown; SIGKILL would leave shared memory behind
    stop_signal = signal.SIGINT  # fast shutdown: does not wait for clients

    def __init__(self, binary: Path, port: int | None, directory: Path, *extra_args: str) -> None:
        """`binary` is the directory that holds initdb and postgres."""
        super().__init__(port=port, directory=directory, user=unprivileged_user("postgres", "nobody"))
        self.binary = binary
        self.extra_args = extra_args

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def prepare(self) -> None:
        self.own(self.directory)
        if not (self.data / "PG_VERSION").exists():
            options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
            run_tool([str(self.binary / "initdb"), "-D", str(self.data), *options], user=self.user, cwd=self.directory)

    def command(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "timezone": "UTC",
        }
        arguments = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(self.binary / "postgres"), "-D", str(self.data), *arguments, *self.extra_args]

    def is_ready(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """Kill -9 the postmaster and its backends, which would keep its shared memory busy for a while."""
        super().kill()
        while left := self.backends():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def backends(self) -> list[int]:
        """Return the processes that live in the directory of the data: those of this server and no others."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if (entry / "cwd").readlink() == self.data.resolve():
                    found.append(int(entry.name))
        return found

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"
