"""What is written down while a trial runs: plain files that no crash of the product can take back."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

TRIED, ACKED, RUNS = "tried", "acked", "runs"
#: How many jobs may have been sent so far: opened further as the schedule goes on.
GATE = "gate"
#: Every line of RUNS is as long as every other, so the size of the file says how many there are.
_WIDTHS = (36, 8, 17)
LINE = sum(_WIDTHS) + 3


def line_of(job_id: str, pid: int, at: float) -> bytes:
    """Return a line of RUNS: id, process, monotonic seconds, which are the same in all processes of a machine."""
    return f"{job_id:<36} {pid:>8} {at:>17.6f}\n".encode()


class Execution(NamedTuple):
    """One start of a job."""

    id: str
    pid: int
    at: float


class Ledger:
    """The files of one trial."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in (TRIED, ACKED, RUNS):
            (directory / name).touch()

    def started(self) -> int:
        """Count the executions so far, without reading them."""
        return (self.directory / RUNS).stat().st_size // LINE

    def promised(self) -> int:
        """Count what was acknowledged so far."""
        return (self.directory / ACKED).stat().st_size // 37

    def acked(self) -> set[str]:
        return set(self._lines(ACKED))

    def tried(self) -> set[str]:
        return set(self._lines(TRIED))

    def executions(self) -> list[Execution]:
        """Return every start of a job, in order."""
        rows = [line.split() for line in self._lines(RUNS)]
        return [Execution(row[0], int(row[1]), float(row[2])) for row in rows]

    def by_job(self) -> dict[str, list[Execution]]:
        found: dict[str, list[Execution]] = defaultdict(list)
        for execution in self.executions():
            found[execution.id].append(execution)
        return found

    def _lines(self, name: str) -> list[str]:
        return (self.directory / name).read_text().splitlines()


class Notebook:
    """Appends ids, one write each: a process that is killed loses none that it has written."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, job_id: str) -> None:
        os.write(self._descriptor, f"{job_id}\n".encode())
