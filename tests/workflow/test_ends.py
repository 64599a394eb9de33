"""Ends that are out of the ordinary: what follows them is what follows a failure, and nothing ends the worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import OperationalError, connections, transaction
from django.test import override_settings

from django_jobs import State, UpstreamFailed, chain, chord, clock, group, operations
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Claimed
from django_jobs.canvas import Expression
from django_jobs.envelope import Job
from django_jobs.exceptions import DecodeError, JobExpired, ResultNotStorable, StoreUnavailable
from django_jobs.execution import Delivery, error_of, execute
from django_jobs.middleware import Middleware
from django_jobs.models import Workflow, WorkflowBarrier, WorkflowScope, WorkflowStep
from django_jobs.outcome import Retried, Succeeded, Unsettled
from django_jobs.results import get_store
from django_jobs.worker.dead_sweep import DeadSweep
from django_jobs.worker.slots import Finished, read
from django_jobs.workflow.inputs import inputs_of
from tests.workflow import actors
from tests.workflow.actors import Ledger, act, told
from tests.workflow.conftest import Stage, TinyWorker, sent

#: One of each database, and Redis before one.
pytestmark = pytest.mark.parametrize("stage", ["sqlite", "postgres", "mariadb", "redis-postgres"], indirect=True)


@pytest.fixture
def worker(stage: Stage) -> TinyWorker:
    assert isinstance(stage, TinyWorker)
    return stage


class Made:
    """Signatures that write to one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.path = str(ledger.path)

    def __call__(self, label: str, *args: Any, **kwargs: Any) -> Expression:
        made: Expression = act.s(*args, label=label, ledger=self.path, **kwargs)
        return made

    def error(self, label: str) -> Expression:
        made: Expression = told.s(label=label, ledger=self.path)
        return made


@pytest.fixture
def made(ledger: Ledger) -> Made:
    return Made(ledger)


def unfinished() -> list[str]:
    alias = get_store().using
    barriers = WorkflowBarrier.objects.using(alias).filter(resolved=None)
    return [*map(str, Workflow.objects.using(alias).filter(finished_at=None)), *map(str, barriers)]


def claim(worker: TinyWorker) -> Claimed:
    (claimed,) = get_broker().claim(worker.consumer, "default", 1).jobs
    return claimed


def end(claimed: Claimed, outcome: Any) -> Finished:
    job = read(claimed)
    assert isinstance(job, Job)
    return Finished(claimed, job, outcome, clock.now_ms(), clock.now_ms())


def settle(worker: TinyWorker, *batch: Finished) -> None:
    acks = worker.settler.settle(batch)
    if acks:
        get_broker().ack(acks)


# Results that no database takes


def test_a_result_that_the_database_refuses_is_a_failure_for_what_follows(
    stage: Stage, ledger: Ledger, made: Made, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("django_jobs.results.store.largest_row", lambda cursor: 1_500_000)
    last = sent(chain(actors.returns_much.s(), made("never")).on_error(made.error("error")))
    stage.work()
    assert ledger.told == {"error": 1}
    with pytest.raises(ResultNotStorable):
        last.parent.get(timeout=0)
    with pytest.raises(UpstreamFailed, match=last.parent.id):
        last.get(timeout=0)
    assert unfinished() == []


def test_a_member_whose_result_is_refused_is_one_that_has_failed(
    stage: Stage, ledger: Ledger, made: Made, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("django_jobs.results.store.largest_row", lambda cursor: 1_500_000)
    members = [made("a"), actors.returns_much.s(), made("b")]
    body = sent(chord(group(members, allow_failures=1), made("body")))
    stage.work()
    value = body.get(timeout=0)
    assert actors.plain(value) == ["body", [["a"], "failed", ["b"]]]
    assert value[1][1].exception_type.endswith("ResultNotStorable")
    assert unfinished() == []


# Canvases that cannot be sent, in the place of a job


@pytest.mark.parametrize("kind", ["argument", "id"])
def test_a_replacement_that_cannot_be_kept_fails_its_job_and_no_other(
    stage: Stage, made: Made, monkeypatch: pytest.MonkeyPatch, kind: str
):
    taken = sent(chain(made("x"), made("y")))
    what = made("new", object()) if kind == "argument" else made("new").set(job_id=taken.parent.id)
    monkeypatch.setattr(actors, "REPLACEMENT", what)
    members = [made("a"), actors.makes_room.s(), made("b")]
    handle = sent(group(members, on_member_failure="wait"))
    alone = actors.makes_room.delay()
    stage.work()
    assert [one.state for one in handle.results] == [State.SUCCESS, State.FAILURE, State.SUCCESS]
    assert handle.state == alone.state == State.FAILURE
    assert taken.get(timeout=0) == ["y", ["x"]]
    assert unfinished() == []


@pytest.mark.parametrize("kind", ["argument", "empty", "id"])
def test_a_replacement_that_cannot_be_sent_undoes_what_an_atomic_job_did(
    stage: Stage, made: Made, monkeypatch: pytest.MonkeyPatch, kind: str
):
    taken = sent(chain(made("x"), made("y")))
    bad = {"argument": made("new", object()), "empty": chain(), "id": made("new").set(job_id=taken.parent.id)}
    monkeypatch.setattr(actors, "REPLACEMENT", bad[kind])
    members = [made("a"), actors.writes_and_makes_room.s(), made("b")]
    handle = sent(group(members, on_member_failure="wait"))
    alone = actors.writes_and_makes_room.delay()
    stage.work()
    assert [one.state for one in handle.results] == [State.SUCCESS, State.FAILURE, State.SUCCESS]
    assert alone.state == State.FAILURE
    assert not User.objects.using(get_store().using).filter(username__in=[alone.id, handle.results[1].id]).exists()
    monkeypatch.setattr(actors, "REPLACEMENT", made("new"))
    good = actors.writes_and_makes_room.delay()
    stage.work()
    assert good.get(timeout=0) == ["new"]
    assert User.objects.using(get_store().using).filter(username=good.id).delete()[0] == 1
    assert unfinished() == []


# What follows cannot be told


def test_error_callbacks_that_cannot_be_read_do_not_hold_up_the_others(
    stage: Stage, ledger: Ledger, made: Made, caplog: pytest.LogCaptureFixture
):
    """As after a downgrade: nobody here can read them."""
    spoilt = sent(chain(made("bad", fails=True), made("never")).on_error(made.error("error")))
    alias = get_store().using
    assert WorkflowScope.objects.using(alias).update(errbacks='[{"v":99}]') == 1
    good = sent(chord([made(f"m{n}") for n in range(5)], made("body")))
    stage.work()
    assert good.get(timeout=0) == ["body", [[f"m{n}"] for n in range(5)]]
    assert (spoilt.parent.state, spoilt.state) == (State.FAILURE, State.REVOKED)
    assert "cannot be called" in caplog.text
    assert unfinished() == []


def test_an_end_that_nothing_can_follow_is_counted(
    stage: Stage, ledger: Ledger, made: Made, caplog: pytest.LogCaptureFixture
):
    """The row of the step cannot be read."""
    bad = sent(group(made("bad", fails=True), made("good").link(made("linked"))))
    alias = get_store().using
    steps = WorkflowStep.objects.using(alias)
    assert steps.filter(pk=bad.results[0].id).update(callbacks="{") == 1
    stage.work()
    assert "cannot be told" in caplog.text
    assert [one.state for one in bad.results] == [State.FAILURE, State.SUCCESS]
    workflow = Workflow.objects.using(alias).get()
    assert (workflow.remaining, workflow.failed) == (0, 1)
    assert workflow.finished_at is not None


class Refuses(Middleware):
    """Does not let everything pass."""

    def enqueue(self, job: Job, call_next: Any) -> None:
        label = job.kwargs.get("label", "")
        if label == "raises":
            raise RuntimeError("the middleware is broken")
        if label == "asks":
            raise OperationalError("no such table: of the project")
        if label != "dropped":
            call_next(job)


@pytest.fixture
def refusing(stage: Stage) -> Iterator[None]:
    changed = {**django_settings.DJANGO_JOBS, "MIDDLEWARE": [f"{__name__}.Refuses"]}
    with override_settings(DJANGO_JOBS=changed):
        yield


@pytest.mark.parametrize(
    ("label", "state"), [("dropped", State.REVOKED), ("raises", State.FAILURE), ("asks", State.FAILURE)]
)
@pytest.mark.usefixtures("refusing")
def test_a_middleware_that_lets_no_job_pass_fails_its_step(
    stage: Stage, ledger: Ledger, made: Made, label: str, state: State
):
    last = sent(chain(made("first"), made(label), made("never")).on_error(made.error("error")))
    stage.work()
    assert ledger.calls == {"first[]": 1}
    assert ledger.told == {"error": 1}
    assert last.parent.state == state
    assert last.state == State.REVOKED
    assert unfinished() == []


@pytest.mark.usefixtures("refusing")
def test_a_canvas_that_middleware_refuses_leaves_nothing_in_the_transaction_of_its_sender(stage: Stage, made: Made):
    alias = get_store().using
    with transaction.atomic(alias):
        with pytest.raises(RuntimeError, match="the middleware is broken"):
            chain(made("raises"), made("never")).delay()
        last = sent(chain(made("a"), made("b")))
    assert [str(one.pk) for one in Workflow.objects.using(alias).all()] == [last.workflow.id]
    stage.work()
    assert last.get(timeout=0) == ["b", ["a"]]
    assert unfinished() == []


# Two runs of one job


def test_a_job_that_has_ended_is_not_retried_for_another_run_of_it(worker: TinyWorker, ledger: Ledger, made: Made):
    """
    As when Redis was emptied, or a process was taken for dead: two have run the same attempt. One wants it to be run
    again, and says so first; the other has succeeded.
    """
    if get_broker().joins_transaction(get_store().using):
        pytest.skip("what a process says that was taken for dead is undone there")
    last = sent(chain(made("a"), made("b")))
    claimed = claim(worker)
    settle(worker, end(claimed, Retried(error_of(RuntimeError("no")), 0.0)))
    settle(worker, end(claimed, Succeeded(b'["a"]')))
    worker.work()
    assert last.get(timeout=0) == ["b", ["a"]]
    assert ledger.calls == {"b[['a']]": 1}
    assert Workflow.objects.using(get_store().using).get().remaining == 0


def test_an_end_that_is_settled_twice_is_followed_once(worker: TinyWorker, ledger: Ledger, made: Made):
    last = sent(chain(made("a"), made("b")))
    finished = end(claim(worker), Succeeded(b'["a"]'))
    settle(worker, finished)
    settle(worker, finished)
    worker.work()
    assert last.get(timeout=0) == ["b", ["a"]]
    assert ledger.calls == {"b[['a']]": 1}
    assert unfinished() == []


def test_a_step_whose_end_was_recorded_is_acked_when_it_comes_again(worker: TinyWorker, ledger: Ledger, made: Made):
    """The process died between the commit and the ack."""
    last = sent(chain(made("a"), made("b")))
    claimed = claim(worker)
    worker.settler.settle([end(claimed, Succeeded(b'["a"]'))])
    get_broker().unregister(worker.consumer)
    get_broker().register(worker.consumer, lease_ms=600_000)
    worker.work()
    assert last.get(timeout=0) == ["b", ["a"]]
    assert ledger.calls == {"b[['a']]": 1}


# The database is away


def test_a_step_whose_values_cannot_be_read_now_is_offered_again(
    worker: TinyWorker, made: Made, monkeypatch: pytest.MonkeyPatch
):
    last = sent(chain(made("a"), made("b")))
    settle(worker, end(claim(worker), Succeeded(b'["a"]')))
    claimed = claim(worker)
    job = read(claimed)
    assert isinstance(job, Job)

    def away(self: Any, job_id: str) -> None:
        raise StoreUnavailable("it is away")

    with monkeypatch.context() as patch:
        patch.setattr(type(get_store()), "get_many", away)
        outcome = execute(job, Delivery(inputs=inputs_of))
    assert isinstance(outcome, Unsettled)
    monkeypatch.setattr("django_jobs.worker.settler.UNSETTLED_DELAY_MS", 0)
    settle(worker, end(claimed, outcome))
    worker.work()
    assert last.get(timeout=0) == ["b", ["a"]]


def test_steps_follow_although_sending_has_just_failed(worker: TinyWorker, made: Made, monkeypatch: pytest.MonkeyPatch):
    """Whoever cannot send does not try again for a second; a step is part of the transaction, and no try."""
    monkeypatch.setattr("django_jobs.dispatch._broken", get_broker())
    monkeypatch.setattr("django_jobs.dispatch._broken_until", float("inf"))
    last = sent(chain(made("a"), made("b")))
    worker.work()
    assert last.get(timeout=0) == ["b", ["a"]]


@pytest.fixture
def repeatable(stage: Stage) -> Iterator[None]:
    """A project that has chosen a stricter isolation for its transactions, as MariaDB's own default is."""
    alias = get_store().using
    options = connections[alias].settings_dict["OPTIONS"]
    if connections[alias].vendor != "mysql":
        pytest.skip("PostgreSQL refuses what has changed since, and SQLite has one writer")
    before = dict(options)
    options["isolation_level"] = "repeatable read"
    connections[alias].close()
    yield
    options.clear()
    options.update(before)
    connections[alias].close()


@pytest.mark.usefixtures("repeatable")
def test_a_member_that_began_before_another_ended_sees_that(
    worker: TinyWorker, made: Made, monkeypatch: pytest.MonkeyPatch
):
    body = sent(chord([actors.looks_and_calls.s(), made("b")], made("body")))
    first, other = get_broker().claim(worker.consumer, "default", 2).jobs

    def end_the_other() -> None:
        settle(worker, end(other, Succeeded(b'["b"]')))
        connections.close_all()

    def aside() -> None:
        thread = threading.Thread(target=end_the_other)
        thread.start()
        thread.join(20)

    monkeypatch.setattr(actors, "CALLED", aside)
    job = read(first)
    assert isinstance(job, Job)
    outcome = execute(job, Delivery(inputs=inputs_of, atomic=worker.atomic))
    settle(worker, end(first, outcome))
    worker.work()
    assert body.get(timeout=0) == ["body", ["called", ["b"]]]


# Ends that nobody has run to


def test_members_that_expire_or_were_purged_have_failed(stage: Stage, ledger: Ledger, made: Made):
    members = [made("a"), made("late").set(expires=0.001), made("mailed").set(queue="mail")]
    with clock.use(lambda: time.time() - 1):
        handle = sent(group(members, on_member_failure="wait").on_error(made.error("error")))
    assert operations.purge("mail") == 1
    stage.work()
    assert ledger.calls == {"a[]": 1}
    assert ledger.told == {"error": 2}
    with pytest.raises(JobExpired):
        handle.results[1].get(timeout=0)
    assert handle.results[2].state == State.REVOKED
    assert unfinished() == []


def test_a_step_that_was_put_aside_as_dead_has_failed(worker: TinyWorker, ledger: Ledger, made: Made):
    """As when its process was killed because its time was over: a sweep records the end."""
    last = sent(chain(made("killed"), made("never")).on_error(made.error("error")))
    claimed = claim(worker)
    get_broker().unregister(worker.consumer)
    get_broker().revoke(claimed.id, "default")
    get_broker().register(worker.consumer, lease_ms=600_000)
    sweep = DeadSweep(get_broker(), get_store(), worker.settler)
    with clock.use(lambda: time.time() + 60):  # whoever has revoked it had time to record that
        sweep.sweep_if_due(["default"])
    worker.work()
    assert last.parent.state == State.REVOKED
    assert ledger.calls == {}
    assert ledger.told == {"error": 1}
    assert unfinished() == []


def test_a_step_that_nobody_can_read_has_failed(worker: TinyWorker, ledger: Ledger, made: Made):
    last = sent(chain(made("a"), made("never")).on_error(made.error("error")))
    claimed = claim(worker)
    spoilt = claimed._replace(body=claimed.body[:1] + b"not json")
    outcome = read(spoilt)
    assert not isinstance(outcome, Job)
    settle(worker, Finished(spoilt, None, outcome, clock.now_ms(), clock.now_ms()))
    worker.work()
    assert last.parent.state == State.FAILURE
    assert last.state == State.REVOKED
    assert ledger.told == {"error": 1}
    assert unfinished() == []


# Values that are gone


def test_a_body_whose_members_were_forgotten_says_so(worker: TinyWorker, made: Made):
    body = sent(chord([made("a"), made("b")], made("body")))
    for _ in range(2):
        claimed = claim(worker)
        settle(worker, end(claimed, Succeeded(b'["x"]')))
    get_store().forget([body.parent.results[0].id])
    worker.work()
    with pytest.raises(DecodeError, match=r"gone: its result was forgotten") as caught:
        body.get(timeout=0)
    assert body.parent.results[0].id in str(caught.value)
    assert unfinished() == []


def test_a_step_without_a_workflow_ends_as_any_job(worker: TinyWorker, ledger: Ledger, made: Made):
    """Everything about its workflow was deleted while it ran."""
    last = sent(chain(made("a"), made("never")))
    claimed = claim(worker)
    alias = get_store().using
    for model in (Workflow, WorkflowBarrier):
        model.objects.using(alias).all().delete()
    settle(worker, end(claimed, Succeeded(b'["a"]')))
    worker.work()
    assert last.parent.get(timeout=0) == ["a"]
    assert ledger.calls == {}
