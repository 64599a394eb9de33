"""A process of the worker's family that runs no jobs, as its supervisor sees it: the keeper, and beat."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from django_jobs.worker import process

logger = logging.getLogger("django_jobs.worker")

#: A process that dies sooner than this after its start is replaced only after a pause, so that a worker that cannot run
#: does not spin.
SHORT_LIFE_SECONDS = 1.0
PAUSE_SECONDS = 1.0


def pause_after(born: float, *, longest: float = PAUSE_SECONDS) -> float:
    """Return how many seconds to wait before replacing a process that was born then (monotonic) and has died now."""
    return longest if time.monotonic() - born < SHORT_LIFE_SECONDS else 0.0


class Companion:
    """A process to start, to replace when it dies, and to end."""

    def __init__(self, name: str, fork: Callable[[Callable[[], int]], int], *, pause: float = PAUSE_SECONDS) -> None:
        #: What it is called in the log.
        self._name = name
        self._fork = fork
        self._pause = pause
        self._pid = 0
        self._born = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int:
        """The process id; 0: there is none right now."""
        return self._pid

    @property
    def start_at(self) -> float | None:
        """When it is to be started (monotonic seconds); None: it runs."""
        return None if self._pid else self._start_at

    @property
    def is_due(self) -> bool:
        """Is it to be started now?"""
        return not self._pid and time.monotonic() >= self._start_at

    def start(self, body: Callable[[], int]) -> bool:
        """Start it. False: the system has no room for it right now."""
        self._born = time.monotonic()
        try:
            self._pid = self._fork(body)
        except OSError as error:
            logger.error("The %s could not be started (%s). Trying again.", self._name, error)  # noqa: TRY400
            self._start_at = time.monotonic() + self._pause
        return bool(self._pid)

    def has_died(self, status: int) -> None:
        """Say that waitpid has named it."""
        self._pid = 0
        pause = pause_after(self._born, longest=self._pause)
        self._start_at = time.monotonic() + pause
        logger.error(
            "The %s died (%s): it is replaced%s",
            self._name,
            process.describe_exit(status),
            f" in {pause:g} s" if pause else "",
        )

    def wait(self, seconds: float) -> None:
        """Wait for its end, which it has been told of, and kill it when it takes longer."""
        deadline = time.monotonic() + seconds
        while self._pid and time.monotonic() < deadline:
            pid, _ = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._pid = 0
                return
            time.sleep(0.01)
        if self._pid:
            process.send_signal(self._pid, signal.SIGKILL)
