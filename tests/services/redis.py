"""A private Redis (or Valkey) server, standalone, as a cluster of one node, or as the Sentinel of others."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.services.process import Server

SLOTS = 16384


class RedisServer(Server):
    """Run one redis-server. Nothing is persisted unless the arguments ask for it: ("--appendonly", "yes")."""

    name = "Redis"

    def __init__(self, binary: Path, port: int | None, directory: Path, *extra_args: str) -> None:
        super().__init__(port=port, directory=directory)
        self.binary = binary
        self.extra_args = extra_args

    def command(self) -> list[str]:
        defaults = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "repl-diskless-sync-delay": "0",  # seconds for which the first copy would wait for more replicas
        }
        arguments = [part for key, value in defaults.items() for part in (f"--{key}", value)]
        return [str(self.binary), *arguments, *self.extra_args]

    def is_ready(self) -> bool:
        try:
            return self.call("PING").startswith("+PONG")
        except OSError:
            return False

    def call(self, *words: str) -> str:
        """Send one command and return the raw first line of the answer; no client library is needed for that."""
        encoded = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"*{len(words)}\r\n{encoded}".encode())
            with connection.makefile("rb") as answer:
                return answer.readline().decode().rstrip()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


class RedisClusterServer(RedisServer):
    """One node that holds all slots: every multi-key command is held to the rules of a cluster."""

    name = "Redis cluster"

    def command(self) -> list[str]:
        cluster = [
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "nodes.conf",
            "--cluster-announce-ip",
            "127.0.0.1",
        ]
        return [*super().command(), *cluster]

    def on_ready(self) -> None:
        self.call("CLUSTER", "ADDSLOTS", *map(str, range(SLOTS)))  # an error when it has them from its last life
        self.wait_until(lambda: self.call("SET", "django-jobs:probe", "1", "PX", "1").startswith("+OK"), "has no slots")

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.port}"


class RedisSentinelServer(RedisServer):
    """
    A Sentinel that watches one master under the name of main, and needs nobody's agreement to replace it.

    It is redis-server under another name, or with a flag.
    """

    name = "Sentinel"

    def __init__(self, binary: Path, port: int | None, directory: Path, master_port: int) -> None:
        super().__init__(binary, port, directory)
        self.master_port = master_port

    def command(self) -> list[str]:
        file = self.directory / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor main 127.0.0.1 {self.master_port} 1\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 2000\n"
        )
        return [str(self.binary), str(file), "--sentinel"]

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/main"
