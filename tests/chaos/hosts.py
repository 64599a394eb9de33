"""Worker families as real processes, seen from outside: by their pids and by what they call themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.services.process import die_with_parent

ROOT = Path(__file__).parents[2]


class Stalled(Exception):
    """Something that had to happen has not happened."""


def wait_for(condition: Callable[[], object], what: str, *, seconds: float = 60.0) -> None:
    """Wait for a condition with a deadline that a busy machine keeps. Raises Stalled."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Stalled(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.01)


def state_of(pid: int) -> str:
    """Return the state of a process as the kernel names it (R, S, T, Z, ...), "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_gone(pid: int) -> bool:
    return state_of(pid) in ("", "Z", "X")


def send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def freeze(pids: Iterable[int]) -> None:
    """Stop processes (SIGSTOP) and wait until they have stopped."""
    frozen = list(pids)
    send(frozen, signal.SIGSTOP)
    wait_for(lambda: all(state_of(pid) in ("T", "Z", "") for pid in frozen), "the processes to stop")


def launch(module: str, *arguments: str, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start python -m module; it ends with this process."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            preexec_fn=lambda: die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - prctl takes no lock
        )


class Host:
    """One ``manage.py runworker``: what runs on one machine."""

    def __init__(self, name: str, environment: Mapping[str, str], directory: Path, *flags: str) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        arguments = ("runworker", "--no-reload", "--loglevel", "WARNING", "--name", name, *flags)
        self.process = launch("django", *arguments, environment=environment, log=self.log)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def family(self) -> list[int]:
        """Return the processes that the supervisor has forked and that live."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [pid for pid in map(int, text.split()) if not is_gone(pid)]

    def keeper(self) -> int | None:
        return next((pid for pid in self.family() if f"{self.name} keeper" in title_of(pid)), None)

    def runners(self) -> list[int]:
        """Return the processes that run jobs."""
        return [pid for pid in self.family() if f"{self.name}/" in title_of(pid)]

    def kill(self) -> None:
        """Kill -9 the supervisor, and wait until its children are gone with it: as when a machine loses power."""
        family = self.family()
        self.process.kill()
        self.process.wait(30)
        wait_for(lambda: all(map(is_gone, family)), "the children of a killed supervisor to end")

    def terminate(self) -> None:
        self.process.terminate()

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for its end and return its exit code. Raises Stalled."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Stalled(f"{self.name} did not end within {seconds:.0f} s") from None

    def destroy(self) -> None:
        """Leave nothing of it, in whatever state it is."""
        family = self.family() if self.is_running else []
        if self.is_running:
            self.process.kill()
        self.process.wait(30)
        send(family, signal.SIGKILL)


def title_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
