"""Retry, discard and revoke: each once, whoever asks and however often."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from django_jobs import AsyncResult, State, clock, operations, relay
from django_jobs.brokers import get_broker, use_broker
from django_jobs.brokers.base import Found, Message
from django_jobs.exceptions import BrokerUnavailable, EnqueueError, JobsError
from django_jobs.identifiers import new_id
from django_jobs.operations import Summary, summary
from django_jobs.results import get_store, use_store
from django_jobs.results.base import Record, StoredResult
from django_jobs.states import Place
from django_jobs.testing.memory import MemoryBroker
from django_jobs.testing.store import MemoryStore
from tests.app import jobs
from tests.handles.conftest import TinyWorker


def stored(job_id: str) -> StoredResult:
    found = get_store().get(job_id)
    assert found is not None
    return found


def fail(worker: TinyWorker, text: str = "no luck") -> str:
    sent = jobs.fails.delay(text)
    worker.run()
    assert sent.failed()
    return sent.id


class TestRetry:
    def test_a_failed_job_is_sent_again_with_all_its_attempts(self, worker: TinyWorker):
        sent = jobs.flaky.apply_async((9,), max_retries=1, retry_backoff=0.001)
        worker.run()
        while sent.state != State.FAILURE:
            worker.run()
        before = stored(sent.id)
        assert operations.retry([sent.id], by="ann") == Summary(done=1)
        row, history = stored(sent.id)
        assert (row.state, row.retries, row.exception, row.finished_ms) == ("PENDING", 0, "", None)
        assert row.fence >> 16 == 2
        assert history.startswith(before.history)
        line = json.loads(history.splitlines()[-1])
        assert (line["state"], line["exception"], line["retried_by"]) == ("FAILURE", "attempt 2", "ann")
        assert "Traceback" in line["traceback"]
        handle = AsyncResult[int](sent.id)
        assert (handle.state, handle.retries) == (State.PENDING, 0)
        worker.run()
        assert stored(sent.id).record.state == "RETRY"

    def test_the_next_run_is_recorded(self, worker: TinyWorker):
        job_id = fail(worker)
        for attempt in range(2, 4):
            assert AsyncResult[Any](job_id).retry().state == State.PENDING
            worker.run()
            row, history = stored(job_id)
            assert (row.state, row.fence >> 16) == ("FAILURE", attempt - 1)
            assert len(history.splitlines()) == attempt - 1

    def test_a_moment_and_an_expiry_that_are_over_do_not_stop_it(self, worker: TinyWorker):
        sent = jobs.add.apply_async((1, 1), expires=-1)
        worker.run()
        assert stored(sent.id).record.exception_type.endswith("JobExpired")
        assert operations.retry([sent.id]).done == 1
        worker.run()
        assert AsyncResult[int](sent.id).get(timeout=5) == 2

    def test_what_cannot_be_retried_is_skipped(self, worker: TinyWorker):
        good, waiting = jobs.add.delay(1, 1), jobs.add.apply_async((1, 2), countdown=600)
        worker.run()
        lost, odd = new_id(), new_id()
        record = Record(lost, "t", "default", "FAILURE", enqueued_ms=1)
        get_store().record([record, record._replace(id=odd, message="not a message")])
        ids = [good.id, waiting.id, lost, odd, new_id()]
        assert operations.retry(ids) == Summary(skipped=5)
        with pytest.raises(JobsError, match="cannot be sent again"):
            good.retry()

    def test_many_operators_at_once_retry_once(self, worker: TinyWorker):
        ids = [fail(worker) for _ in range(12)]

        def ask(_: int) -> int:
            try:
                return operations.retry(ids).done
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(ask, range(4))) == 12
        assert get_broker().counts(["default"])[0].ready == 12
        assert {json.loads(line)["attempt"] for i in ids for line in stored(i).history.splitlines()} == {1}
        assert all(len(stored(i).history.splitlines()) == 1 for i in ids)

    def test_more_than_a_batch(self, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(summary, "BATCH", 5)
        ids = [fail(worker) for _ in range(12)]
        assert operations.retry([*ids, new_id()]) == Summary(done=12, skipped=1)
        assert get_broker().counts(["default"])[0].ready == 12

    def test_it_joins_an_open_transaction(self, worker: TinyWorker):
        job_id = fail(worker)
        with transaction.atomic():
            assert operations.retry([job_id]).done == 1
            transaction.set_rollback(True)
        assert stored(job_id).record.state == "FAILURE"
        assert get_broker().find(job_id, "default") is None
        with transaction.atomic():
            operations.retry([job_id])
        assert stored(job_id).record.state == "PENDING"
        assert get_broker().find(job_id, "default") is not None

    def test_a_job_whose_ack_was_lost_is_not_lost_itself(self, on_redis: dict[str, Any], worker: TinyWorker):
        """The worker died between row and ack, and an operator was faster than the redelivery."""
        sent = jobs.fails.delay("no luck")
        (claimed,) = worker.claim()
        worker.record_only(claimed)
        assert operations.retry([sent.id]).done == 1
        worker.broker.release([claimed], started=True)
        (again,) = worker.claim()
        assert again.deliveries == 1
        assert worker.settler.check_redelivered([again]) == []
        worker.run()
        row = stored(sent.id).record
        assert (row.state, row.fence >> 16) == ("FAILURE", 1)

    def test_a_broker_that_is_away_gets_it_when_it_is_back(self, on_redis: dict[str, Any], worker: TinyWorker):
        job_id = fail(worker)
        with override_settings(DJANGO_JOBS={"BROKER": "redis://127.0.0.1:1/0", "ENQUEUE_TIMEOUT": 0.2}):
            assert operations.retry([job_id]).done == 1
        assert stored(job_id).record.state == "PENDING"
        deadline = time.monotonic() + 20
        while not relay.finish(1.0):  # False while it waits for its next try
            assert time.monotonic() < deadline
        worker.run()
        assert stored(job_id).record.fence >> 16 == 1

    def test_a_process_that_dies_after_the_commit_loses_nothing(
        self, on_redis: dict[str, Any], worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
    ):
        job_id = fail(worker)
        monkeypatch.setattr(relay, "now", lambda ids: None)
        assert operations.retry([job_id]).done == 1
        assert get_broker().find(job_id, "default") is None
        assert AsyncResult[Any](job_id).state == State.PENDING
        with clock.use(lambda: time.time() + 2):
            outbox = get_store().outbox
            assert outbox is not None
            assert relay.relay_due(outbox, get_broker(), 1.0) == 1
        worker.run()
        assert stored(job_id).record.fence >> 16 == 1

    def test_a_store_without_an_outbox_says_that_the_broker_is_away(self):
        with use_store(MemoryStore()) as store, use_broker(MemoryBroker("memory://")):
            record = Record(new_id(), "t", "default", "FAILURE", enqueued_ms=1, message='{"v":1,"task":"t","at":1}')
            store.record([record])
            with use_broker(AwayBroker("memory://")), pytest.raises(EnqueueError):
                operations.retry([record.id])
            after = store.get(record.id)
        assert after is not None
        assert after.record.state == "FAILURE"


class TestDiscard:
    def test_row_and_error_stay(self, worker: TinyWorker):
        job_id = fail(worker)
        assert operations.discard([job_id, new_id()], by="ann") == Summary(done=1, skipped=1)
        row, history = stored(job_id)
        assert (row.state, row.exception) == ("REVOKED", "no luck")
        event = json.loads(history.splitlines()[-1])
        assert (event["event"], event["by"]) == ("discarded", "ann")
        assert operations.discard([job_id]) == Summary(skipped=1)

    def test_a_discarded_job_can_be_retried(self, worker: TinyWorker):
        job_id = fail(worker)
        operations.discard([job_id])
        assert operations.retry([job_id]).done == 1
        worker.run()
        assert stored(job_id).record.state == "FAILURE"


class TestRevoke:
    @pytest.fixture(params=[True, False], ids=["by id", "with its queue"])
    def queue(self, request: pytest.FixtureRequest) -> str | None:
        return None if request.param else "default"

    @pytest.mark.parametrize("countdown", [0, 600])
    def test_a_job_that_waits(self, worker: TinyWorker, queue: str | None, countdown: int):
        sent = jobs.fails.apply_async(("x",), {"password": "p"}, countdown=countdown)
        assert operations.revoke(sent.id, queue) == State.REVOKED
        row = stored(sent.id).record
        assert (row.state, row.task, row.queue, row.args) == ("REVOKED", "tests.app.jobs.fails", "default", '["x"]')
        assert row.kwargs == '{"password":"[hidden]"}'
        assert row.exception_type.endswith("JobRevoked")
        assert row.finished_ms is not None
        assert get_broker().find(sent.id, "default") is None
        assert worker.claim() == []
        assert operations.revoke(sent.id, queue) == State.REVOKED

    def test_a_revoked_job_can_be_retried(self, worker: TinyWorker, queue: str | None):
        sent = jobs.add.apply_async((1, 2), countdown=600)
        operations.revoke(sent.id, queue)
        assert operations.retry([sent.id]).done == 1
        worker.run()
        assert AsyncResult[int](sent.id).get(timeout=5) == 3

    def test_a_job_that_runs_goes_on(self, worker: TinyWorker, queue: str | None):
        sent = jobs.add.delay(1, 2)
        claimed = worker.claim()
        assert operations.revoke(sent.id, queue) == State.STARTED
        worker.finish(claimed)
        assert operations.revoke(sent.id, queue) == State.SUCCESS
        assert sent.get(timeout=5) == 3

    def test_a_job_between_two_attempts(self, worker: TinyWorker, queue: str | None):
        sent = jobs.flaky.apply_async((3,), retry_backoff=600)
        worker.run()
        assert operations.revoke(sent.id, queue) == State.REVOKED
        row, history = stored(sent.id)
        assert (row.state, row.retries) == ("REVOKED", 1)
        assert len(history.splitlines()) == 1

    def test_a_job_that_nobody_knows(self, worker: TinyWorker, queue: str | None):
        assert operations.revoke(new_id(), queue) == State.UNKNOWN

    def test_a_message_that_cannot_be_read(self, worker: TinyWorker, queue: str | None):
        message = Message(new_id(), "default", b"rubbish")
        get_broker().enqueue([message])
        assert operations.revoke(message.id, queue) == State.REVOKED
        assert stored(message.id).record.args == '["rubbish"]'

    def test_a_job_that_has_shown_its_progress_to_a_worker_that_died(self, worker: TinyWorker, queue: str | None):
        sent = jobs.add.delay(1, 2)
        get_store().update_meta(Record(sent.id, jobs.add.name, "default", "STARTED", deliveries=1, fence=1))
        assert operations.revoke(sent.id, queue) == State.REVOKED
        assert (stored(sent.id).record.state, sent.state) == ("REVOKED", State.REVOKED)

    def test_a_job_that_ended_all_the_same(self, worker: TinyWorker, queue: str | None):
        sent = jobs.add.delay(1, 2)
        get_store().record([Record(sent.id, jobs.add.name, "default", "SUCCESS", result="3", fence=1)])
        assert operations.revoke(sent.id, queue) == State.SUCCESS
        assert get_broker().find(sent.id, "default") is None

    def test_what_a_crash_left_among_the_dead_is_finished(self, worker: TinyWorker, queue: str | None):
        sent = jobs.add.delay(1, 2)
        get_broker().revoke(sent.id, "default")
        assert sent.state == State.REVOKED
        found = get_broker().find(sent.id, "default")
        assert found is not None
        assert found.place is Place.DEAD
        assert operations.revoke(sent.id, queue) == State.REVOKED
        assert get_broker().find(sent.id, "default") is None
        assert stored(sent.id).record.state == "REVOKED"


def test_forget(worker: TinyWorker):
    sent = jobs.add.delay(1, 2)
    worker.run()
    assert sent.get(timeout=5) == 3
    sent.forget()
    assert sent.state == State.UNKNOWN


class AwayBroker(MemoryBroker):
    """Takes nothing."""

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        raise BrokerUnavailable("The broker is away.")


class AskedBroker(MemoryBroker):
    """Notes that somebody has looked for a job."""

    def __init__(self) -> None:
        super().__init__("memory://")
        self.asked = threading.Event()

    def find(self, job_id: str, queue: str | None = None) -> Found | None:
        found = super().find(job_id, queue)
        self.asked.set()
        return found


def test_a_job_that_is_sent_again_before_its_ack_outlives_that(aside: Callable[..., threading.Thread]):
    broker = AskedBroker()
    with use_broker(broker), use_store(MemoryStore()) as store:
        sent = jobs.fails.delay()
        worker = TinyWorker().listen()
        held = worker.claim()
        worker.record_only(held[0])
        retrying = aside(lambda: operations.retry([sent.id]))
        assert broker.asked.wait(10)
        row = store.get(sent.id)
        assert row is not None
        assert row.record.state == State.FAILURE
        broker.ack(held)
        retrying.join(20)
        found = broker.find(sent.id)
        assert found is not None
        assert found.place is Place.READY
