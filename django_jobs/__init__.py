"""
Background jobs for Django.

The public names are handed out on first use, so that ``from django_jobs import job`` works while apps are loading.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_jobs.async_result import AsyncResult as AsyncResult
    from django_jobs.async_result import GroupResult as GroupResult
    from django_jobs.async_result import WorkflowResult as WorkflowResult
    from django_jobs.canvas import Signature as Signature
    from django_jobs.canvas import chain as chain
    from django_jobs.canvas import chord as chord
    from django_jobs.canvas import chunks as chunks
    from django_jobs.canvas import group as group
    from django_jobs.canvas import xmap as xmap
    from django_jobs.canvas import xstarmap as xstarmap
    from django_jobs.canvas.failure import MemberFailure as MemberFailure
    from django_jobs.canvas.signature import signature as signature
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
    from django_jobs.exceptions import UpstreamFailed as UpstreamFailed
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
    "GroupResult": "async_result",
    "Ignore": "exceptions",
    "InvalidSchedule": "exceptions",
    "JobInterrupted": "exceptions",
    "MemberFailure": "canvas.failure",
    "Reject": "exceptions",
    "Retry": "exceptions",
    "Signature": "canvas",
    "Snooze": "exceptions",
    "SoftTimeLimitExceeded": "exceptions",
    "State": "states",
    "Task": "task",
    "TimeLimitExceeded": "exceptions",
    "UpstreamFailed": "exceptions",
    "WorkflowResult": "async_result",
    "chain": "canvas",
    "chord": "canvas",
    "chunks": "canvas",
    "crontab": "schedules",
    "current_job": "context",
    "current_job_or_none": "context",
    "get_job_logger": "log",
    "group": "canvas",
    "job": "task",
    "register_type": "serializers",
    "send_job": "task",
    "signature": "canvas",
    "xmap": "canvas",
    "xstarmap": "canvas",
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
