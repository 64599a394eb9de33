"""What a workflow may still need is kept, and the rest goes in its time."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections, transaction
from django.utils import timezone

from django_jobs import AsyncResult, State, chain, chord, operations
from django_jobs.canvas import Expression
from django_jobs.conf import settings
from django_jobs.exceptions import JobUnknown
from django_jobs.models import JobResult, Workflow, WorkflowBarrier
from django_jobs.results import get_store
from django_jobs.workflow import mending
from tests.workflow.actors import Ledger, act, needs
from tests.workflow.conftest import Stage, sent

AGO = timedelta(days=1)


@pytest.fixture(autouse=True)
def _has_tables(stage: Stage, request: pytest.FixtureRequest) -> None:
    if stage.is_eager and "eager" not in request.node.originalname:
        pytest.skip("about tables")


def let_results_expire() -> None:
    JobResult.objects.using(settings.database).update(expires_at=timezone.now() - AGO)


def let_workflows_expire() -> None:
    Workflow.objects.using(settings.database).update(expires_at=timezone.now() - AGO)


def half_failing(ledger: Ledger, flag: Path) -> Expression:
    path = str(ledger.path)
    first = act.s(label="a", ledger=path).set(ignore_result=True)
    return chain(first, chord([act.s(label="b", ledger=path), needs.s(path=str(flag))], act.s(label="c", ledger=path)))


def test_what_can_be_retried_is_not_pruned(stage: Stage, ledger: Ledger, tmp_path: Path):
    flag = tmp_path / "flag"
    last = sent(half_failing(ledger, flag))
    stage.work()
    let_results_expire()
    assert operations.prune() == 0
    flag.touch()
    last.workflow.retry()
    assert mending.lost_steps(before_ms=2**60) == []
    stage.work()
    assert last.get(timeout=0) == ["c", [["b", ["a"]], ["needs", ["a"]]]]
    assert set(ledger.calls.values()) == {1}
    let_results_expire()
    assert operations.prune() == 4, "nothing in it has failed any more"


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_results_go_with_a_workflow_that_has_failed(
    stage: Stage, ledger: Ledger, tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
):
    last = sent(half_failing(ledger, tmp_path / "flag"))
    stage.work()
    let_results_expire()
    rows = JobResult.objects.using(settings.database)
    rows.filter(pk=last.id).update(expires_at=timezone.now() + AGO)
    let_workflows_expire()
    monkeypatch.setattr(operations.queues, "PRUNE_BATCH", limit)
    operations.prune()
    assert not Workflow.objects.using(settings.database).exists()
    assert [str(pk) for pk in rows.values_list("pk", flat=True)] == [last.id], "it is to be kept for longer"
    let_results_expire()
    assert operations.prune() == 1


def test_a_workflow_that_is_retried_meanwhile_keeps_its_barriers(stage: Stage, ledger: Ledger, tmp_path: Path):
    """Pruning has seen that it is over, and gets to it when it is locked, or no longer over."""
    if connections[settings.database].vendor == "sqlite":
        pytest.skip("it has one writer at a time")
    flag = tmp_path / "flag"
    last = sent(half_failing(ledger, flag))
    stage.work()
    let_workflows_expire()
    flag.touch()
    pruned: list[int] = []

    def prune() -> None:
        pruned.append(get_store().prune())
        connections.close_all()

    pruning = threading.Thread(target=prune)
    with transaction.atomic(settings.database):
        last.workflow.retry()
        pruning.start()
        if connections[settings.database].features.has_select_for_update_skip_locked:
            pruning.join(20)
            assert pruned == [0], "it does not wait for who has it"
    pruning.join(20)
    assert pruned == [0]
    assert WorkflowBarrier.objects.using(settings.database).count() == 1
    stage.work()
    assert last.state == State.SUCCESS


def test_what_is_forgotten_is_kept_for_what_follows(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    last = sent(chord([act.s(label=name, ledger=path) for name in "ab"], act.s(label="c", ledger=path)))
    stage.work_once()
    last.parent.forget()
    assert [member.state for member in last.parent] == [State.SUCCESS, State.SUCCESS]
    assert operations.prune() == 0
    assert mending.lost_steps(before_ms=2**60) == []
    stage.work()
    assert last.get(timeout=0) == ["c", [["a"], ["b"]]]
    assert operations.prune() == 2
    last.forget()
    assert not JobResult.objects.using(settings.database).exists()


def test_a_step_that_is_forgotten_does_not_run_again_with_a_retry(stage: Stage, ledger: Ledger, tmp_path: Path):
    flag = tmp_path / "flag"
    last = sent(half_failing(ledger, flag))
    stage.work()
    last.parent.forget()
    assert operations.prune() == 0
    flag.touch()
    last.workflow.retry()
    stage.work()
    assert last.state == State.SUCCESS
    assert set(ledger.calls.values()) == {1}


def test_forgetting_works_where_all_is_eager(stage: Stage, ledger: Ledger, tmp_path: Path):
    """Nothing is pruned there, so what has failed stays; all else goes."""
    path = str(ledger.path)
    good = sent(chain(act.s(label="a", ledger=path), act.s(label="b", ledger=path)))
    bad = sent(chain(act.s(label="c", ledger=path), needs.s(path=str(tmp_path / "flag"))))
    stage.work()
    for handle in (good, good.parent, bad, bad.parent):
        handle.forget()
    seen = get_store().get_many([good.id, good.parent.id, bad.id, bad.parent.id])
    assert seen.keys() == {bad.id, bad.parent.id}


@pytest.mark.parametrize("failing", [False, True])
def test_a_step_whose_result_was_pruned_is_not_waited_for(stage: Stage, ledger: Ledger, failing: bool):
    path = str(ledger.path)
    first = act.s(label="a", ledger=path, fails=failing).set(ignore_result=True)
    last = sent(chain(first, act.s(label="b", ledger=path)))
    assert (last.parent.state, last.state) == (State.PENDING, State.BLOCKED)
    stage.work()
    assert last.ready()
    get_store().forget([last.id, last.parent.id])
    for step_id in (last.id, last.parent.id):
        assert AsyncResult(step_id).state == State.UNKNOWN
        with pytest.raises(JobUnknown):
            AsyncResult(step_id).get(timeout=20)


def test_a_step_that_may_be_on_its_way_is_waited_for(stage: Stage, ledger: Ledger):
    last = sent(chain(act.s(label="a", ledger=str(ledger.path)), act.s(label="b", ledger=str(ledger.path))))
    stage.work_once()
    get_store().forget([last.parent.id])
    assert AsyncResult(last.parent.id).state == State.BLOCKED
