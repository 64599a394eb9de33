"""The handle of a job."""

from __future__ import annotations

from django_jobs.async_result.handle import AsyncResult

__all__ = ["AsyncResult"]
