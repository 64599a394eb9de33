"""Purge, pause, resume, prune: what is done to whole queues, and that it is recorded whoever dies on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobs import AsyncResult, State, operations
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Message
from django_jobs.envelope import Job
from django_jobs.identifiers import new_id
from django_jobs.results import get_store
from django_jobs.results.base import Record
from django_jobs.results.store import DatabaseStore
from django_jobs.signals import job_revoked
from django_jobs.states import Place
from tests.app import jobs
from tests.handles.conftest import TinyWorker


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(operations.queues, "BATCH", 3)
    return 3


@pytest.fixture
def announced() -> Iterator[list[tuple[str, str]]]:
    said: list[tuple[str, str]] = []

    def listen(sender: Any, job: Any, reason: str, **kwargs: Any) -> None:
        said.append((job.id, reason))

    job_revoked.connect(listen)
    yield said
    job_revoked.disconnect(listen)


def stored(job_id: str) -> Record:
    found = get_store().get(job_id)
    assert found is not None
    return found.record


def show_progress(job_id: str, *, deliveries: int) -> None:
    """Leave what a worker writes of a job that runs, and that stays when the worker dies."""
    record = Record(job_id, jobs.add.name, "default", "STARTED", meta="1", deliveries=deliveries, fence=deliveries)
    assert get_store().update_meta(record)


def states(handles: list[AsyncResult[Any]]) -> list[str]:
    return [handle.state for handle in handles]


class TestPurge:
    def test_what_waits_is_revoked_and_recorded(self, worker: TinyWorker, small_batches: int):
        sent: list[AsyncResult[Any]] = [jobs.add.delay(number, 1) for number in range(5)]
        held = worker.claim()
        later = jobs.add.apply_async((7, 7), countdown=3600)
        elsewhere = jobs.add.apply_async((1, 1), queue="mail")
        batches: list[int] = []
        assert operations.purge("default", on_batch=batches.append) == 5
        assert batches == [3, 5]
        assert states([*sent, later, elsewhere]) == ["STARTED", *["REVOKED"] * 5, "PENDING"]
        (counts,) = get_broker().counts(["default"])
        assert (counts.ready, counts.scheduled, counts.in_flight, counts.dead) == (0, 0, 1, 0)
        worker.finish(held)
        assert sent[0].get(timeout=5) == 1

    def test_the_jobs_can_be_sent_again(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 2)
        operations.purge("default")
        assert operations.retry([sent.id]).done == 1
        worker.run()
        assert sent.get(timeout=5) == 3

    def test_each_is_announced(self, worker: TinyWorker, announced: list[tuple[str, str]]):
        sent = [jobs.add.delay(1, 2) for _ in range(2)]
        operations.purge("default")
        assert sorted(announced) == [(handle.id, "purged") for handle in sent]

    def test_a_job_that_has_shown_its_progress_to_a_worker_that_died(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 2)
        show_progress(sent.id, deliveries=2)
        assert operations.purge("default") == 1
        row = stored(sent.id)
        assert (row.state, row.fence) == ("REVOKED", 2)
        assert get_broker().find(sent.id, "default") is None

    def test_what_ended_meanwhile_stays_as_it_is_and_is_not_announced(
        self, worker: TinyWorker, announced: list[tuple[str, str]]
    ):
        sent = jobs.add.delay(1, 2)
        get_store().record([Record(sent.id, jobs.add.name, "default", "SUCCESS", result="3", deliveries=1, fence=1)])
        assert operations.purge("default") == 1
        assert stored(sent.id).state == "SUCCESS"
        assert get_broker().find(sent.id, "default") is None
        assert announced == []

    def test_progress_of_that_very_moment_leaves_the_job_to_the_next(
        self, worker: TinyWorker, announced: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ):
        sent = jobs.add.delay(1, 2)
        show_progress(sent.id, deliveries=2)
        with monkeypatch.context() as blind:
            settled, looks = DatabaseStore.settled, iter([True])
            # The first look is before the row was there.
            blind.setattr(
                DatabaseStore, "settled", lambda store, ids: {} if next(looks, False) else settled(store, ids)
            )
            assert operations.purge("default") == 0
        assert announced == []
        assert operations.purge("default") == 1
        assert (stored(sent.id).state, announced) == ("REVOKED", [(sent.id, "purged")])

    def test_a_job_whose_options_are_of_another_version(self, worker: TinyWorker):
        job = Job(id=new_id(), task=jobs.add.name, queue="default", options={"of_a_newer_version": 1})
        get_broker().enqueue([Message(job.id, "default", job.encode())])
        sent = jobs.add.delay(1, 2)
        assert operations.purge("default") == 2
        assert [stored(job_id).state for job_id in (job.id, sent.id)] == ["REVOKED"] * 2

    def test_what_a_killed_purge_left_is_recorded_by_the_next(
        self, on_redis: dict[str, Any], worker: TinyWorker, small_batches: int, monkeypatch: pytest.MonkeyPatch
    ):
        sent: list[AsyncResult[Any]] = [jobs.add.delay(number, 1) for number in range(8)]

        class Killed(BaseException):
            pass

        def kill(*args: Any, **kwargs: Any) -> None:
            raise Killed

        store = get_store()
        with monkeypatch.context() as patched:
            patched.setattr(type(store), "write", kill)
            with pytest.raises(Killed):
                operations.purge("default")
        (counts,) = get_broker().counts(["default"])
        assert (counts.ready, counts.dead) == (5, 3)
        assert operations.purge("default") == 8
        assert set(states(sent)) == {"REVOKED"}
        assert get_broker().peek("default", Place.DEAD) == []

    def test_other_dead_jobs_are_left_to_others(self, worker: TinyWorker, small_batches: int):
        buried = [jobs.add.delay(1, 2) for _ in range(4)]
        get_broker().bury(worker.claim(4), reason="for a test")
        sent = [jobs.add.delay(1, 2) for _ in range(4)]
        assert operations.purge("default") == 4
        assert {found.id for found in get_broker().peek("default", Place.DEAD)} == {handle.id for handle in buried}
        assert {handle.state for handle in sent} == {State.REVOKED}

    def test_an_empty_queue(self, worker: TinyWorker):
        assert operations.purge("default") == 0


class TestCommand:
    def test_purge_asks_first(self, worker: TinyWorker, jobs_command: Callable[..., Any]):
        sent = [jobs.add.delay(1, 2) for _ in range(3)]
        refused = jobs_command("purge", "default")
        assert refused.code == 2
        assert "Revoke all that wait in the queue 'default' (3 jobs)?" in refused.err
        assert "--yes" in refused.err
        assert {handle.state for handle in sent} == {State.PENDING}
        done = jobs_command("purge", "default", "--yes")
        assert (done.code, done.out) == (0, "3 jobs revoked. 0 jobs in flight left alone.\n")
        assert {handle.state for handle in sent} == {State.REVOKED}
        assert jobs_command("purge", "default", "--json").document == {"queue": "default", "revoked": 0}

    def test_pause_and_resume(self, worker: TinyWorker, jobs_command: Callable[..., Any]):
        sent = jobs.add.delay(1, 2)
        assert jobs_command("pause", "default", "mail").out == "default, mail: paused.\n"
        assert worker.claim() == []
        assert jobs_command("resume", "default").out == "default: resumed.\n"
        worker.run()
        assert sent.get(timeout=5) == 3
        assert [counts.paused for counts in get_broker().counts(["default", "mail"])] == [False, True]

    @pytest.mark.parametrize("action", ["pause", "resume", "purge"])
    def test_a_queue_that_is_not_there(self, worker: TinyWorker, jobs_command: Callable[..., Any], action: str):
        answer = jobs_command(action, "defualt")
        assert answer.code == 2
        assert answer.err.startswith("No queue is called 'defualt'. Known: default, mail")

    def test_prune(self, worker: TinyWorker, jobs_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(operations.queues, "PRUNE_BATCH", 2)
        over = [jobs.add.apply_async((1, 2), result_expires=0.001) for _ in range(5)]
        kept = jobs.add.delay(1, 2)
        worker.run(6)
        assert jobs_command("prune").out == "5 results deleted.\n"
        assert jobs_command("prune", "--json").document == {"pruned": 0}
        assert [handle.state for handle in (*over, kept)] == ["UNKNOWN"] * 5 + ["SUCCESS"]
