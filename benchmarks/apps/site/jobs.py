"""The tasks for django_jobs; autodiscovered."""

from __future__ import annotations

from benchmarks.apps import body
from django_jobs import job


@job
def noop(index: int) -> int:
    return body.noop(index)


@job
def nap(index: int) -> int:
    return body.nap(index)


@job
async def async_nap(index: int) -> int:
    return await body.async_nap(index)
