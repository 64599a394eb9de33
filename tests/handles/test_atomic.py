"""Jobs whose body and end are one transaction: what they do in the database happens exactly once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.test import override_settings

from django_jobs import State, clock, operations, relay
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Claimed
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsConfigurationError, ResultNotStorable
from django_jobs.execution import Delivery, execute
from django_jobs.models.outbox import OutboxJob
from django_jobs.outcome import Failed, Outcome, Recorded, Succeeded, Superseded, Unsettled
from django_jobs.registry import registry
from django_jobs.results import get_store, use_store
from django_jobs.results.base import Record, Written
from django_jobs.results.store import DatabaseStore
from django_jobs.task import job
from django_jobs.testing import capture_jobs
from django_jobs.testing.store import MemoryStore
from django_jobs.worker.atomic import Atomic
from django_jobs.worker.slots import Finished, read
from tests.app import jobs
from tests.handles.conftest import TinyWorker
from tests.worker.conftest import wait_for


def run(worker: TinyWorker, claimed: Claimed) -> Finished:
    """Run a job as a slot does."""
    started_ms, body = clock.now_ms(), read(claimed)
    assert isinstance(body, Job)
    delivery = Delivery(deliveries=claimed.deliveries, worker="tiny/1", atomic=Atomic(get_store(), worker="tiny/1"))
    return Finished(claimed, body, execute(body, delivery), started_ms, clock.now_ms())


def settle(worker: TinyWorker, finished: Finished) -> None:
    get_broker().ack(worker.settler.settle([finished]))


def run_next(worker: TinyWorker) -> Outcome:
    assert relay.finish(20)
    (claimed,) = worker.claim()
    finished = run(worker, claimed)
    settle(worker, finished)
    return finished.outcome


def users() -> int:
    return User.objects.count()


def ready() -> int:
    return get_broker().counts(["default"])[0].ready


class TestOneTransaction:
    @pytest.mark.parametrize("options", [{}, {"outbox": True}, {"ignore_result": True}], ids=str)
    def test_what_it_does_and_its_end(self, worker: TinyWorker, options: dict[str, Any]):
        sent = jobs.adds_a_user_and.apply_async(("succeeds",), **options)
        assert isinstance(run_next(worker), Recorded)
        assert (sent.state, users(), ready()) == (State.SUCCESS, 1, 1)
        assert not OutboxJob.objects.exists()
        assert get_broker().find(sent.id, "default") is None
        result = None if "ignore_result" in options else "succeeds"
        assert sent.get(timeout=5) == result

    @pytest.mark.parametrize(
        ("what", "state"), [("fails", State.FAILURE), ("retries", State.RETRY), ("snoozes", State.SCHEDULED)]
    )
    @pytest.mark.parametrize("outbox", [False, True])
    def test_an_attempt_that_does_not_succeed_undoes_what_it_did(
        self, worker: TinyWorker, what: str, state: State, outbox: bool
    ):
        sent = jobs.adds_a_user_and.apply_async((what,), outbox=outbox)
        run_next(worker)
        assert (sent.state, users(), ready()) == (state, 0, 0)
        OutboxJob.objects.all().delete()

    def test_nothing_of_it_is_seen_before_its_end(self, worker: TinyWorker, aside: Callable[..., Any], tmp_path: Path):
        if connection.vendor == "sqlite":
            pytest.skip("readers of SQLite wait for the writer's commit, or see the state before it")
        sent = jobs.adds_a_user.delay(str(tmp_path / "ledger"), str(tmp_path / "gate"), "one")
        (claimed,) = worker.claim()
        thread = aside(lambda: settle(worker, run(worker, claimed)))
        wait_for((tmp_path / "ledger").exists)
        assert (users(), sent.state) == (0, State.STARTED)
        (tmp_path / "gate").touch()
        thread.join(20)
        assert (users(), sent.state) == (1, State.SUCCESS)

    def test_a_hook_of_the_commit_that_fails_does_not_undo_the_end(
        self, worker: TinyWorker, caplog: pytest.LogCaptureFixture
    ):
        def fail() -> None:
            raise RuntimeError("broken on purpose")

        def hooked() -> str:
            User.objects.create(username="ann")
            transaction.on_commit(fail)
            return "done"

        hooked.__qualname__ = "hooked"
        task = job(atomic=True)(hooked)
        try:
            sent = task.delay()
            assert run_next(worker) == Recorded(Succeeded(b'"done"'))
        finally:
            registry.unregister(task)
        assert (sent.state, users()) == (State.SUCCESS, 1)
        assert "a hook of its commit failed" in caplog.text


class TestTwoRuns:
    def test_the_second_of_two_is_undone(self, worker: TinyWorker, aside: Callable[..., Any], tmp_path: Path):
        """A process is taken for dead, wakes up, and goes on."""
        if connection.vendor == "sqlite" and get_broker().joins_transaction("default"):
            pytest.skip("the first holds the one lock that taking the job away would need")
        ledger, gate = tmp_path / "ledger", tmp_path / "gate"
        ledger.touch()
        sent = jobs.adds_a_user.delay(str(ledger), str(gate), "one")
        (stale,) = worker.claim()
        ends: list[Finished] = []
        first = aside(lambda: ends.append(run(worker, stale)))
        wait_for(lambda: len(ledger.read_text().splitlines()) == 1)
        get_broker().reap("default", worker.consumer.id, suspect_ms=0, force=True)
        other = TinyWorker().listen()
        (again,) = other.settler.check_redelivered(other.claim())
        second = aside(lambda: ends.append(run(other, again)))
        if connection.vendor != "sqlite":  # there the second cannot begin before the first has ended
            wait_for(lambda: len(ledger.read_text().splitlines()) == 2)
        gate.touch()
        first.join(30)
        second.join(30)
        assert sorted(type(end.outcome).__name__ for end in ends) == ["Recorded", "Superseded"]
        for end in ends:
            settle(worker if end.claimed is stale else other, end)
        assert (users(), sent.state) == (1, State.SUCCESS)
        assert get_broker().find(sent.id, "default") is None

    def test_a_run_that_ends_after_the_job_was_revoked_is_undone(
        self, worker: TinyWorker, aside: Callable[..., Any], tmp_path: Path
    ):
        gate = tmp_path / "gate"
        gate.touch()
        sent = jobs.adds_a_user.delay(str(tmp_path / "ledger"), str(gate), "one")
        (claimed,) = worker.claim()
        get_broker().reap("default", worker.consumer.id, suspect_ms=0, force=True)
        assert operations.revoke(sent.id) == State.REVOKED
        finished = run(worker, claimed)
        settle(worker, finished)
        assert isinstance(finished.outcome, Superseded)
        assert (users(), sent.state) == (0, State.REVOKED)

    def test_a_run_that_lost_does_not_ask_for_another(self, worker: TinyWorker):
        """Not of atomic jobs alone: the other run has succeeded, and this one wants a retry."""
        sent = jobs.flaky.apply_async((1,), retry_backoff=0.001)
        (claimed,) = worker.claim()
        body = read(claimed)
        assert isinstance(body, Job)
        get_store().record([Record(sent.id, body.task, "default", "SUCCESS", result="1", enqueued_ms=1)])
        worker.finish([claimed])
        assert sent.state == State.SUCCESS
        assert get_broker().find(sent.id, "default") is None


class TestTrouble:
    def test_a_connection_that_is_lost_in_its_middle_sends_the_job_back(
        self, worker: TinyWorker, project: dict[str, Any]
    ):
        if connection.vendor == "sqlite":
            pytest.skip("has no connection that could be lost")
        lose = "SELECT pg_terminate_backend(pg_backend_pid())" if connection.vendor == "postgresql" else "KILL %s"
        runs: list[int] = []

        def unlucky() -> str:
            User.objects.create(username="ann")
            runs.append(1)
            if len(runs) == 1:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT CONNECTION_ID()" if "KILL" in lose else "SELECT 1")
                    (number,) = cursor.fetchone()
                    cursor.execute(lose, [number] if "KILL" in lose else None)
                    cursor.execute("SELECT 1")
            return "done"

        unlucky.__qualname__ = "unlucky"
        task = job(atomic=True, max_retries=0, autoretry_for=(OperationalError,))(unlucky)
        try:
            sent = task.delay()
            assert isinstance(run_next(worker), Unsettled)
            assert (sent.state, users()) == (State.SCHEDULED, 0)
            (again,) = wait_for(worker.claim)
            settle(worker, run(worker, again))
        finally:
            registry.unregister(task)
        assert (sent.state, users(), len(runs)) == (State.SUCCESS, 1, 2)

    def test_a_connection_that_its_own_code_closes_fails_it(self, worker: TinyWorker):
        def closes() -> None:
            connection.close()
            User.objects.create(username="ann")

        closes.__qualname__ = "closes"
        task = job(atomic=True, max_retries=0)(closes)
        try:
            sent = task.delay()
            assert isinstance(run_next(worker), Failed)
        finally:
            registry.unregister(task)
        assert (sent.state, users()) == (State.FAILURE, 0)

    def test_a_database_that_goes_away_at_the_end_sends_the_job_back(
        self, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
    ):
        sent = jobs.adds_a_user_and.delay("succeeds")

        def write(self: DatabaseStore, records: Sequence[Record], *, trusting: bool = False) -> Written:
            raise OperationalError("server closed the connection unexpectedly")

        with monkeypatch.context() as patch:
            patch.setattr(DatabaseStore, "write", write)
            (claimed,) = worker.claim()
            finished = run(worker, claimed)
        assert isinstance(finished.outcome, Unsettled)
        assert users() == 0
        settle(worker, finished)
        assert sent.state == State.SCHEDULED
        (again,) = wait_for(worker.claim)
        assert again.deliveries == 1
        settle(worker, run(worker, again))
        assert (users(), sent.state) == (1, State.SUCCESS)

    def test_a_result_that_the_database_refuses_undoes_what_the_job_did(
        self, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("django_jobs.results.store.largest_row", lambda cursor: 1_500_000)
        sent = jobs.adds_a_user_and.delay("returns much")
        (claimed,) = worker.claim()
        settle(worker, run(worker, claimed))
        assert (users(), sent.state) == (0, State.FAILURE)
        with pytest.raises(ResultNotStorable, match="so it was undone: it has"):
            sent.get(timeout=0)

    def test_a_store_without_transactions_cannot_do_it(self, worker: TinyWorker):
        jobs.adds_a_user_and.delay("succeeds")
        (claimed,) = worker.claim()
        with use_store(MemoryStore()):
            finished = run(worker, claimed)
        assert "needs results in a database" in str(finished.outcome)
        assert users() == 0


class TestDeclaring:
    def test_an_async_task_cannot_be_atomic(self):
        async def body() -> None: ...

        body.__qualname__ = "body"
        with pytest.raises(JobsConfigurationError, match="is an async def"):
            job(atomic=True)(body)

    def test_nor_by_the_settings(self, project: dict[str, Any]):
        with (
            override_settings(DJANGO_JOBS=project | {"TASKS": {"tests.app.jobs.aslow": {"atomic": True}}}),
            pytest.raises(JobsConfigurationError, match="is an async def"),
        ):
            jobs.aslow.delay("", "", 1.0)

    def test_another_database_is_refused(self):
        def body() -> None: ...

        body.__qualname__ = "body"
        with pytest.raises(JobsConfigurationError, match=r"atomic=True .* of using='other'"):
            job(atomic=True, using="other")(body)

    def test_a_call_cannot_ask_for_it(self, project: dict[str, Any]):
        with pytest.raises(JobsConfigurationError, match="It is an option of @job"):
            jobs.add.apply_async((1, 2), atomic=True)


def test_the_testing_kit_undoes_what_a_worker_would(project: dict[str, Any]) -> None:
    with capture_jobs() as captured:
        for what in ("succeeds", "fails"):
            jobs.adds_a_user_and.delay(what)
        runs = captured.drain(propagate=False)
    assert [run.succeeded for run in runs] == [True, False, True]
    assert users() == 1
