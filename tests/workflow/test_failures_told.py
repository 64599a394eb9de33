"""Error callbacks that cannot be called, and failures that come again, or have passed: each is told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from django_jobs import AsyncResult, State, chain, chord, clock, group
from django_jobs.canvas import Chord, Expression
from django_jobs.exceptions import EncodeError, PayloadTooLarge
from django_jobs.models import JobResult, Workflow, WorkflowStep
from django_jobs.results import get_store
from tests.workflow.actors import Ledger, act, needs, told
from tests.workflow.conftest import Stage, sent
from tests.workflow.tasks import add, fails, hear, log_error

everywhere = pytest.mark.parametrize("stage", ["sqlite", "postgres", "mariadb", "redis-postgres"], indirect=True)


def error(ledger: Ledger, label: str = "error") -> Expression:
    made: Expression = told.s(label=label, ledger=str(ledger.path))
    return made


def counts() -> tuple[int, int, bool]:
    workflow = Workflow.objects.using(get_store().using).get()
    return workflow.remaining, workflow.failed, workflow.finished_at is not None


# What is refused where it is sent


@pytest.mark.parametrize(
    "named",
    [
        log_error.s().set(job_id="6b0b3a1e-0000-7000-8000-000000000001"),
        log_error.s() | hear.s().set(job_id="6b0b3a1e-0000-7000-8000-000000000001"),
        log_error.s().link(hear.s().set(job_id="6b0b3a1e-0000-7000-8000-000000000001")),
        log_error.s().on_error(log_error.s().set(job_id="6b0b3a1e-0000-7000-8000-000000000001")),
    ],
    ids=["itself", "in a chain", "of its callback", "of its error callback"],
)
def test_an_id_in_an_error_callback_is_refused_because_it_may_run_more_than_once(stage: Stage, named: Expression):
    with pytest.raises(ValueError, match="part of an error callback, which runs once for each failure"):
        group(fails.s(), fails.s()).on_error(named).delay()
    with pytest.raises(ValueError, match="part of an error callback"):
        add.s(1, 1).link(fails.s().on_error(named)).delay()


def test_an_error_callback_that_cannot_be_planned_or_travel_is_refused(stage: Stage):
    without_body = Chord(header=group(log_error.s()))
    for errback in (without_body, log_error.s().on_error(without_body)):
        with pytest.raises(ValueError, match="has no body"):
            fails.s().on_error(errback).delay()
    with pytest.raises(EncodeError, match="argument 1"):
        fails.s().on_error(log_error.s(object())).delay()


@pytest.mark.parametrize("stage", ["sqlite"], indirect=True)
def test_an_error_callback_that_is_too_large_is_refused(stage: Stage):
    with (
        override_settings(DJANGO_JOBS={**django_settings.DJANGO_JOBS, "MAX_PAYLOAD": 1000}),
        pytest.raises(PayloadTooLarge, match="log_error is 1,"),
    ):
        fails.s().on_error(hear.si().on_error(log_error.s("x" * 1000))).delay()


# What is gone when the failure comes


@everywhere
def test_an_error_callback_whose_argument_is_gone_fails_alone(
    stage: Stage, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    alias = get_store().using
    argument = JobResult.objects.using(alias).create(
        id=str(uuid4()), task="x", queue="x", state=State.SUCCESS, enqueued_at=clock.stamp()
    )
    path = str(ledger.path)
    canvas = chain(fails.s(), act.s(label="never", ledger=path), act.s(label="nor this", ledger=path))
    last = sent(canvas.on_error(log_error.s(argument)).on_error(error(ledger)))
    argument.delete()
    stage.work()
    assert ledger.told == {"error": 1}, "the other one is called"
    assert (last.parent.parent.state, last.parent.state, last.state) == (State.FAILURE, State.REVOKED, State.REVOKED)
    assert counts() == (0, 2, True)
    assert "cannot be called" in caplog.text
    alone = WorkflowStep.objects.using(alias).get(task=log_error.name)
    row = JobResult.objects.using(alias).get(pk=alone.pk)
    assert (row.state, row.exception_type.rpartition(".")[2]) == (State.FAILURE, "RelatedObjectMissing")


@everywhere
def test_error_callbacks_that_cannot_be_written_leave_the_rest_of_the_workflow_alone(
    stage: Stage, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    workflows = get_store().workflows
    assert workflows is not None
    extend = type(workflows).extend

    def refuses(self: Any, plan: Any) -> None:
        extend(self, plan)
        if plan.steps[0].signature.kwargs:  # the step that says that it has failed has none
            extend(self, plan)  # the same ids again

    monkeypatch.setattr(type(workflows), "extend", refuses)
    last = sent(chain(fails.s(), act.s(label="never", ledger=str(ledger.path))).on_error(error(ledger)))
    stage.work()
    assert (last.parent.state, last.state) == (State.FAILURE, State.REVOKED)
    assert counts() == (0, 2, True)


# Failures that come again


@everywhere
def test_a_failure_after_a_retry_is_told_again_however_ends_are_batched(stage: Stage, ledger: Ledger, tmp_path: Path):
    """The cause of the failure of a group has ended before the last of its members, in another transaction."""
    path, flags = str(ledger.path), [tmp_path / name for name in "xy"]
    members = [needs.s(path=str(flags[0])), needs.s(path=str(flags[1])).set(queue="mail")]
    body = act.s(label="body", ledger=path).on_error(error(ledger))
    last = sent(chord(members, body, on_member_failure="wait"))
    for turn in (1, 2):
        work_on(stage, "default")
        assert ledger.told["error"] == turn - 1
        work_on(stage, "mail")
        stage.work()
        assert ledger.told == {"error": turn}
        last.workflow.retry()
    flags[0].touch()
    flags[1].touch()
    stage.work()
    assert last.get(timeout=0) == ["body", [["needs"], ["needs"]]]
    assert ledger.told == {"error": 2}


def test_a_group_that_fails_anew_because_of_one_member_is_told_of_again(stage: Stage, ledger: Ledger, tmp_path: Path):
    """Each member is sent again by itself; which of them was the cause before makes no difference."""
    path, flags = str(ledger.path), [tmp_path / name for name in "xyz"]
    body = act.s(label="body", ledger=path).on_error(error(ledger))
    last = sent(chord([needs.s(path=str(flag)) for flag in flags], body, on_member_failure="wait"))
    stage.work()
    members = last.parent.results
    for times, member in enumerate([*members, *reversed(members)], 2):
        member.retry()
        stage.work()
        assert ledger.told == {"error": times}
        told_of = [entry["error"] for entry in ledger.entries() if "told" in entry][-1]
        assert told_of == f"{flags[members.index(member)]} is not there", "the newest failure is told"
    for flag, member in zip(flags, members, strict=True):
        flag.touch()
        member.retry()
        stage.work()
    assert last.get(timeout=0) == ["body", [["needs"]] * 3]
    assert ledger.told == {"error": 7}, "what has failed before is no new failure"


def test_a_group_around_a_group_is_told_of_what_failed_while_it_was_open(stage: Stage, ledger: Ledger, tmp_path: Path):
    if stage.is_eager:
        pytest.skip("there, a group has ended before anything can be sent again")
    path, flags = str(ledger.path), [tmp_path / name for name in "xy"]
    inner = chord([needs.s(path=str(flag)) for flag in flags], act.s(label="in", ledger=path), on_member_failure="wait")
    late = act.s(label="late", ledger=path).set(queue="mail")
    outer = chord([inner, late], act.s(label="out", ledger=path).on_error(error(ledger)), on_member_failure="wait")
    last = sent(outer)
    work_on(stage, "default")
    assert ledger.told == {}
    flags[0].touch()
    steps = WorkflowStep.objects.using(get_store().using).filter(task=needs.name).order_by("position")
    AsyncResult(steps[0].pk).retry()
    work_on(stage, "default")
    stage.work()
    assert ledger.told == {"error": 1}
    assert last.state == State.REVOKED


def test_a_new_failure_in_an_open_group_is_told_although_something_else_is_sent_again(
    stage: Stage, ledger: Ledger, tmp_path: Path
):
    if stage.is_eager:
        pytest.skip("there, a group has ended before anything can be sent again")
    path, flags = str(ledger.path), [tmp_path / name for name in "xyz"]
    aside = needs.s(path=str(flags[2]))
    members = [needs.s(path=str(flags[0])), needs.s(path=str(flags[1])).set(queue="mail"), hear.si(1).link(aside)]
    body = act.s(label="body", ledger=path).on_error(error(ledger))
    last = sent(chord(members, body, on_member_failure="wait"))
    stage.work()
    assert ledger.told == {"error": 1}
    last.workflow.retry()
    flags[1].touch()
    work_on(stage, "default")
    steps = WorkflowStep.objects.using(get_store().using).filter(task=needs.name, target=None)
    AsyncResult(steps.get().pk).retry()
    work_on(stage, "default")
    assert ledger.told == {"error": 1}
    stage.work()
    assert ledger.told == {"error": 2}


def test_a_step_that_runs_for_the_first_time_after_a_retry_fails_its_group_anew(
    stage: Stage, ledger: Ledger, tmp_path: Path
):
    path, flags = str(ledger.path), [tmp_path / name for name in "xy"]
    body = act.s(label="body", ledger=path).on_error(error(ledger))
    header = [needs.s(path=str(flags[0])) | needs.s(path=str(flags[1])), hear.si(1)]
    last = sent(chord(header, body))
    stage.work()
    flags[0].touch()
    last.workflow.retry()
    stage.work()
    assert [entry["error"] for entry in ledger.entries() if "told" in entry] == [
        f"{flag} is not there" for flag in flags
    ]


def work_on(stage: Stage, queue: str) -> None:
    """Run what is in one queue, and what follows there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.workflow.conftest.QUEUES", (queue,))
        stage.work()


# Failures that have passed


@everywhere
@pytest.mark.parametrize("kind", ["step", "group"])
@pytest.mark.parametrize("is_mended", [False, True])
def test_a_failure_is_told_as_it_was_although_its_step_was_sent_again(
    stage: Stage, ledger: Ledger, tmp_path: Path, kind: str, is_mended: bool
):
    flag = tmp_path / "x"
    step = needs.s(path=str(flag)).set(queue="mail")
    body = act.s(label="body", ledger=str(ledger.path)).on_error(error(ledger))
    last = sent(chord([step | hear.s(), hear.si(1)], body) if kind == "group" else step.on_error(error(ledger)))
    work_on(stage, "mail")
    assert ledger.told == {}
    last.workflow.retry()
    if is_mended:
        flag.touch()
        work_on(stage, "mail")
    work_on(stage, "default")
    assert [entry["error"] for entry in ledger.entries() if "told" in entry] == [f"{flag} is not there"]
