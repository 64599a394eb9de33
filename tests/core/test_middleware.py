"""Middleware nests around sending and running, as Django's does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from django_jobs.envelope import Job
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.execution import aexecute, execute
from django_jobs.outcome import Failed, Retried, Succeeded
from django_jobs.task import Task
from tests.core import layers, tasks
from tests.core.conftest import RECORDING
from tests.core.recording import recording

Make = Callable[..., Task[..., Any]]


@pytest.fixture
def install(settings: Settings) -> Callable[..., None]:
    layers.SEEN.clear()

    def use(*names: str) -> None:
        settings.DJANGO_JOBS = RECORDING | {"MIDDLEWARE": [f"tests.core.layers.{name}" for name in names]}

    return use


def test_the_first_is_the_outermost(install: Callable[..., None], task_of: Make):
    install("Outer", "Silent", "Inner")
    task = task_of(tasks.returns)
    outcome = execute(Job(id="x", task=task.name, queue="q", packed_args=[7]))
    assert outcome == Succeeded(b'{"$":"tuple","v":["wrapped",7]}')
    assert layers.SEEN == ["outer run", "inner run", "outer ran"]


def test_a_failure_passes_through_the_middleware(install: Callable[..., None], task_of: Make):
    install("Outer")
    tasks.CALLS["it"] = lambda: 1 / 0
    outcome = execute(Job(id="x", task=task_of(tasks.run).name, queue="q", packed_args=["it"]))
    assert isinstance(outcome, Failed)
    assert layers.SEEN == ["outer run", "outer ran"]


def test_what_middleware_raises_is_the_error_of_the_job(install: Callable[..., None], task_of: Make):
    install("Outer", "Raises")
    outcome = execute(Job(id="x", task=task_of(tasks.who, autoretry_for=OSError).name, queue="q"))
    assert isinstance(outcome, Retried)
    assert outcome.error.text == "from the middleware"
    assert layers.SEEN == ["outer run", "outer ran"]


async def test_async_tasks_have_their_own_hook(install: Callable[..., None], task_of: Make):
    install("Outer", "Silent", "Inner")
    outcome = await aexecute(Job(id="x", task=task_of(tasks.awho).name, queue="q"))
    assert outcome == Succeeded(b'{"$":"tuple","v":["wrapped","x"]}')
    assert layers.SEEN == ["outer arun", "inner arun"]


@pytest.mark.django_db(transaction=True)
def test_a_job_may_be_changed_on_its_way_out(install: Callable[..., None], task_of: Make):
    install("Outer", "Inner")
    task_of(tasks.add).apply_async((1,), headers={"a": "b"})
    (job,) = recording().jobs
    assert job.headers == {"a": "b", "tenant": "acme"}
    assert layers.SEEN == [
        "outer enqueue {'a': 'b'}",
        "inner enqueue {'a': 'b', 'tenant': 'acme'}",
        "outer enqueued",
    ]


@pytest.mark.django_db(transaction=True)
def test_a_job_may_be_dropped(install: Callable[..., None], task_of: Make):
    install("DropsMail")
    task = task_of(tasks.add)
    task.apply_async((1,), queue="mail")
    task.apply_async((2,))
    assert [job.args for job in recording().jobs] == [(2,)]


@pytest.mark.parametrize(
    ("name", "says"), [("Missing", "cannot be imported"), ("NotOne", "must be a subclass of django_jobs.middleware")]
)
def test_what_is_no_middleware_is_said(install: Callable[..., None], task_of: Make, name: str, says: str):
    install(name)
    with pytest.raises(JobsConfigurationError, match=says):
        task_of(tasks.add).delay(1)
    outcome = execute(Job(id="x", task="tests.core.tasks.add", queue="q", packed_args=[1]))
    assert isinstance(outcome, Failed)
    assert says in outcome.error.text
