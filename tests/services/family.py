"""All the servers of one run: what is there is started, what is not there gets a reason."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.services import DATABASE_VARIABLES, REASON_PREFIX, REDIS_VARIABLES, binaries
from tests.services.mariadb import MariaDBServer
from tests.services.postgres import PostgresServer
from tests.services.process import Server, ServiceError
from tests.services.redis import RedisClusterServer, RedisServer

VARIABLES = REDIS_VARIABLES | DATABASE_VARIABLES
DIRECTORY_PREFIX = "django-jobs-tests-"


def redis7(directory: Path) -> Server:
    binary = binaries.redis7()
    if binary is None:
        raise ServiceError("neither redis-server nor valkey-server is on PATH; install redis-server")
    return RedisServer(binary, None, directory)


def redis62(directory: Path) -> Server:
    return RedisServer(binaries.redis62(directory / "binary"), None, directory)


def cluster(directory: Path) -> Server:
    return RedisClusterServer(binaries.redis7() or binaries.redis62(directory / "binary"), None, directory)


def postgres(directory: Path) -> Server:
    return PostgresServer(binaries.postgres_bin(directory / "binary"), None, directory)


def mariadb(directory: Path) -> Server:
    binary = binaries.find("mariadbd")
    if binary is None:
        raise ServiceError("mariadbd is not on PATH; install mariadb-server")
    return MariaDBServer(binary, None, directory)


BUILDERS: Mapping[str, Callable[[Path], Server]] = {
    "redis7": redis7,
    "redis62": redis62,
    "cluster": cluster,
    "postgres": postgres,
    "mariadb": mariadb,
}


@dataclass(slots=True)
class Family:
    """The servers of a run. `missing` says for each one that is not there why."""

    directory: Path
    servers: dict[str, Server] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, names: list[str]) -> None:
        """Prepare all in parallel, launch from this thread (their lives are tied to it), then wait for each."""
        wanted = [name for name in names if not os.environ.get(VARIABLES[name])]
        with ThreadPoolExecutor(max_workers=len(wanted) or 1) as pool:
            built = {name: pool.submit(self.build, name) for name in wanted}
        for name, future in built.items():
            with self.noting_failure(name):
                server = future.result()
                server.launch()
                self.servers[name] = server
        for name, server in list(self.servers.items()):
            with self.noting_failure(name):
                server.wait_ready()
                self.environment[VARIABLES[name]] = server.url
        self.environment |= {REASON_PREFIX + name.upper(): reason for name, reason in self.missing.items()}

    def build(self, name: str) -> Server:
        server = BUILDERS[name](self.directory / name)
        server.prepare()
        return server

    @contextlib.contextmanager
    def noting_failure(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # one server that does not start must not cost the others' tests
            self.missing[name] = str(error)

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def family(names: list[str]) -> Iterator[Family]:
    """Run these servers for the length of a with block."""
    remove_leftovers()
    directory = Path(tempfile.mkdtemp(prefix=f"{DIRECTORY_PREFIX}{os.getpid()}-"))
    directory.chmod(0o755)  # servers that do not run as root have their directories below
    servers = Family(directory)
    try:
        servers.start(names)
        yield servers
    finally:
        servers.stop()


def remove_leftovers() -> None:
    """Remove the directories of runs that were killed with -9; their servers died with them."""
    for path in Path(tempfile.gettempdir()).glob(f"{DIRECTORY_PREFIX}*"):
        pid = path.name.removeprefix(DIRECTORY_PREFIX).split("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
