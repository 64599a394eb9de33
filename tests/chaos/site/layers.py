"""What every job of the canvases goes through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django_jobs.envelope import Job
from django_jobs.middleware import Middleware
from tests.chaos.site.jobs import write_down


class WritesDown(Middleware):
    """Writes every run into the ledger, before the task does anything."""

    def run(self, job: Job, call_next: Callable[[Job], Any]) -> Any:
        """Write the run down, and run."""
        write_down()
        return call_next(job)

    async def arun(self, job: Job, call_next: Callable[[Job], Awaitable[Any]]) -> Any:
        """Write the run down, and run."""
        write_down()
        return await call_next(job)
