"""Jobs in the outbox: nothing that was committed is lost, and nothing runs twice because of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import override_settings

from django_jobs import AsyncResult, State, clock, operations, relay
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Claimed, Message
from django_jobs.exceptions import EnqueueError, JobsConfigurationError, WouldDeadlock
from django_jobs.identifiers import new_id
from django_jobs.models.outbox import OutboxJob
from django_jobs.results import get_store
from django_jobs.results.outbox import Kept, Outbox
from django_jobs.signals import job_enqueued
from django_jobs.states import Place
from django_jobs.testing import capture_jobs
from django_jobs.worker.dead_sweep import DeadSweep
from tests.app import jobs
from tests.handles.conftest import TinyWorker

AWAY = {"BROKER": "redis://127.0.0.1:1/0", "ENQUEUE_TIMEOUT": 0.2}


@pytest.fixture(autouse=True)
def empty(project: dict[str, Any]) -> Iterator[None]:
    OutboxJob.objects.all().delete()
    yield
    OutboxJob.objects.all().delete()


def outbox() -> Outbox:
    found = get_store().outbox
    assert found is not None
    return found


def ids() -> set[str]:
    return {str(pk) for pk in OutboxJob.objects.values_list("pk", flat=True)}


def place_of(job_id: str) -> Place | None:
    found = get_broker().find(job_id, "default")
    return None if found is None else found.place


def lose_everything(project: dict[str, Any]) -> None:
    """Do what FLUSHALL does, to the keys of this test alone."""
    with contextlib.closing(redis.Redis.from_url(project["BROKER"])) as client:
        for key in client.scan_iter(f"*{project['PREFIX']}*", count=1000):
            client.unlink(key)


def relay_later(seconds: float) -> int:
    with clock.use(lambda: time.time() + seconds):
        return relay.relay_due(outbox(), get_broker(), 5.0)


def handed_over() -> None:
    """Wait until everything that this process has sent was handed over."""
    deadline = time.monotonic() + 20
    while not relay.finish(1.0):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def claim_to_run(worker: TinyWorker) -> list[Claimed]:
    claimed = worker.claim()
    return worker.settler.check_redelivered(claimed) if worker.settler.concerns(claimed) else claimed


def run(worker: TinyWorker) -> None:
    handed_over()
    claimed = claim_to_run(worker)
    assert claimed
    worker.finish(claimed)


class TestSending:
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_thread_that_has_died_is_replaced(self, on_redis: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
        with monkeypatch.context() as deadly, transaction.atomic():
            deadly.setattr(relay, "soon", lambda ids: None)
            job_ids = [jobs.add.apply_async((1, 2), outbox=True).id for _ in range(2)]
        own = relay.Relay()
        with monkeypatch.context() as deadly:
            deadly.setattr(relay, "relay", lambda *args: sys.exit())
            own.push(job_ids[:1])
            assert own._thread is not None
            own._thread.join(20)
            assert not own._thread.is_alive()
        own.push(job_ids[1:])
        assert own.finish(20)
        assert place_of(job_ids[1]) is Place.READY

    def test_a_job_is_sent_with_the_commit_and_gone_with_its_end(self, on_redis: dict[str, Any], worker: TinyWorker):
        with transaction.atomic():
            sent = jobs.add.apply_async((1, 2), outbox=True)
            assert ids() == {sent.id}
            assert sent.state == State.PENDING
            assert place_of(sent.id) is None
        handed_over()
        assert place_of(sent.id) is Place.READY
        run(worker)
        assert sent.get(timeout=5) == 3
        assert ids() == set()

    def test_a_rollback_drops_it(self, on_redis: dict[str, Any]):
        with transaction.atomic():
            sent = jobs.add.apply_async((1, 2), outbox=True, on_commit=False)
            transaction.set_rollback(True)
        handed_over()
        assert (ids(), sent.state) == (set(), State.UNKNOWN)

    def test_the_project_may_want_it_for_all(self, on_redis: dict[str, Any]):
        with override_settings(DJANGO_JOBS=on_redis | {"OUTBOX": True}):
            sent = jobs.add.delay(1, 2)
            assert ids() == {sent.id}
            jobs.add.apply_async((1, 2), outbox=False)
            assert ids() == {sent.id}

    def test_with_the_broker_in_the_same_database_it_changes_nothing(
        self, on_database: dict[str, Any], worker: TinyWorker
    ):
        sent = jobs.add.apply_async((1, 2), outbox=True)
        assert ids() == set()
        assert place_of(sent.id) is Place.READY
        worker.run()
        assert sent.get(timeout=5) == 3

    def test_nobody_waits_for_a_broker_that_is_away_and_nothing_is_lost(
        self, on_redis: dict[str, Any], worker: TinyWorker
    ):
        with override_settings(DJANGO_JOBS=on_redis | AWAY):
            with transaction.atomic():
                User.objects.create(username="ann")
                one = jobs.add.apply_async((1, 2), outbox=True)
            many = jobs.add.enqueue_many([((n, n), {}) for n in range(3)], outbox=True)
        assert ids() == {one.id, *(sent.id for sent in many)}
        handed_over()
        for _ in range(4):
            run(worker)
        assert [sent.get(timeout=5) for sent in (one, *many)] == [3, 0, 2, 4]
        assert ids() == set()

    def test_the_same_operation_is_sent_once(self, on_redis: dict[str, Any], worker: TinyWorker):
        job_id = new_id()
        for _ in range(3):
            jobs.add.apply_async((1, 2), outbox=True, job_id=job_id)
        handed_over()
        assert get_broker().counts(["default"])[0].ready == 1
        run(worker)
        jobs.add.apply_async((1, 2), outbox=True, job_id=job_id)
        assert ids() == set()

    def test_who_listens_hears_of_it_after_the_commit(self, on_redis: dict[str, Any]):
        heard: list[str] = []

        def listen(job: Any, **kwargs: Any) -> None:
            heard.append(job.id)

        job_enqueued.connect(listen)
        try:
            with transaction.atomic():
                sent = jobs.add.apply_async((1, 2), outbox=True)
                assert heard == []
            assert heard == [sent.id]
            jobs.add.apply_async((1, 2), outbox=True, job_id=sent.id)
            assert heard == [sent.id]
        finally:
            job_enqueued.disconnect(listen)

    def test_a_database_that_refuses_is_an_error_of_sending(
        self, on_redis: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("django_jobs.results.outbox._insert_statement", lambda vendor, count: "INSERT INTO nowhere")
        with pytest.raises(EnqueueError, match=r"could not be sent"):
            jobs.add.apply_async((1, 2), outbox=True)

    def test_another_database_is_refused_at_the_call(self, on_redis: dict[str, Any]):
        with pytest.raises(JobsConfigurationError, match=r"cannot be written in a transaction of using='other'"):
            jobs.add.apply_async((1, 2), outbox=True, using="other")
        with (
            override_settings(DJANGO_JOBS=on_redis | {"TASKS": {"tests.app.jobs.add": {"outbox": True}}}),
            pytest.raises(JobsConfigurationError, match="using='other'"),
        ):
            jobs.add.apply_async((1, 2), using="other")

    def test_the_testing_kit_sees_it_like_any_other(self, on_redis: dict[str, Any]):
        with capture_jobs() as captured:
            jobs.add.apply_async((1, 2), outbox=True)
            captured.assert_enqueued(jobs.add, args=(1, 2), count=1)
            assert captured.drain()[0].result == 3
        assert ids() == set()

    def test_a_forked_process_sends_its_own(
        self, on_redis: dict[str, Any], child_environment: Callable[..., dict[str, str]]
    ):
        code = """
import os, django; django.setup()
from django.db import connections
from django_jobs import relay
from tests.app import jobs
print(jobs.add.apply_async((1, 2), outbox=True).id, flush=True)
assert relay.finish(20)
connections.close_all()
pid = os.fork()
if pid == 0:
    print(jobs.add.apply_async((3, 4), outbox=True).id, flush=True)
    os._exit(0 if relay.finish(20) else 1)
assert os.waitpid(pid, 0)[1] == 0
"""
        environment = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps(on_redis))
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        sent = done.stdout.split()
        assert len(sent) == 2, done.stderr
        assert {place_of(job_id) for job_id in sent} == {Place.READY}


class TestRunning:
    def test_what_the_broker_loses_comes_back(self, on_redis: dict[str, Any], worker: TinyWorker):
        sent = [jobs.add.apply_async((n, n), outbox=True) for n in range(3)]
        handed_over()
        lose_everything(on_redis)
        assert sent[0].state == State.PENDING
        assert relay_later(70) == 3
        worker.listen()
        for _ in sent:
            run(worker)
        assert [handle.get(timeout=5) for handle in sent] == [0, 2, 4]
        assert ids() == set()

    def test_a_job_that_is_known_is_not_sent_twice(self, on_redis: dict[str, Any], worker: TinyWorker):
        jobs.add.apply_async((1, 1), outbox=True)
        handed_over()
        assert relay_later(70) == 1
        assert get_broker().counts(["default"])[0].ready == 1
        (claimed,) = claim_to_run(worker)
        assert relay_later(300) == 1
        assert get_broker().counts(["default"])[0].ready == 0
        worker.finish([claimed])
        assert relay_later(3000) == 0

    @pytest.mark.parametrize("task", [jobs.add, jobs.nothing])
    def test_a_copy_that_comes_late_does_not_run(self, on_redis: dict[str, Any], worker: TinyWorker, task: Any):
        """A call that its sender gave up on reaches the broker after the job has ended."""
        sent = task.apply_async((1, 2) if task is jobs.add else (1,), outbox=True)
        copy = outbox().get(sent.id)
        assert copy is not None
        run(worker)
        get_broker().enqueue([Message(*copy[:5])])
        assert claim_to_run(worker) == []
        assert place_of(sent.id) is None

    def test_a_retry_that_the_broker_loses_comes_back(self, on_redis: dict[str, Any], worker: TinyWorker):
        sent = jobs.flaky.apply_async((2,), outbox=True, retry_backoff=600)
        run(worker)
        kept = outbox().get(sent.id)
        assert kept is not None
        assert (kept.generation, sent.state) == (1, State.RETRY)
        lose_everything(on_redis)
        assert sent.state == State.RETRY
        assert relay_later(700) == 1
        found = get_broker().find(sent.id, "default")
        assert found is not None
        assert found.place is Place.SCHEDULED
        assert sent.retries == 1

    def test_a_retry_whose_message_the_broker_never_got_is_sent_by_who_gets_the_old_one(
        self, on_redis: dict[str, Any], worker: TinyWorker
    ):
        sent = jobs.flaky.apply_async((1,), outbox=True, retry_backoff=600)
        first = outbox().get(sent.id)
        assert first is not None
        run(worker)
        lose_everything(on_redis)
        worker.listen()
        get_broker().enqueue([Message(*first[:5])])
        assert claim_to_run(worker) == []
        found = get_broker().find(sent.id, "default")
        assert found is not None
        assert found.place is Place.SCHEDULED
        assert b'"retries":1' in found.body

    def test_an_attempt_that_comes_too_late_leaves_the_next_one_alone(
        self, on_redis: dict[str, Any], worker: TinyWorker
    ):
        sent = jobs.flaky.apply_async((1,), outbox=True, retry_backoff=600)
        handed_over()
        (stale,) = worker.claim()
        ended = worker.executed([stale])
        other = TinyWorker().listen()
        get_broker().reap("default", worker.consumer.id, suspect_ms=0, force=True)
        other.finish(other.settler.check_redelivered(other.claim()))
        worker.settler.settle(ended)
        kept = outbox().get(sent.id)
        assert kept is not None
        assert kept.generation == 1

    def test_a_redelivered_job_that_has_ended_is_only_acked(self, on_redis: dict[str, Any], worker: TinyWorker):
        sent = jobs.nothing.apply_async((1,), outbox=True)
        handed_over()
        (claimed,) = worker.claim()
        worker.record_only(claimed)
        worker.broker.release([claimed], started=True)
        assert claim_to_run(worker) == []
        assert place_of(sent.id) is None

    def test_a_plain_job_with_the_same_id_is_not_run_again(self, on_redis: dict[str, Any], worker: TinyWorker):
        """Sent without the outbox first, and then, by another deploy, with it."""
        plain = jobs.add.delay(1, 2)
        jobs.add.apply_async((1, 2), outbox=True, job_id=plain.id)
        handed_over()
        worker.run()
        assert relay_later(70) == 1
        assert claim_to_run(worker) == []
        assert ids() == set()

    @pytest.mark.parametrize("task", [jobs.add, jobs.nothing])
    def test_a_job_that_nobody_could_end_leaves_it_too(self, on_redis: dict[str, Any], worker: TinyWorker, task: Any):
        sent = task.apply_async((1, 2) if task is jobs.add else (1,), outbox=True)
        handed_over()
        (claimed,) = worker.claim()
        get_broker().bury([claimed], reason="lost")
        DeadSweep(get_broker(), get_store(), worker.settler).sweep_if_due(["default"])
        assert sent.state == State.FAILURE
        assert ids() == set()
        assert place_of(sent.id) is None


class TestAsking:
    def test_its_state_while_the_broker_has_not_got_it(self, on_redis: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(relay, "soon", lambda ids: None)
        waiting = jobs.add.apply_async((1, 2), outbox=True)
        due_later = jobs.add.apply_async((1, 2), outbox=True, countdown=600)
        assert (waiting.state, due_later.state) == (State.PENDING, State.SCHEDULED)
        assert (waiting.args, waiting.name, waiting.queue) == ([1, 2], "tests.app.jobs.add", "default")

    def test_revoking_it(self, on_redis: dict[str, Any], monkeypatch: pytest.MonkeyPatch, worker: TinyWorker):
        monkeypatch.setattr(relay, "soon", lambda ids: None)
        sent = jobs.add.apply_async((1, 2), outbox=True, countdown=600)
        assert sent.revoke() == State.REVOKED
        assert (sent.state, ids()) == (State.REVOKED, set())
        assert relay_later(1000) == 0
        assert operations.retry([sent.id]).done == 1
        run(worker)
        assert AsyncResult[int](sent.id).get(timeout=5) == 3

    def test_revoking_it_when_the_broker_has_it(self, on_redis: dict[str, Any], worker: TinyWorker):
        sent = jobs.add.apply_async((1, 2), outbox=True)
        handed_over()
        assert sent.revoke() == State.REVOKED
        assert ids() == set()
        assert worker.claim() == []

    def test_waiting_for_it_in_its_own_transaction(self, on_redis: dict[str, Any]):
        with transaction.atomic():
            sent = jobs.add.apply_async((1, 2), outbox=True)
            with pytest.raises(WouldDeadlock, match="only sent at the commit"):
                sent.get(timeout=5)

    def test_waiting_for_it(
        self, on_redis: dict[str, Any], worker: TinyWorker, aside: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ):
        sent = jobs.add.apply_async((1, 2), outbox=True)

        def run_soon() -> None:
            run(worker)

        aside(run_soon)
        assert sent.get(timeout=20) == 3


def test_a_row_shows_no_arguments(project: dict[str, Any]) -> None:
    outbox().add([Kept(new_id(), "default", b'{"password":"p"}')])
    assert "password" not in str(OutboxJob.objects.get())
    connections["default"].close()
