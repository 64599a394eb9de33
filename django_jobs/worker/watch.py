"""
The thread of a process that interrupts its jobs: at their soft time limits, and when they are revoked.

It also hears what the supervisor has to say. A signal reaches the main thread, which may be in a job; this thread is
there whatever the jobs do, as long as they let the interpreter go.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django_jobs.envelope import Job
from django_jobs.exceptions import JobInterrupted, SoftTimeLimitExceeded
from django_jobs.options import TaskOptions
from django_jobs.retry import as_seconds
from django_jobs.worker.channel import Channel
from django_jobs.worker.interrupts import Interruptible, Interruption
from django_jobs.worker.markers import RunningMarkers
from django_jobs.worker.process import own_errors_are_fatal

#: An interruption that has not reached its job is repeated after this long: see ``Interruptible.remind``.
REMIND_SECONDS = 0.25


@dataclass(slots=True, eq=False)
class _Interruption:
    """What a job in a slot is to be interrupted by, and when. Few jobs have one."""

    slot: Interruptible
    exception: Interruption
    #: Monotonic seconds.
    due: float
    #: What it has been interrupted by.
    told: Interruption | None = None


class Watch:
    """Keeps the limits of the jobs of one process, and passes on the orders of its supervisor."""

    def __init__(self, markers: RunningMarkers, orders: Channel | None = None) -> None:
        self._markers = markers
        self._orders = orders
        #: What to do about an order: name -> function. Complete before ``start``.
        self.answers: dict[str, Callable[[dict[str, Any]], None]] = {}
        #: Jobs in a slot, with the number of their marker.
        self._running: dict[str, tuple[Interruptible, int]] = {}
        self._interruptions: dict[str, _Interruption] = {}
        self._lock = threading.RLock()
        #: When the thread looks next.
        self._looks_at = math.inf
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._is_stopped = False

    # For the slots

    def enter(self, job_id: str, slot: Interruptible, started_ms: int) -> None:
        """Say that a job starts in this slot."""
        self._running[job_id] = slot, self._markers.start(job_id, started_ms)

    def leave(self, job_id: str) -> None:
        """Say that it has ended."""
        self._markers.end(self._running.pop(job_id)[1])
        if self._interruptions:
            self._interruptions.pop(job_id, None)

    def begin(self, job: Job, options: TaskOptions, slot: Interruptible) -> None:
        """Say that the function of a job starts now, within the limits that its options declare."""
        if options.time_limit is not None:
            deadline = time.monotonic() + as_seconds(options.time_limit)
            self._markers.limit(self._running[job.id][1], deadline)
        if options.soft_time_limit is not None:
            self._set_due(job.id, time.monotonic() + as_seconds(options.soft_time_limit), SoftTimeLimitExceeded)

    def interrupt(self, job_id: str) -> None:
        """End a job that was revoked, if it runs here."""
        self._set_due(job_id, time.monotonic(), JobInterrupted)

    def _set_due(self, job_id: str, due: float, exception: Interruption) -> None:
        with self._lock:
            known, running = self._interruptions.get(job_id), self._running.get(job_id)
            if running is None or (known is not None and known.exception is JobInterrupted):
                return
            self._interruptions[job_id] = _Interruption(running[0], exception, due)
            if due < self._looks_at:
                self._looks_at = due
                self._wake()

    @property
    def ids(self) -> list[str]:
        """The jobs that are in a slot right now."""
        return list(self._running)

    # The thread

    def start(self) -> None:
        """Start the thread. It lives until ``stop``, or as long as its process."""
        threading.Thread(target=self._run, name="django-jobs-watch", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end."""
        with self._lock:
            self._wake()
            self._is_stopped = True

    def _wake(self) -> None:
        with self._lock, suppress(BlockingIOError):  # a pipe that is full wakes it, too
            if not self._is_stopped:
                os.write(self._pipe[1], b"!")

    def _run(self) -> None:
        with own_errors_are_fatal():
            while not self._is_stopped:
                self._wait()
                self._enforce()
        for descriptor in self._pipe:
            os.close(descriptor)

    def _wait(self) -> None:
        timeout = None if self._looks_at == math.inf else max(0.0, self._looks_at - time.monotonic())
        readers = [self._pipe[0], *([self._orders.fileno()] if self._orders is not None else [])]
        readable, _, _ = select.select(readers, [], [], timeout)
        if self._pipe[0] in readable:
            os.read(self._pipe[0], 4096)
        if readable and readable != [self._pipe[0]]:
            self._hear()

    def _hear(self) -> None:
        assert self._orders is not None
        try:
            messages = self._orders.receive()
        except (EOFError, OSError):  # the supervisor is gone, and soon this process is, too
            self._orders = None
            return
        for message in messages:
            self.answers[message["do"]](message)

    def _enforce(self) -> None:
        now = time.monotonic()
        with self._lock:
            for job_id, interruption in list(self._interruptions.items()):
                if job_id not in self._running:  # it ended while this was noted down
                    self._interruptions.pop(job_id, None)
                elif interruption.due <= now:
                    self._interrupt(job_id, interruption, now)
            self._looks_at = min((known.due for known in list(self._interruptions.values())), default=math.inf)

    @staticmethod
    def _interrupt(job_id: str, interruption: _Interruption, now: float) -> None:
        slot, exception = interruption.slot, interruption.exception
        if interruption.told is None:
            interruption.told = exception if slot.interrupt(job_id, exception) else None
            is_done = False
        else:
            is_done = not slot.remind(job_id)
        interruption.due = math.inf if is_done else now + REMIND_SECONDS
