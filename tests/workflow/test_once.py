"""A workflow goes on exactly once from each end, whatever happens to whoever records it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from django_jobs import chain, chord, relay
from django_jobs.brokers import get_broker
from django_jobs.conf import settings
from django_jobs.exceptions import StoreUnavailable
from django_jobs.execution import Delivery, execute
from django_jobs.models import Workflow
from django_jobs.results import get_store
from django_jobs.results.workflows.rows import Workflows
from django_jobs.worker.slots import Finished, read
from django_jobs.workflow.inputs import inputs_of
from tests.workflow.conftest import QUEUES, Stage, TinyWorker
from tests.workflow.tasks import hear, heard


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


@pytest.fixture
def worker(stage: Stage) -> TinyWorker:
    if not isinstance(stage, TinyWorker):
        pytest.skip("there, nothing comes between")
    return stage


def run(worker: TinyWorker) -> list[Finished]:
    """Run what waits, and record nothing of it."""
    relay.finish(10.0)
    claimed = [one for queue in QUEUES for one in get_broker().claim(worker.consumer, queue, 100).jobs]
    batch = []
    for one in claimed:
        job = read(one)
        batch.append(Finished(one, job, execute(job, Delivery(deliveries=one.deliveries, inputs=inputs_of)), 0, 0))  # type: ignore[arg-type]
    return batch


def test_a_batch_that_is_settled_twice_goes_on_once(worker: TinyWorker):
    handle = chord([hear.s(1), hear.s(2)], hear.s() | hear.s("last")).delay()
    batch = run(worker)
    worker.settler.settle(batch)
    get_broker().ack(worker.settler.settle(batch))
    worker.work()
    assert heard[2:] == [([1, 2],), ([1, 2], "last")]
    assert handle.workflow.remaining == 0


def test_an_end_that_was_not_committed_has_opened_nothing(worker: TinyWorker, monkeypatch: pytest.MonkeyPatch):
    chain(hear.s(1), hear.s("next")).delay()
    batch = run(worker)

    def fails(*args: Any, **kwargs: Any) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(Workflows, "note", fails)
        with pytest.raises(StoreUnavailable):
            worker.settler.settle(batch)
    assert run(worker) == []
    get_broker().ack(worker.settler.settle(batch))
    worker.work()
    assert heard == [(1,), (1, "next")]


def test_what_runs_again_opens_nothing_again(worker: TinyWorker):
    handle = chain(hear.s(1), hear.s("next")).delay()
    batch = run(worker)
    worker.settler.settle(batch)
    get_broker().release([one.claimed for one in batch], started=True)  # its acknowledgement was lost
    worker.work()
    assert (handle.get(timeout=0), heard) == (1, [(1,), (1, "next")])


def test_a_member_that_ends_again_is_counted_once(worker: TinyWorker):
    """Somebody has deleted the row of its result meanwhile: only its report says that it has ended."""
    handle = chord([hear.s(1), hear.s(2), hear.s(3)], hear.s()).delay()
    batch = run(worker)
    get_broker().ack(worker.settler.settle(batch[:1]))
    get_store().forget([batch[0].claimed.id])
    get_broker().ack(worker.settler.settle(batch[:2]))
    assert handle.state == "BLOCKED"
    get_broker().ack(worker.settler.settle(batch[2:]))
    worker.work()
    assert handle.get(timeout=0) == [1, 2, 3]
    assert heard[3:] == [([1, 2, 3],)]


def test_a_rollback_leaves_nothing_of_a_workflow(worker: TinyWorker):
    alias = settings.database
    with transaction.atomic(using=alias):
        handle = chain(hear.s(1), hear.s()).apply_async(on_commit=False)
        transaction.set_rollback(True, using=alias)
    worker.work()
    assert heard == []
    assert not Workflow.objects.using(alias).exists()
    assert handle.state == "UNKNOWN"


def test_a_workflow_is_sent_with_the_commit(worker: TinyWorker):
    with transaction.atomic(using=settings.database):
        handle = chain(hear.s(1), hear.s()).delay()
        assert handle.state == "BLOCKED"
        assert heard == []
    worker.work()
    assert handle.get(timeout=0) == 1


def test_a_project_without_time_zones(worker: TinyWorker):
    connections[settings.database].close()  # its zone is found out once
    with override_settings(USE_TZ=False):
        handle = chain(hear.s(1), hear.s(2)).delay()
        worker.work()
        assert handle.state == "SUCCESS"
        assert handle.workflow.ready()
        connections[settings.database].close()
