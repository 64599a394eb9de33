"""
Testing code that sends jobs, without a broker, without a worker and without waiting.

The public names are handed out on first use: pytest imports this package for its plugin before Django is configured.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_jobs.testing.captured import EnqueuedJob as EnqueuedJob
    from django_jobs.testing.captured import Run as Run
    from django_jobs.testing.helpers import advance as advance
    from django_jobs.testing.helpers import assert_enqueued as assert_enqueued
    from django_jobs.testing.helpers import assert_not_enqueued as assert_not_enqueued
    from django_jobs.testing.helpers import capture_jobs as capture_jobs
    from django_jobs.testing.helpers import drain as drain
    from django_jobs.testing.helpers import eager as eager
    from django_jobs.testing.jobs import Jobs as Jobs
    from django_jobs.testing.memory import MemoryBroker as MemoryBroker
    from django_jobs.testing.testcase import JobsTestMixin as JobsTestMixin

_HOMES = {
    "EnqueuedJob": "captured",
    "Jobs": "jobs",
    "JobsTestMixin": "testcase",
    "MemoryBroker": "memory",
    "Run": "captured",
    "advance": "helpers",
    "assert_enqueued": "helpers",
    "assert_not_enqueued": "helpers",
    "capture_jobs": "helpers",
    "drain": "helpers",
    "eager": "helpers",
}

__all__ = [*_HOMES]  # noqa: PLE0604 - the names of the mapping are strings


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
