"""
Ending jobs from outside: whose time limit is over, or who did not end when they were interrupted.

A job cannot be taken out of a process, so the process is killed; the supervisor does it, because nothing that a job
does can hold it up. What ran beside that job goes back to its queue, and is not charged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from django_jobs import clock
from django_jobs.worker.markers import Running
from django_jobs.worker.verdict import TERMINATED, TIME_LIMIT, Verdict

logger = logging.getLogger("django_jobs.worker")

#: How often the markers of a child are looked at: a limit is kept to that.
LOOK_SECONDS = 0.2
#: How long a job that was interrupted may take to end.
TERMINATION_SECONDS = 5.0


class HardLimits:
    """Decides which jobs of a child are to be ended now."""

    def __init__(self) -> None:
        #: When a job that is being interrupted is ended, monotonic seconds.
        self._terminated: dict[str, float] = {}

    def terminate(self, job_id: str) -> None:
        """Say that a job is being interrupted."""
        self._terminated.setdefault(job_id, time.monotonic() + TERMINATION_SECONDS)

    def forget(self, job_id: str) -> None:
        """Say that a job is not in flight here any more."""
        self._terminated.pop(job_id, None)

    def verdicts(self, running: Iterable[Running], *, worker: str) -> dict[str, Verdict]:
        """Return those whose time is over, with what is to be said about it."""
        now = time.monotonic()
        found = {}
        for job in running:
            if job.deadline and job.deadline <= now:
                why = TIME_LIMIT
            elif self._terminated.get(job.id, now + 1) <= now:
                why = TERMINATED
            else:
                continue
            found[job.id] = Verdict(why, worker, job.started_ms, clock.now_ms())
        return found
