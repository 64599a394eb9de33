"""Beat as the supervisor of a worker sees it: what it is made of comes from outside, because beat knows no worker."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Protocol

from django_jobs.worker import process
from django_jobs.worker.companion import Companion


class Service(Protocol):
    """What runs in a process of its own until it is stopped."""

    def run(self) -> int:
        """Run, and return the exit code."""
        ...

    def stop(self, *_: object) -> None:
        """Stop soon; a signal handler."""
        ...


class BeatProcess(Companion):
    """Starts, replaces and stops the beat of one worker; without ``make`` there is none."""

    def __init__(
        self, fork: Callable[[Callable[[], int]], int], make: Callable[[], Service] | None, *, worker: str
    ) -> None:
        super().__init__("beat", fork)
        self._make = make
        self._worker = worker

    @property
    def start_at(self) -> float | None:
        """When it is to be started (monotonic seconds); None: it runs, or is not to run."""
        return None if self._make is None else super().start_at

    def start_if_due(self) -> None:
        """Start it when it is wanted, and not there."""
        if self._make is not None and self.is_due:
            self.start(self._run)

    def has_died(self, status: int) -> None:
        """Say that waitpid has named it. That it ends when it is told to is no news."""
        if self._make is None:
            self._pid = 0
        else:
            super().has_died(status)

    def stop(self) -> None:
        """Tell it to end, and have it stay away."""
        self._make = None
        if self._pid:
            process.send_signal(self._pid, signal.SIGTERM)

    def _run(self) -> int:
        assert self._make is not None
        process.set_title(f"django-jobs: {self._worker} beat")
        beat = self._make()
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # Ctrl-Z tells the whole group
        signal.signal(signal.SIGTERM, beat.stop)
        process.admit_signals()
        return beat.run()
