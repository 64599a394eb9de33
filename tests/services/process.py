"""Own one server process: start it, wait until it answers, stop it, and never leave it behind."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

START_TIMEOUT = 60.0  # seconds; a loaded machine with two cores and three databases starting at once
STOP_TIMEOUT = 20.0

LIBC = ctypes.CDLL(None)  # loaded here, because little is safe to do between fork and exec
PR_SET_PDEATHSIG = 1


class ServiceError(Exception):
    """A server could not be started; the message carries the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Whom a server runs as, when it refuses to run as root."""

    name: str
    uid: int
    gid: int


def unprivileged_user(*names: str) -> User | None:
    """Return the first of these system users that exists, or None when this process is not root."""
    if os.geteuid() != 0:
        return None
    for name in names:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return User(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise ServiceError(f"This server does not run as root, and none of the users {', '.join(names)} exists.")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


#: Ports that this process has named already: its server may not have bound one yet when somebody else asks.
_given: dict[int, int] = {}


def _reserve(port: int) -> bool:
    """Take a port for this process, as long as it lives; False: another one on this machine has it."""
    # A bare descriptor, held until the process ends: a file object would be told off for that then.
    lock = os.open(Path(tempfile.gettempdir()) / f"django-jobs-port-{port}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    _given[port] = lock
    return True


def free_port() -> int:
    """Return a loopback port that is free, and whose cluster bus port (10000 higher) is free too.

    The range lies below the ephemeral ports, so that no outgoing connection can take the port while a killed server
    is about to be started again on it.
    """
    for _ in range(1000):
        port = random.randrange(20000, 22500)
        if port not in _given and is_free(port) and is_free(port + 10000) and _reserve(port):
            return port
    raise ServiceError("No free port between 20000 and 22500 on 127.0.0.1.")


def die_with_parent(sig: int = signal.SIGKILL) -> None:
    """Have the kernel send `sig` to this process when its parent dies (Linux only; elsewhere atexit must do)."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0)


def run_tool(arguments: list[str], *, user: User | None = None, cwd: Path) -> None:
    """Run a preparing command to its end; its output is in the error when it fails."""
    done = subprocess.run(
        arguments,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(),
        timeout=START_TIMEOUT * 2,
        check=False,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode:
        raise ServiceError(f"{arguments[0]} failed with exit code {done.returncode}:\n{done.stdout[-3000:]}")


def clean_environment() -> dict[str, str]:
    """Return an environment in which no setting of the developer (PGDATA, MYSQL_HOME, ...) reaches a server."""
    kept = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


class Server:
    """A private server on one loopback port with its data in one directory.

    Start it from the main thread: Linux ties the end of the server to the thread that started it. After kill() or
    stop(), start() brings it up again on the same port with what it had saved.
    """

    name = "server"
    parent_death_signal = signal.SIGKILL
    stop_signal = signal.SIGTERM

    def __init__(self, *, port: int | None, directory: Path, user: User | None = None) -> None:
        self.port = port or free_port()
        self.directory = directory
        self.user = user
        self.process: subprocess.Popen[bytes] | None = None

    # What a kind of server says about itself

    def command(self) -> list[str]:
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the data directory when it is not there yet; safe to call again, and from any thread."""
        self.own(self.directory)

    def is_ready(self) -> bool:
        raise NotImplementedError

    def on_ready(self) -> None:
        """Do what is needed once after each start."""

    @property
    def url(self) -> str:
        raise NotImplementedError

    # Life

    @property
    def log_path(self) -> Path:
        return self.directory / "server.log"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> Self:
        """Prepare, launch and wait until the server answers."""
        self.prepare()
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        if self.running:
            raise ServiceError(f"{self.name} runs already on port {self.port}.")
        death_signal = self.parent_death_signal
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the tests; they stop the server themselves
                user=self.user.uid if self.user else None,
                group=self.user.gid if self.user else None,
                extra_groups=[] if self.user else None,
                # After the change of user, which would undo it; prctl takes no lock that a thread could hold.
                preexec_fn=lambda: die_with_parent(death_signal),  # noqa: PLW1509
            )
        atexit.register(self.stop)

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        self.wait_until(self.is_ready, "does not answer", timeout)
        self.on_ready()

    def wait_until(self, condition: Callable[[], bool], complaint: str, timeout: float = START_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.running:
                raise ServiceError(f"{self.name} ended while starting:\n{self.log_end()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"{self.name} {complaint} after {timeout:.0f} s:\n{self.log_end()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server in its orderly way, and by SIGKILL when it does not; does nothing when it is not running."""
        if self.process is None:
            return
        if self.running:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        atexit.unregister(self.stop)

    def kill(self) -> None:
        """Kill -9, as a crash of the machine would look to its clients."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None
        atexit.unregister(self.stop)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers. resume() ends it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # Helpers

    def own(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        if self.user:
            shutil.chown(path, self.user.uid, self.user.gid)

    def log_end(self) -> str:
        with contextlib.suppress(OSError):
            return self.log_path.read_text(errors="replace")[-3000:]
        return "(no log)"
