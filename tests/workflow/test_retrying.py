"""A failed workflow goes on from the steps that failed: what has succeeded does not run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from django_jobs import AsyncResult, GroupResult, State, UpstreamFailed, chain, chord, group
from django_jobs.canvas.composition import ON_MEMBER_FAILURE, OnMemberFailure
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsError
from django_jobs.middleware import Middleware
from tests.workflow.actors import Ledger, act, needs, told
from tests.workflow.conftest import Stage, sent


def test_a_chain_goes_on(stage: Stage, ledger: Ledger, tmp_path: Path):
    path, flag = str(ledger.path), tmp_path / "flag"
    last = sent(chain(act.s(label="a", ledger=path), needs.s(path=str(flag)), act.s(label="c", ledger=path)))
    stage.work()
    workflow = last.workflow
    assert workflow is not None
    assert (workflow.state, workflow.remaining, workflow.failed) == (State.FAILURE, 0, 1)
    with pytest.raises(UpstreamFailed) as caught:
        last.get(timeout=0)
    assert str(caught.value.__cause__) == f"{flag} is not there"
    flag.touch()
    workflow.retry()
    stage.work()
    assert AsyncResult(last.id).get(timeout=0) == ["c", ["needs", ["a"]]]
    assert ledger.calls == {"a[]": 1, "c[['needs', ['a']]]": 1}
    assert (workflow.state, workflow.remaining, workflow.failed) == (State.SUCCESS, 0, 0)
    with pytest.raises(JobsError, match="nothing to go on with"):
        workflow.retry()


@pytest.mark.parametrize("rule", ON_MEMBER_FAILURE)
def test_a_chord_goes_on_when_all_that_failed_have_succeeded(
    stage: Stage, ledger: Ledger, tmp_path: Path, rule: OnMemberFailure
):
    path, flags = str(ledger.path), [tmp_path / name for name in "xy"]
    members = [act.s(label="a", ledger=path), *(needs.s(path=str(flag)) for flag in flags)]
    inner = chord(members, act.s(label="body", ledger=path), on_member_failure=rule)
    last = sent(chain(inner, act.s(label="last", ledger=path)))
    stage.work()
    workflow = last.workflow
    assert workflow is not None
    assert (workflow.state, workflow.failed) == (State.FAILURE, 2)
    flags[0].touch()
    workflow.retry()
    stage.work()
    assert (workflow.state, workflow.remaining, workflow.failed) == (State.FAILURE, 0, 1)
    flags[1].touch()
    workflow.retry()
    stage.work()
    assert last.get(timeout=0) == ["last", ["body", [["a"], ["needs"], ["needs"]]]]
    assert sum(ledger.calls.values()) == 3
    assert (workflow.state, workflow.remaining, workflow.failed) == (State.SUCCESS, 0, 0)


def test_one_of_two_is_sent_again_by_its_own_handle(stage: Stage, ledger: Ledger, tmp_path: Path):
    path, flags = str(ledger.path), [tmp_path / name for name in "xy"]
    error = told.s(label="error", ledger=path)
    body = act.s(label="body", ledger=path).on_error(error)
    last = sent(chord([needs.s(path=str(flag)) for flag in flags], body, on_member_failure="wait"))
    stage.work()
    assert ledger.told == {"error": 1}
    for flag, member in zip(flags, last.parent.results, strict=True):
        flag.touch()
        member.retry()
        stage.work()
    assert last.get(timeout=0) == ["body", [["needs"], ["needs"]]]
    assert ledger.told == {"error": 1}, "a failure is told once"
    assert last.workflow is not None
    assert (last.workflow.remaining, last.workflow.failed) == (0, 0)


def test_what_has_opened_does_not_open_again(stage: Stage, ledger: Ledger, tmp_path: Path):
    path, flag = str(ledger.path), tmp_path / "x"
    members = [act.s(label="a", ledger=path), needs.s(path=str(flag))]
    last = sent(chord(members, act.s(label="body", ledger=path), allow_failures=1))
    stage.work()
    assert last.state == State.SUCCESS
    flag.touch()
    last.parent.results[1].retry()
    stage.work()
    assert [call for call in ledger.calls if call.startswith("body")] == ["body[[['a'], 'failed']]"]
    assert last.workflow is not None
    assert (last.workflow.state, last.workflow.failed) == (State.SUCCESS, 0)


def test_a_replaced_step_that_failed_inside_goes_on(stage: Stage, ledger: Ledger, tmp_path: Path):
    path, flag = str(ledger.path), tmp_path / "x"
    inside = (act.s(label="inside", ledger=path) | needs.s(path=str(flag))).to_dict()
    last = sent(act.s(label="a", ledger=path, replacement=inside) | act.s(label="b", ledger=path))
    stage.work()
    assert last.workflow is not None
    assert last.workflow.state == State.FAILURE
    flag.touch()
    last.workflow.retry()
    stage.work()
    assert last.get(timeout=0) == ["b", ["needs", ["inside"]]]
    assert last.parent.get(timeout=0) == ["needs", ["inside"]]


def test_a_group_alone_goes_on(stage: Stage, ledger: Ledger, tmp_path: Path):
    flag = tmp_path / "x"
    handle = sent(group(needs.s(path=str(flag)), act.s(label="a", ledger=str(ledger.path))))
    stage.work()
    assert handle.failed()
    flag.touch()
    handle.retry()
    stage.work()
    assert handle.get(timeout=0) == [["needs"], ["a"]]
    assert GroupResult.restore(handle.id).successful()
    with pytest.raises(JobsError, match="no job that could be sent again"):
        handle.retry()


class Drops(Middleware):
    """Lets nothing pass."""

    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        pass


class Raises(Middleware):
    """Refuses everything."""

    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        raise JobsError("cannot be sent again today")


@pytest.mark.parametrize("refusal", [Drops, Raises])
def test_a_retry_that_middleware_does_not_let_pass_leaves_all_as_it_was(
    stage: Stage, ledger: Ledger, tmp_path: Path, refusal: type[Middleware]
):
    path, flag = str(ledger.path), tmp_path / "x"
    last = sent(chain(needs.s(path=str(flag)), act.s(label="b", ledger=path)).on_error(told.s(label="e", ledger=path)))
    alone = needs.delay(path=str(flag))
    stage.work()
    workflow = last.workflow
    assert workflow is not None
    flag.touch()
    given = {**getattr(django_settings, "DJANGO_JOBS", {}), "MIDDLEWARE": [f"{__name__}.{refusal.__name__}"]}
    with override_settings(DJANGO_JOBS=given):
        for again in (alone.retry, last.parent.retry, workflow.retry):
            with pytest.raises(JobsError, match=r"cannot be sent again|nothing to go on with"):
                again()
        stage.work()
    assert (alone.state, last.parent.state, last.state) == (State.FAILURE, State.FAILURE, State.REVOKED)
    assert (workflow.state, workflow.remaining, workflow.failed) == (State.FAILURE, 0, 1)
    assert ledger.told == {"e": 1}
    alone.retry()
    workflow.retry()
    stage.work()
    assert (alone.get(timeout=0), last.get(timeout=0)) == (["needs"], ["b", ["needs"]])
    assert (workflow.state, workflow.remaining, workflow.failed) == (State.SUCCESS, 0, 0)
