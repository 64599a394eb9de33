"""One process of the site: started in a session of its own, watched, and ended with all of its children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL = 0.05


class SiteError(Exception):
    """The site does not run; the message carries the end of the log that says why."""


class Process:
    """
    A process with its log file.

    It has a session of its own, so Ctrl-C in the terminal reaches the demo alone, which then ends everything in order;
    what is left of its process group after that is killed.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def check(self) -> None:
        """Raise SiteError when the process has ended by itself."""
        if not self.running:
            raise SiteError(f"The {self.name} has ended with exit code {self.popen.returncode}:\n{self.tail()}")

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until the condition holds; raises SiteError when the process ends before, or the time is up."""
        deadline = time.monotonic() + timeout
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise SiteError(f"The {self.name} {what} within {timeout:.0f} s:\n{self.tail()}")
            time.sleep(POLL)

    def tail(self, lines: int = 15) -> str:
        """Return the end of the log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return "(no log)"

    def terminate(self) -> None:
        """Ask the process to end."""
        if self.running:
            self.popen.send_signal(signal.SIGTERM)

    def end(self, timeout: float) -> int:
        """Wait for its end, kill what does not end in time, and return the exit code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.popen.wait()
