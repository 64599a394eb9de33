"""A member adds further members to its group, and what follows the group waits for them, too."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from django_jobs import chain, chord, group
from django_jobs.exceptions import JobsError
from django_jobs.models import WorkflowStep
from django_jobs.results import get_store
from tests.workflow import actors
from tests.workflow.actors import Ledger, act, growing, grows_and_calls
from tests.workflow.conftest import Stage, TinyWorker, sent


def test_a_chord_grows(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    members = [growing.s([1, 2], ledger=path), act.s(label="a", ledger=path)]
    last = sent(chord(members, act.s(label="body", ledger=path)))
    stage.work()
    assert last.get(timeout=0) == ["body", ["growing", ["a"], ["grown 1"], ["grown 2"]]]
    assert last.workflow is not None
    assert last.workflow.ready()
    assert len(type(last.parent).restore(last.parent.id)) == 4


def test_a_group_alone_grows(stage: Stage, ledger: Ledger):
    handle = sent(group(growing.s([1], ledger=str(ledger.path)), growing.s([2], ledger=str(ledger.path))))
    stage.work()
    found = handle.get(timeout=0)
    assert found[:2] == ["growing", "growing"]
    assert sorted(found[2:]) == [["grown 1"], ["grown 2"]]


def test_what_is_no_member_cannot(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    alone = growing.s([1], ledger=path)
    for canvas in (alone, chain(alone, act.s(label="b", ledger=path))):
        last = sent(canvas)
        stage.work()
        first = last.parent or last
        with pytest.raises(Exception, match="no member of a group"):
            first.get(timeout=0)


# In a job that is one transaction


@pytest.fixture
def rows(stage: Stage) -> str:
    """The database that keeps the results: an atomic job needs one."""
    if not get_store().is_transactional:
        pytest.skip("keeps results in memory")
    return get_store().using


def test_an_atomic_member_grows_its_group(stage: Stage, ledger: Ledger, rows: str):
    path = str(ledger.path)
    last = sent(
        chord([grows_and_calls.s(ledger=path), act.s(label="a", ledger=path)], act.s(label="body", ledger=path))
    )
    stage.work()
    assert last.get(timeout=0) == ["body", ["grows", ["a"], ["grown"]]]


def test_one_that_fails_adds_nothing(stage: Stage, ledger: Ledger, rows: str):
    path = str(ledger.path)
    members = [grows_and_calls.s(ledger=path, fails=True), act.s(label="a", ledger=path)]
    handle = sent(group(members, on_member_failure="wait"))
    stage.work()
    assert [one.state for one in handle.results] == ["FAILURE", "SUCCESS"]
    assert len(type(handle).restore(handle.id)) == 2
    assert WorkflowStep.objects.using(rows).count() == 2


def test_nobody_waits_for_one_that_goes_on_after_it_has_grown(
    stage: Stage, ledger: Ledger, rows: str, monkeypatch: pytest.MonkeyPatch
):
    """Another process records an end in the same group meanwhile, and lets it fail: then there is nothing to add to."""
    if not isinstance(stage, TinyWorker) or connections[rows].vendor == "sqlite":
        pytest.skip("has one writer at a time")
    path = str(ledger.path)
    last = sent(
        chord(
            [grows_and_calls.s(ledger=path), act.s(label="a", ledger=path, fails=True)], act.s(label="b", ledger=path)
        )
    )
    first, other = stage.take()
    ended = threading.Event()

    def end_the_other() -> None:
        stage.run([other])
        ended.set()
        connections.close_all()

    def aside() -> None:
        thread = threading.Thread(target=end_the_other)
        thread.start()
        thread.join(10)
        assert ended.is_set()

    monkeypatch.setattr(actors, "CALLED", aside)
    stage.run([first])
    stage.work()
    assert last.state == "REVOKED"
    grown, failed = last.parent.results
    assert (grown.state, failed.state) == ("FAILURE", "FAILURE")
    with pytest.raises(JobsError, match="cannot grow"):
        grown.get(timeout=0)
    assert WorkflowStep.objects.using(rows).count() == 3
