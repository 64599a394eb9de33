"""When a job leaves the process, and what is said when it cannot."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from django_jobs import dispatch
from django_jobs.exceptions import EnqueueError, JobsConfigurationError
from django_jobs.signals import job_enqueued
from django_jobs.task import Task
from tests.brokers.silent import SilentServer
from tests.core import tasks
from tests.core.conftest import RECORDING
from tests.core.recording import RecordingBroker, recording

Make = Callable[..., Task[..., Any]]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def task(task_of: Make, broker: RecordingBroker) -> Task[..., Any]:
    return task_of(tasks.add)


def sent() -> list[Any]:
    return [job.args[0] for job in recording().jobs]


class Rollback(Exception):
    pass


@contextmanager
def rolled_back() -> Iterator[None]:
    """A block whose changes an error undoes."""
    with suppress(Rollback), transaction.atomic():
        yield
        raise Rollback


# Transactions


def test_outside_of_a_transaction_a_job_is_sent_at_once(task: Task[..., Any]):
    task.delay(1)
    assert sent() == [1]


def test_inside_of_one_it_is_sent_with_the_commit(task: Task[..., Any]):
    with transaction.atomic():
        handle = task.delay(1)
        task.enqueue_many([((2,), {}), ((3,), {})])
        assert sent() == []
    assert sent() == [1, 2, 3]
    assert recording().jobs[0].id == handle.id


def test_a_rollback_drops_the_job(task: Task[..., Any]):
    with rolled_back():
        task.delay(1)
    assert sent() == []


def test_a_rollback_to_a_savepoint_drops_the_jobs_after_it(task: Task[..., Any]):
    with transaction.atomic():
        task.delay(1)
        with rolled_back():
            task.delay(2)
        with transaction.atomic():
            task.delay(3)
        assert sent() == []
    assert sent() == [1, 3]


def test_a_mistake_is_told_at_the_call_also_inside_a_transaction(task: Task[..., Any], settings: Settings):
    settings.DJANGO_JOBS = {"BROKER": "nonsense://x"}
    with transaction.atomic(), pytest.raises(JobsConfigurationError, match="which is not a broker's URL"):
        task.delay(1)


@pytest.mark.parametrize(
    ("project", "of_task", "call", "waits"),
    [
        ({}, {}, {}, True),
        ({"ON_COMMIT": False}, {}, {}, False),
        ({"ON_COMMIT": False}, {"on_commit": True}, {}, True),
        ({}, {"on_commit": False}, {}, False),
        ({}, {"on_commit": False}, {"on_commit": True}, True),
        ({}, {}, {"on_commit": False}, False),
        ({"ON_COMMIT": False}, {"on_commit": True}, {"on_commit": None}, False),
    ],
)
def test_the_most_specific_place_says_whether_a_job_waits(
    task_of: Make, settings: Settings, project: Any, of_task: Any, call: Any, waits: bool
):
    settings.DJANGO_JOBS = RECORDING | project
    with transaction.atomic():
        task_of(tasks.add, **of_task).apply_async((1,), **call)
        assert sent() == ([] if waits else [1])
    assert sent() == [1]


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_job_joins_the_transaction_of_the_database_that_it_names(task_of: Make, settings: Settings):
    other = next((alias for alias in settings.DATABASES if alias != "default"), None)
    if other is None:
        pytest.skip("the only database of this run is default")
    settings.DJANGO_JOBS = RECORDING
    task = task_of(tasks.add)
    with transaction.atomic(other):
        task.delay(1)
        assert sent() == [1]
        task.apply_async((2,), using=other)
        assert sent() == [1]
    assert sent() == [1, 2]


@pytest.mark.django_db(transaction=False)
def test_the_tools_of_django_for_tests_see_the_job(
    task: Task[..., Any], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
):
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        task.delay(1)
        assert sent() == []
    assert len(callbacks) == 1
    assert sent() == [1]


def test_a_job_that_a_commit_hook_sends_leaves_at_once(task: Task[..., Any]):
    with transaction.atomic():
        transaction.on_commit(lambda: task.delay(2) and None)
        task.delay(1)
        transaction.on_commit(lambda: task.delay(3) and None)
    assert sent() == [2, 1, 3]


# A broker that is away


@pytest.fixture(autouse=True)
def whole() -> Any:
    """Let no failure of one test break the next."""
    dispatch._broken_until = 0.0
    yield
    dispatch._broken_until = 0.0


def test_a_failure_is_an_error_that_names_the_job(task: Task[..., Any]):
    recording().away = True
    with pytest.raises(EnqueueError) as caught:
        task.delay(1)
    (batch,) = recording().batches
    assert caught.value.job_ids == tuple(batch)
    assert str(caught.value) == f"tests.core.tasks.add[{batch[0]}] could not be sent: The test has pulled the plug."


def test_a_failure_of_many_says_how_many(task: Task[..., Any]):
    recording().away = True
    with pytest.raises(EnqueueError, match=r"tests\.core\.tasks\.add\[[-0-9a-f]+\] and 4 more jobs could not be sent"):
        task.enqueue_many([((n,), {}) for n in range(5)])


def test_after_a_failure_the_next_calls_fail_at_once(task: Task[..., Any], monkeypatch: pytest.MonkeyPatch):
    recording().away = True
    for _ in range(3):
        with pytest.raises(EnqueueError):
            task.delay(1)
    assert len(recording().batches) == 1, "ten calls of a request never cost ten timeouts"
    with pytest.raises(EnqueueError, match=r"was away a moment ago \(The test has pulled the plug\.\)"):
        task.delay(1)
    recording().away = False
    moment = time.monotonic() + dispatch.BREAK_SECONDS
    monkeypatch.setattr("django_jobs.dispatch.time.monotonic", lambda: moment)
    task.delay(2)
    assert sent() == [2]


def test_another_broker_is_not_broken_by_the_first(task: Task[..., Any], settings: Settings):
    recording().away = True
    with pytest.raises(EnqueueError):
        task.delay(1)
    settings.DJANGO_JOBS = RECORDING | {"PREFIX": "other"}
    task.delay(2)
    assert sent() == [2]


def test_a_redis_that_is_away_costs_no_more_than_the_timeout(task: Task[..., Any], settings: Settings):
    with SilentServer() as silent:
        settings.DJANGO_JOBS = {"BROKER": silent.url, "ENQUEUE_TIMEOUT": 0.3}
        start = time.monotonic()
        with pytest.raises(EnqueueError):
            task.delay(1)
        assert 0.2 < time.monotonic() - start < 10
        assert silent.connections == 1


def test_jobs_of_a_commit_are_all_tried_and_the_last_raises(
    task: Task[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(dispatch, "BREAK_SECONDS", 0.0)
    broker = recording()

    @transaction.atomic
    def request() -> None:
        handles = [task.delay(n) for n in range(5)]
        broker.refused = {handles[0].id, handles[2].id}

    with caplog.at_level(logging.ERROR, "django_jobs"), pytest.raises(EnqueueError) as caught:
        request()
    assert sent() == [1, 3, 4], "a failure does not drop the jobs after it"
    assert set(caught.value.job_ids) == broker.refused
    assert "2 jobs of a transaction that has been committed could not be sent" in str(caught.value)
    assert [record.message.count("has been committed") for record in caplog.records] == [1, 1]


def test_a_failure_of_a_commit_does_not_haunt_the_next_one(task: Task[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dispatch, "BREAK_SECONDS", 0.0)
    recording().away = True
    with pytest.raises(EnqueueError), transaction.atomic():
        task.delay(1)
    recording().away = False
    with transaction.atomic():
        task.delay(2)
    assert sent() == [2]


def test_jobs_of_a_savepoint_that_was_rolled_back_inherit_no_failure(
    task: Task[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dispatch, "BREAK_SECONDS", 0.0)

    @transaction.atomic
    def request() -> None:
        recording().refused = {task.delay(1).id}
        with rolled_back():
            task.delay(2)

    with pytest.raises(EnqueueError) as caught:
        request()
    assert set(caught.value.job_ids) == recording().refused, "the error is raised, not left with a job that is gone"


# Signals


@pytest.fixture
def heard() -> Iterator[list[tuple[Any, Any]]]:
    """What was announced: task and arguments."""
    found: list[tuple[Any, Any]] = []

    def listen(sender: Any, job: Any, **kwargs: Any) -> None:
        found.append((sender, job.args))

    job_enqueued.connect(listen)
    yield found
    job_enqueued.disconnect(listen)


def test_who_listens_hears_of_what_was_added(task: Task[..., Any], heard: list[tuple[Any, Any]]):
    with transaction.atomic():
        handle = task.delay(1)
        assert heard == []
    task.apply_async((1,), job_id=handle.id)
    recording().away = True
    with pytest.raises(EnqueueError):
        task.delay(3)
    assert heard == [(task, (1,))], "what was known already, or could not be sent, is not announced"


def test_a_job_that_is_a_row_of_the_transaction_is_announced_after_its_commit(
    task_of: Make, settings: Settings, heard: list[tuple[Any, Any]]
):
    settings.DJANGO_JOBS = {"BROKER": "database://default"}
    task = task_of(tasks.add)
    with transaction.atomic():
        handle = task.delay(1)
        with rolled_back():
            task.delay(2)
        assert heard == []
    assert heard == [(task, (1,))]
    with rolled_back():
        task.delay(3)
    with transaction.atomic():
        task.apply_async((1,), job_id=handle.id)
    task.delay(4)
    assert heard == [(task, (1,)), (task, (4,))], "neither what was rolled back nor what was known already"
