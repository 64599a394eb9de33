"""What somebody has deleted under a workflow is found, and mended; and nothing of a workflow that runs is pruned."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_jobs import State, chain, chord, doctor, operations
from django_jobs.brokers import get_broker
from django_jobs.canvas import Expression
from django_jobs.conf import settings
from django_jobs.models import (
    JobResult,
    Workflow,
    WorkflowBarrier,
    WorkflowMember,
    WorkflowScope,
    WorkflowStep,
)
from django_jobs.results import get_store
from django_jobs.workflow import mending
from tests.workflow.actors import Ledger, act, told
from tests.workflow.conftest import Stage, sent


@pytest.fixture(autouse=True)
def _has_tables(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    if stage.is_eager:
        pytest.skip("about tables, and a broker that others can reach")
    monkeypatch.setattr(doctor, "DOUBT_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "hazards_of", lambda broker: [])
    monkeypatch.setattr(mending, "YOUNG_MS", -60_000)


def lose(job_id: str) -> None:
    """Take a job out of broker and outbox, as if it had never been there."""
    broker, store = get_broker(), get_store()
    if store.outbox is not None:
        store.outbox.forget([job_id])
    broker.revoke(job_id, "default")
    assert broker.forget([job_id], "default") == 1


def found() -> list[doctor.Finding]:
    return [finding for finding in doctor.examine() if finding.code in ("step lost", "workflow stalled")]


def mend() -> None:
    for finding in found():
        assert finding.repair is not None
        finding.repair()


def test_a_step_that_nobody_has_is_sent_again(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    last = sent(chain(act.s(label="a", ledger=path), act.s(label="b", ledger=path)))
    stage.work_once()
    assert found() == []
    lose(last.id)
    (finding,) = found()
    assert (finding.code, finding.ids) == ("step lost", (last.id,))
    assert finding.text.startswith("One step was lost on the way")
    mend()
    assert found() == []
    stage.work()
    assert last.get(timeout=0) == ["b", ["a"]]


def test_a_member_that_nobody_has_is_sent_again_at_the_second_look(stage: Stage, ledger: Ledger):
    members = [act.s(label=name, ledger=str(ledger.path)) for name in "abc"]
    last = sent(chord(members, act.s(label="body", ledger=str(ledger.path))))
    lose(last.parent.results[1].id)
    assert mending.lost_steps(before_ms=2**60) == [last.parent.results[1].id]
    assert mending.send_again([last.parent.results[1].id]) == 1
    assert mending.lost_steps(before_ms=2**60) == []
    stage.work()
    assert last.state == State.SUCCESS


@pytest.mark.parametrize("failing", [False, True])
def test_a_workflow_in_which_nothing_is_under_way_goes_on(stage: Stage, ledger: Ledger, failing: bool):
    path = str(ledger.path)
    members = [act.s(label="a", ledger=path, fails=failing), act.s(label="b", ledger=path)]
    body = act.s(label="body", ledger=path).on_error(told.s(label="error", ledger=path))
    last = sent(chord(members, body))
    stage.work()
    steps = WorkflowStep.objects.using(settings.database).filter(pk=last.id)
    JobResult.objects.using(settings.database).filter(pk=last.id).delete()
    steps.update(opened=None, cause=None, source="")
    Workflow.objects.using(settings.database).update(remaining=1, finished_at=None)
    (finding,) = found()
    assert finding.code == "workflow stalled"
    assert finding.text.startswith("One workflow has not finished")
    mend()
    stage.work()
    assert found() == []
    assert last.state == (State.REVOKED if failing else State.SUCCESS)
    assert last.workflow is not None
    assert (last.workflow.remaining, last.workflow.failed) == (0, int(failing))


@pytest.mark.parametrize("shape", ["member", "chain", "fan-out", "callback"])
def test_a_step_that_is_known_to_have_ended_is_never_sent_again(stage: Stage, ledger: Ledger, shape: str):
    """Somebody has deleted its row."""
    path = str(ledger.path)
    a, b, c = (act.s(label=name, ledger=path) for name in "abc")
    waits = act.s(label="waits", ledger=path).set(countdown=3600)
    canvas: Expression = {
        "member": chord([a, waits], c),
        "chain": chain(a, waits),
        "fan-out": chain(a, chord([waits, b], c)),
        "callback": a.link(waits),
    }[shape]
    sent(canvas)
    stage.work_once()
    assert ledger.calls == {"a[]": 1}
    (first,) = JobResult.objects.using(settings.database).values_list("pk", flat=True)
    get_store().forget([str(first)])
    assert mending.lost_steps(before_ms=2**60) == []
    assert mending.send_again([str(first)]) == 0
    assert found() == []
    stage.work_once()
    assert ledger.calls["a[]"] == 1


def test_nothing_of_a_workflow_that_runs_is_pruned(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    last = sent(chain(act.s(label="a", ledger=path).set(ignore_result=True), act.s(label="b", ledger=path)))
    stage.work_once()
    JobResult.objects.using(settings.database).update(expires_at=timezone.now() - timedelta(days=1))
    assert operations.prune() == 0
    stage.work()
    assert last.get(timeout=0) == ["b", ["a"]]
    assert operations.prune() == 1, "its result was ignored, and nobody needs it any more"


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_a_workflow_is_pruned_with_all_that_belongs_to_it(
    stage: Stage, ledger: Ledger, limit: int, monkeypatch: pytest.MonkeyPatch
):
    path = str(ledger.path)
    error = told.s(label="error", ledger=path)

    def canvas(name: str) -> Expression:
        members = [act.s(label=f"{name}{n}", ledger=path) for n in range(4)]
        return chord(members, act.s(label=name, ledger=path)).on_error(error)

    old, kept = sent(canvas("old")), sent(canvas("kept"))
    stage.work()
    Workflow.objects.using(settings.database).filter(pk=old.workflow.id).update(expires_at=timezone.now())
    monkeypatch.setattr(operations.queues, "PRUNE_BATCH", limit)
    operations.prune()
    for model, column, left in (
        (Workflow, "id", kept.workflow.id),
        (WorkflowStep, "workflow_id", kept.workflow.id),
        (WorkflowBarrier, "workflow_id", kept.workflow.id),
        (WorkflowScope, "workflow_id", kept.workflow.id),
        (WorkflowMember, "barrier", kept.parent.id),
    ):
        rows = model._default_manager.using(settings.database).values_list(column, flat=True)
        assert {str(value) for value in rows} == {left}, model


def test_the_end_of_a_step_is_recorded_whatever_was_deleted(
    stage: Stage, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    path = str(ledger.path)
    last = sent(chain(act.s(label="a", ledger=path), act.s(label="b", ledger=path)))
    WorkflowStep.objects.using(settings.database).filter(pk=last.id).delete()
    stage.work()
    assert last.parent.get(timeout=0) == ["a"]
    assert f"The step {last.id}" in caplog.text
