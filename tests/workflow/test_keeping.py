"""What a workflow may still need is kept, and the rest goes in its time."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections, transaction
from django.utils import timezone

from django_jobs import State, chain, chord, operations
from django_jobs.canvas import Expression
from django_jobs.conf import settings
from django_jobs.models import JobResult, Workflow, WorkflowBarrier
from django_jobs.results import get_store
from django_jobs.workflow import mending
from tests.workflow.actors import Ledger, act, needs
from tests.workflow.conftest import Stage, sent

AGO = timedelta(days=1)


@pytest.fixture(autouse=True)
def _has_tables(stage: Stage) -> None:
    if stage.is_eager:
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
