"""A running copy of the site: web server, worker and visits server, with a database, uploads and mails of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from redis import Redis
from redis.exceptions import RedisError

from .process import Process, SiteError

PROJECT = Path(__file__).resolve().parent.parent
DATABASE_BROKER = "database://default"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
USER = "demo"
MAIL = "demo@example.org"
#: Schemes whose keys one client can list, and so remove in the end.
LISTABLE = ("redis://", "rediss://", "unix://")


def free_port(preferred: int | None = None) -> int:
    """Return the preferred loopback port when nothing listens there, else one that is free."""
    for port in (preferred, 0):
        if port is not None:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
    raise SiteError("No port is free on 127.0.0.1.")


def answers(url: str) -> bool:
    """Say whether an HTTP server answers there, whatever it says."""
    try:
        with urlopen(url, timeout=5):
            return True
    except URLError as error:
        return hasattr(error, "code")
    except OSError:
        return False


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Hold back the signals that end the demo until the block is done."""
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Site:
    """
    The gallery in one directory. On entry it is migrated and started, on exit nothing is left running.

    ``mail_failures`` and ``visit_failures`` say how often each mail, and each visit report, fails before it works.
    """

    def __init__(
        self,
        directory: Path,
        *,
        broker: str = DATABASE_BROKER,
        database: str = "",
        preferred_port: int | None = None,
        mail_failures: int = 2,
        visit_failures: int = 2,
        workers: int = 1,
        worker_options: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.broker = broker
        self.database = database
        self.mail_failures = mail_failures
        self.visit_failures = visit_failures
        self.workers = workers
        self.worker_options = worker_options
        self.password = secrets.token_urlsafe(6)
        self.prefix = f"gallery-{secrets.token_hex(6)}"
        self.port = free_port(preferred_port)
        self.visits_port = free_port()
        self.processes: list[Process] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DJANGO_JOBS_BROKER": self.broker,
            "DJANGO_JOBS_PREFIX": self.prefix,
            "DJANGO_SUPERUSER_PASSWORD": self.password,
            "GALLERY_DATA": str(self.directory),
            "GALLERY_DATABASE": self.database,
            "GALLERY_MAIL_FAILURES": str(self.mail_failures),
            "GALLERY_VISITS_URL": f"http://127.0.0.1:{self.visits_port}",
            # The package itself, when it is not installed: the checkout that this file is in.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT.parent), os.environ.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
        }

    def manage(self, *arguments: str) -> str:
        """Run a management command to its end and return its output; raises SiteError when it fails."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=PROJECT,
            check=False,
            start_new_session=True,
        )
        if done.returncode:
            raise SiteError(f"manage.py {' '.join(arguments)} has failed:\n{done.stdout.strip()[-3000:]}")
        return done.stdout

    def prepare(self) -> None:
        """Make the database and the login."""
        self.check_broker()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.manage("migrate", "--verbosity=0")
        self.manage("createsuperuser", "--noinput", f"--username={USER}", f"--email={MAIL}")

    def check_broker(self) -> None:
        """Say at once when no Redis answers at the address that was given."""
        if self.broker.startswith(LISTABLE):
            try:
                with Redis.from_url(self.broker, socket_connect_timeout=2, socket_timeout=2) as client:
                    client.ping()
            except (RedisError, ValueError, OSError) as error:
                raise SiteError(f"No Redis answers at {self.broker}: {error}") from error

    def start(self) -> None:
        """Start the visits server, the web server and the workers, and wait until the servers answer."""
        visits = self.spawn(
            "visits server", "runvisits", f"127.0.0.1:{self.visits_port}", f"--failures={self.visit_failures}"
        )
        web = self.spawn("web server", "runserver", "--noreload", f"127.0.0.1:{self.port}")
        for _ in range(self.workers):
            self.start_worker()
        visits.wait_until(lambda: answers(f"http://127.0.0.1:{self.visits_port}/"), "does not answer", START_TIMEOUT)
        web.wait_until(lambda: answers(f"{self.url}/status.json"), "does not answer", START_TIMEOUT)

    def start_worker(self) -> Process:
        """Start a worker, one more when there is one."""
        return self.spawn("worker", "runworker", "--no-reload", "--loglevel=INFO", *self.worker_options)

    def spawn(self, name: str, *arguments: str) -> Process:
        """Start a management command that stays."""
        log = self.directory / f"{name.replace(' ', '-')}.log"
        command = [sys.executable, "manage.py", *arguments]
        process = Process(name, command, log=log, env=self.environment, cwd=PROJECT)
        self.processes.append(process)
        return process

    def check(self) -> None:
        """Raise SiteError when one of the processes has ended by itself."""
        for process in self.processes:
            process.check()

    def stop(self) -> dict[str, int]:
        """End all processes, and return their exit codes by name; a second Ctrl-C cannot leave half of them behind."""
        with deaf():
            for process in reversed(self.processes):
                process.terminate()
            codes = {process.name: process.end(STOP_TIMEOUT) for process in reversed(self.processes)}
            self.processes = []
            self.forget_keys()
        return codes

    def forget_keys(self) -> None:
        """Remove what this copy has left in Redis; its prefix is its own, so nobody else's keys are meant."""
        if self.broker.startswith(LISTABLE):
            try:
                with Redis.from_url(self.broker, socket_connect_timeout=2, socket_timeout=5) as client:
                    for key in client.scan_iter(match=f"*{self.prefix}*", count=500):
                        client.unlink(key)
            except (RedisError, OSError):
                return  # a Redis that is gone keeps nothing that matters here

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
