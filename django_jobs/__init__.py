"""
Background jobs for Django.

The public names are handed out on first use, so that ``from django_jobs import job`` works while apps are loading.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_jobs.async_result import AsyncResult as AsyncResult
    from django_jobs.context import current_job as current_job
    from django_jobs.context import current_job_or_none as current_job_or_none
    from django_jobs.exceptions import Ignore as Ignore
    from django_jobs.exceptions import InvalidSchedule as InvalidSchedule
    from django_jobs.exceptions import JobInterrupted as JobInterrupted
    from django_jobs.exceptions import Reject as Reject
    from django_jobs.exceptions import Retry as Retry
    from django_jobs.exceptions import Snooze as Snooze
    from django_jobs.exceptions import SoftTimeLimitExceeded as SoftTimeLimitExceeded
    from django_jobs.exceptions import TimeLimitExceeded as TimeLimitExceeded
    from django_jobs.log import get_job_logger as get_job_logger
    from django_jobs.schedules import crontab as crontab
    from django_jobs.serializers import register_type as register_type
    from django_jobs.states import State as State
    from django_jobs.task import Task as Task
    from django_jobs.task import job as job
    from django_jobs.task import send_job as send_job

__version__ = "0.1.0"

_HOMES = {
    "AsyncResult": "async_result",
    "Ignore": "exceptions",
    "InvalidSchedule": "exceptions",
    "JobInterrupted": "exceptions",
    "Reject": "exceptions",
    "Retry": "exceptions",
    "Snooze": "exceptions",
    "SoftTimeLimitExceeded": "exceptions",
    "State": "states",
    "Task": "task",
    "TimeLimitExceeded": "exceptions",
    "crontab": "schedules",
    "current_job": "context",
    "current_job_or_none": "context",
    "get_job_logger": "log",
    "job": "task",
    "register_type": "serializers",
    "send_job": "task",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 - the names of the mapping are strings


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
