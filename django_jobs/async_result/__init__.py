"""The handles of jobs and groups."""

from __future__ import annotations

from django_jobs.async_result.group import GroupResult
from django_jobs.async_result.handle import AsyncResult
from django_jobs.async_result.workflow import WorkflowResult

__all__ = ["AsyncResult", "GroupResult", "WorkflowResult"]
