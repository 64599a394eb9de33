"""What a handle says of its job, at every moment of its life."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from django_jobs import AsyncResult, State, clock
from django_jobs.brokers import get_broker
from django_jobs.identifiers import new_id
from django_jobs.results import get_store
from django_jobs.results.base import Record
from tests.app import jobs
from tests.handles.conftest import TinyWorker


def handles(job_id: str) -> list[AsyncResult[Any]]:
    """The same job with and without its queue."""
    return [AsyncResult(job_id), AsyncResult(job_id, queue="default")]


def states(job_id: str) -> set[str]:
    return {handle.state for handle in handles(job_id)}


def test_from_waiting_to_success(worker: TinyWorker):
    sent = jobs.add.delay(2, 3)
    assert states(sent.id) == {State.PENDING}
    assert not sent.ready()
    assert sent.result is None
    assert (sent.name, sent.args, sent.kwargs, sent.retries) == ("tests.app.jobs.add", [2, 3], {}, 0)
    assert AsyncResult(sent.id).queue == "default"
    claimed = worker.claim()
    assert states(sent.id) == {State.STARTED}
    worker.finish(claimed)
    for handle in handles(sent.id):
        assert handle.state == State.SUCCESS
        assert handle.ready()
        assert handle.successful()
        assert not handle.failed()
        assert (handle.result, handle.info, handle.get()) == (5, 5, 5)
        assert (handle.name, handle.args, handle.kwargs) == ("tests.app.jobs.add", [2, 3], {})
        assert (handle.worker, handle.queue, handle.traceback, handle.parent) == ("tiny/1", "default", None, None)
        assert handle.date_done is not None
        assert handle.date_done.tzinfo is UTC
        assert abs((clock.now() - handle.date_done).total_seconds()) < 20


def test_scheduled(worker: TinyWorker):
    sent = jobs.add.apply_async((1, 1), countdown=600)
    assert states(sent.id) == {State.SCHEDULED}
    assert sent.date_done is None


def test_retry_then_success(worker: TinyWorker):
    sent = jobs.flaky.apply_async((1,), retry_backoff=600)
    worker.run()
    assert states(sent.id) == {State.RETRY}
    handle = AsyncResult[int](sent.id)
    assert (handle.retries, handle.result) == (1, None)
    assert "attempt 1" in (handle.traceback or "")


def test_failure_and_its_hidden_arguments(worker: TinyWorker):
    sent = jobs.fails.delay("no luck", password="hunter2")
    assert sent.kwargs == {"password": "[hidden]"}
    worker.run()
    for handle in handles(sent.id):
        assert handle.state == State.FAILURE
        assert handle.failed()
        assert handle.ready()
        assert isinstance(handle.result, ValueError)
        assert (handle.args, handle.kwargs) == (["no luck"], {"password": "[hidden]"})
        assert "ValueError: no luck" in (handle.traceback or "")


def test_states_of_the_tasks_own_and_progress(worker: TinyWorker):
    sent = jobs.add.delay(1, 2)
    (claimed,) = worker.claim()
    record = Record(sent.id, "tests.app.jobs.add", "default", "COPYING", meta='{"done":3}', enqueued_ms=1)
    get_store().update_meta(record)
    assert states(sent.id) == {"COPYING"}
    assert (sent.info, sent.result) == ({"done": 3}, None)
    worker.broker.release([claimed])
    assert states(sent.id) == {State.PENDING}


def test_unknown(worker: TinyWorker):
    job_id = new_id()
    assert states(job_id) == {State.UNKNOWN}
    handle = AsyncResult[Any](job_id)
    assert (handle.name, handle.args, handle.queue, handle.worker, handle.parent) == (None, None, None, None, None)
    assert not handle.ready()


def test_a_row_that_ended_wins_over_what_the_broker_still_has(worker: TinyWorker):
    sent = jobs.add.delay(1, 2)
    get_store().record([Record(sent.id, "tests.app.jobs.add", "default", "SUCCESS", result="3", enqueued_ms=1)])
    assert states(sent.id) == {State.SUCCESS}
    assert get_broker().find(sent.id, "default") is not None


def test_the_parent_is_a_handle(worker: TinyWorker):
    parent_id, job_id = new_id(), new_id()
    get_store().record([Record(job_id, "t", "default", "SUCCESS", enqueued_ms=1, parent_id=parent_id)])
    assert AsyncResult[Any](job_id).parent == AsyncResult(parent_id)
    assert AsyncResult[Any](parent_id).children == [AsyncResult(job_id)]
    assert AsyncResult[Any](job_id).children == []


def test_arguments_come_back_as_values(worker: TinyWorker):
    sent = jobs.echo.delay({"when": clock.now(), "raw": b"x", "many": (1, 2)})
    shown = sent.args[0]
    worker.run()
    for value in (shown, AsyncResult[Any](sent.id).args[0]):
        assert value["many"] == (1, 2)
        assert value["raw"] == b"x"
        assert value["when"].tzinfo is UTC


def test_handles_are_equal_by_id():
    job_id = new_id()
    first, second = AsyncResult[Any](job_id), AsyncResult[Any](job_id.upper())
    assert first == second
    assert len({first, second}) == 1
    assert first != AsyncResult(new_id())
    assert first != job_id
    assert repr(first) == f"<AsyncResult {job_id}>"
    with pytest.raises(ValueError, match="UUID"):
        AsyncResult("nonsense")
