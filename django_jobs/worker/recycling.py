"""When a process has done enough, and another one is to take its place."""

from __future__ import annotations

import logging
import sys
import time

from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.memory import resident_kib

logger = logging.getLogger("django_jobs.worker")

#: How often memory is looked at.
MEMORY_SECONDS = 1.0


class Recycling:
    """Watches a process's jobs and memory against ``--max-jobs-per-child`` and ``--max-memory-per-child``."""

    def __init__(self, config: WorkerConfig) -> None:
        self._most_jobs = config.max_jobs_per_child or sys.maxsize
        self._most_kib = config.max_memory_per_child
        self._next_look = 0.0

    def room(self, jobs: int) -> int:
        """Return how many more jobs this process may take, after so many."""
        return max(0, self._most_jobs - jobs)

    def is_due(self, ended_jobs: int) -> bool:
        """Say whether the process has run its jobs, or uses too much memory."""
        if ended_jobs >= self._most_jobs:
            return True
        # A process that has run nothing would be replaced by one that is as large.
        if not self._most_kib or not ended_jobs or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + MEMORY_SECONDS
        used = resident_kib()
        if used > self._most_kib:
            logger.info("This process uses %d KiB: it ends what it runs, and is replaced", used)
        return used > self._most_kib
