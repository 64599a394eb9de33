"""Pauses after errors of broker or store, longer and longer."""

from __future__ import annotations

import logging
import time

from django.db import connections

logger = logging.getLogger("django_jobs.worker")

#: The first pause and the longest.
FIRST_SECONDS, LONGEST_SECONDS = 0.05, 1.0


class Backoff:
    """How long a thread waits before it tries again what has failed."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def pause(self, error: Exception) -> None:
        """Wait, with no connection of this thread left open. The first error of a row is logged."""
        if not self._seconds:
            text = str(error)
            logger.warning("%s%s Trying again.", text, "" if text.endswith((".", "!", "?", ")")) else ".")
        self._seconds = min(LONGEST_SECONDS, max(FIRST_SECONDS, self._seconds * 2))
        connections.close_all()
        time.sleep(self._seconds)

    def end(self) -> None:
        """Say that it has worked."""
        self._seconds = 0.0
