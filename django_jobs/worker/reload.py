"""``--reload``: start the worker anew whenever its code changes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from django.utils.autoreload import StatReloader, get_child_arguments

from django_jobs.worker.process import die_with_parent

logger = logging.getLogger("django_jobs.worker")


class _Watcher(StatReloader):
    """Django's own reloader, told to remember a change instead of ending the process."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: Path | None = None

    def notify_file_changed(self, path: str | os.PathLike[str]) -> None:
        self.changed = Path(path)


class Reloader:
    """
    Runs the worker in a process of its own, and replaces that process when a module or template changes.

    The watcher itself claims nothing and runs no job. A worker that ends by itself because its code does not import is
    started again at the next change.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._stopping = False
        self._worker: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Watch until told to stop. Return the worker's exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGTSTP, self._quiet)
        watcher = _Watcher()
        self._start()
        for _ in watcher.tick():
            worker = self._worker
            if worker is not None and worker.poll() is not None:
                if self._stopping or worker.returncode in (0, 2, 3):
                    # Told to stop before it could answer, it has been ended by the signal itself: that is well, too.
                    return max(worker.returncode, 0)
                logger.error("The worker ended (exit code %s); it starts again at the next change", worker.returncode)
                self._worker = None
            if self._stopping and self._worker is None:
                return 0
            if watcher.changed is not None and not self._stopping:
                logger.info("%s changed: starting anew", watcher.changed)
                watcher.changed = None
                self._replace()
        return 0

    def _start(self) -> None:
        # A session of its own: what the terminal sends to its group (Ctrl-C) comes to the watcher alone, who passes on
        # every signal, wherever it is from. Closing the terminal, or killing the watcher, ends the worker with it.
        self._worker = subprocess.Popen(
            self._command,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - no thread runs here
        )
        if self._stopping:  # the signal has come while there was nobody to tell
            self._worker.send_signal(signal.SIGTERM)

    def _replace(self) -> None:
        if self._worker is not None:
            self._worker.send_signal(signal.SIGTERM)
            self._worker.wait()
        if not self._stopping:
            self._start()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        # The worker knows what the second one means. It takes INT for TERM, but its interpreter, while it starts, not.
        self._stopping = True
        if self._worker is not None:
            self._worker.send_signal(signal.SIGTERM)

    def _quiet(self, number: int, frame: FrameType | None) -> None:
        if self._worker is not None:
            self._worker.send_signal(number)


def command_without_reload() -> list[str]:
    """Return this process's own command, with ``--no-reload``."""
    return [*get_child_arguments(), "--no-reload"]
