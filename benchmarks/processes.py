"""Start a worker, ask the kernel what its whole process tree uses, and end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.scenario import ROOT

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
LOG_TAIL = 2_000


class MeasurementError(Exception):
    """A sample could not be taken; the message says why."""


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, every: float = 0.01) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise MeasurementError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


class Worker:
    """One worker as a user starts it, with everything it forks."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self.started_ns = time.monotonic_ns()
            self._process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def check_alive(self) -> None:
        status = self._process.poll()
        if status is not None:
            raise MeasurementError(f"the worker ended with status {status}: {self.log_tail()}")

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-LOG_TAIL:].strip()

    def tree(self) -> list[int]:
        """Return the ids of the worker and of all its descendants."""
        return _descendants(self._process.pid)

    def pss_mib(self) -> float:
        """Return the proportional set size: memory shared between processes counts once."""
        return sum(_rollup_kib(pid, "Pss") for pid in self.tree()) / 1024

    def own_mib(self) -> float:
        """Return the part of ``pss_mib`` that is no file: whatever else runs on the machine has no share in it."""
        return sum(_rollup_kib(pid, "Pss_Anon") for pid in self.tree()) / 1024

    def cpu_seconds(self) -> float:
        return sum(_cpu_seconds(pid) for pid in self.tree())

    def kill(self) -> None:
        """End the whole tree at once: the queue is wiped afterwards, so nothing needs to be handed back."""
        # Twice, for what a supervisor forked between the look and the blow.
        for _ in range(2):
            for pid in self.tree():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; field 0 is the state."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    tree = [root]
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
            # An orphan has a new parent, but still the session that the worker leads.
            if int(fields[3]) == root and int(entry) != root:
                tree.append(int(entry))
    for pid in tree:
        tree.extend(child for child in children.get(pid, []) if child not in tree)
    return tree


def _rollup_kib(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS if fields else 0.0
