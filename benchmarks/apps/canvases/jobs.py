"""The tasks of the canvases that are measured; autodiscovered."""

from __future__ import annotations

from django_jobs import job


@job
def number(value: int) -> int:
    """Do nothing: what remains is the cost of the system itself."""
    return value


@job(outbox=True)
def safe_number(value: int) -> int:
    """Do nothing, but with the promise that a step of a canvas has: whatever Redis loses, it runs."""
    return value


@job
def add_one(value: int) -> int:
    """Be a link of a chain."""
    return value + 1


@job
def total(values: list[int]) -> int:
    """Be the body of a chord."""
    return sum(values)
