"""What the head of a worker is told by signals, as plain flags that its loop looks at."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from django_jobs.worker import process


class HeadSignals:
    """
    TERM, INT, HUP: stop, and a second one: at once. QUIT: at once. TSTP: claim nothing more. TTIN: show the stacks.

    HUP is the end of a terminal, QUIT what Ctrl-\\ sends: both are a way to stop, not a crash.
    """

    def __init__(self) -> None:
        #: 1: stop, and let what runs end; more: at once.
        self.stops = 0
        self.is_quiet = False
        self._pipe = os.pipe()

    def install(self, dump: Callable[[], None]) -> None:
        """Answer signals from now on. Called by the main thread."""
        read, write = self._pipe
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        # The wake-up pipe turns signals into something select() sees, so none is missed between two looks.
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores HUP
                signal.signal(number, self._stop)
        signal.signal(signal.SIGQUIT, self._stop_at_once)
        signal.signal(signal.SIGTSTP, self._quiet)
        signal.signal(signal.SIGTTIN, lambda *_: dump())

    def fileno(self) -> int:
        """Return what becomes readable when a signal has come."""
        return self._pipe[0]

    def clear(self) -> None:
        """Make it unreadable until the next."""
        os.read(self._pipe[0], 4096)

    def leave_to_parent(self) -> None:
        """Answer none of them any more: in a process that was forked, and is told by the head what to do."""
        signal.set_wakeup_fd(-1)
        for descriptor in self._pipe:
            os.close(descriptor)
        # These go to the whole group of a terminal: only the head answers them.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGTSTP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGTTIN, process.dump_stacks)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stops += 1

    def _stop_at_once(self, number: int, frame: FrameType | None) -> None:
        self.stops += 2

    def _quiet(self, number: int, frame: FrameType | None) -> None:
        self.is_quiet = True
