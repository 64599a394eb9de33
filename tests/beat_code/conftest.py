"""Code that declares periodic tasks, and commands that look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import override_settings

from django_jobs.beat.sync import Change, sync
from django_jobs.models import PeriodicTask
from django_jobs.registry import registry
from tests.operate.conftest import Answer, run_jobs

ADD = "tests.app.jobs.add"
ECHO = "tests.app.jobs.echo"
NOTHING = "tests.app.jobs.nothing"


def entry(**given: Any) -> dict[str, Any]:
    """Return an entry of SCHEDULE that is right."""
    return {"task": NOTHING, "schedule": "30 2 * * *", **given}


@contextmanager
def declaring(**entries: Mapping[str, Any]) -> Iterator[None]:
    """Be code that declares these in its settings."""
    with override_settings(DJANGO_JOBS={"SCHEDULE": entries}):
        yield


def synced(**entries: Mapping[str, Any]) -> list[str]:
    """Sync as code that declares these; return what it says."""
    with declaring(**entries):
        return [str(change) for change in sync()]


def kinds(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.name, change.kind.value) for change in changes]


def row(name: str = "nightly") -> PeriodicTask:
    return PeriodicTask.objects.get(name=name)


def edit(name: str = "nightly", **columns: Any) -> None:
    """Be an operator."""
    assert PeriodicTask.objects.filter(name=name).update(**columns) == 1


@pytest.fixture
def jobs_command() -> Callable[..., Answer]:
    """Return a function that runs ``manage.py jobs`` with these arguments."""
    return run_jobs


@pytest.fixture
def registered() -> Iterator[None]:
    """Take out the tasks that a test makes."""
    before = {task.name for task in registry}
    yield
    for task in list(registry):
        if task.name not in before:
            registry.unregister(task)
