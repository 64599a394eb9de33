"""Tasks with the options of one test, and the broker that notes what they send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from django_jobs.registry import registry
from django_jobs.task import Task, job
from tests.core import tasks
from tests.core.recording import RecordingBroker, recording

RECORDING = {"BROKER": {"BACKEND": "tests.core.recording.RecordingBroker"}}


@pytest.fixture
def task_of() -> Iterator[Callable[..., Task[..., Any]]]:
    """Make a task of a function, with options; it is taken out of the registry after the test."""
    made: list[Task[..., Any]] = []

    def make(function: Callable[..., Any], **options: Any) -> Task[..., Any]:
        made.append(job(**options)(function))
        return made[-1]

    yield make
    for task in made:
        registry.unregister(task)
    tasks.CALLS.clear()


@pytest.fixture
def broker(settings: Settings) -> RecordingBroker:
    settings.DJANGO_JOBS = RECORDING
    return recording()
