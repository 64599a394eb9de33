"""Tasks of one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobs.registry import registry
from django_jobs.task import Task, job


@pytest.fixture
def task_of() -> Iterator[Callable[..., Task[..., Any]]]:
    """Make a task of a function; it is taken out of the registry after the test."""
    made: list[Task[..., Any]] = []

    def make(function: Callable[..., Any], **options: Any) -> Task[..., Any]:
        function.__qualname__ = function.__name__
        made.append(job(**options)(function))
        return made[-1]

    yield make
    for task in made:
        registry.unregister(task)
