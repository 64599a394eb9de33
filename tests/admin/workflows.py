"""Workflows as sending and workers leave them, small ones run for real, large ones written as rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connections

from django_jobs import chain, chord, clock, group
from django_jobs.canvas import Expression
from django_jobs.identifiers import new_id, new_ids
from django_jobs.models import JobResult, Workflow, WorkflowBarrier, WorkflowStep
from django_jobs.states import State
from tests.admin import tasks
from tests.workflow.conftest import TinyWorker

WORKFLOWS = "/admin/django_jobs/workflow/"


def send(canvas: Expression, *, run: bool = True, using: str = "default") -> Workflow:
    """Send a canvas, and run all there is to run. Return its workflow."""
    rows = Workflow.objects.using(using)
    known = set(rows.values_list("pk", flat=True))
    canvas.delay()
    if run:
        TinyWorker().work()
    return rows.exclude(pk__in=known).get()


def a_chain() -> Expression:
    return chain(tasks.fetch.si(), tasks.resize.s(), tasks.publish.s())


def a_chord(*, failing: int = 0, width: int = 4) -> Expression:
    members = [tasks.resize.s(size=n, fails=n < failing) for n in range(width)]
    return chain(tasks.fetch.si(), group(members), tasks.publish.s())


def a_nested_canvas() -> Expression:
    """Fails in a chord in a group, has a callback and error callbacks."""
    inner = chord([tasks.resize.si(1), tasks.resize.si(2, fails=True)], tasks.publish.s())
    lanes = group(chain(tasks.fetch.si(n), tasks.resize.s(), inner if n == 1 else tasks.publish.s()) for n in range(3))
    last = tasks.publish.s().link(tasks.notify.s())
    return chain(tasks.fetch.si().link(tasks.notify.s()), lanes, last).on_error(tasks.apologize.s())


def make_workflow(*, age: float = 60, save: bool = True, **values: Any) -> Workflow:
    """Make the row of a workflow that was sent ``age`` seconds ago."""
    fields = {
        "id": new_id(),
        "name": "chord of shop.jobs.resize, shop.jobs.publish",
        "created_at": clock.now() - timedelta(seconds=age),
        "size": 12,
        "remaining": 5,
    } | values
    workflow = Workflow(**fields)
    if save:
        workflow.save(force_insert=True)
    return workflow


def make_large_chord(members: int, *, using: str = "default", failed: int = 2, succeeded: int = 40) -> Workflow:
    """Write a chord of many members, of which some have failed, some have succeeded, and the others were sent."""
    sent_at = clock.now() - timedelta(minutes=5)
    sent_ms = clock.to_ms(sent_at)
    workflow = make_workflow(
        save=False, size=members + 1, remaining=members + 1 - failed - succeeded, failed=failed, created_at=sent_at
    )
    workflow.save(using=using, force_insert=True)
    barrier, body = new_ids(2)
    ids = new_ids(members)
    WorkflowBarrier.objects.using(using).create(
        id=barrier, workflow_id=workflow.pk, size=members, reported=failed + succeeded, failed=failed, target=body,
        waits=True,
    )  # fmt: skip
    steps = [
        WorkflowStep(
            id=one, workflow_id=workflow.pk, task=tasks.resize.name, target=barrier, position=n, entry=barrier,
            signature='{"args":["unredacted"]}', opened=sent_ms,
        )
        for n, one in enumerate(ids)
    ]  # fmt: skip
    last = WorkflowStep(id=body, workflow_id=workflow.pk, task=tasks.publish.name, signature="{}", takes_value=True)
    WorkflowStep.objects.using(using).bulk_create([last, *steps], batch_size=1000)
    states = [State.FAILURE] * failed + [State.SUCCESS] * succeeded
    JobResult.objects.using(using).bulk_create(
        [_job(workflow, one, state, n) for n, (one, state) in enumerate(zip(ids, states, strict=False))],
        batch_size=1000,
    )
    return workflow


def _job(workflow: Workflow, pk: str, state: State, n: int) -> JobResult:
    started = workflow.created_at + timedelta(seconds=n / 10)
    return JobResult(
        id=pk, task=tasks.resize.name, queue="default", state=state.value, fence=1, workflow_id=workflow.pk,
        enqueued_at=workflow.created_at, started_at=started, finished_at=started + timedelta(seconds=1.5),
    )  # fmt: skip


def make_many(count: int, *, using: str = "default") -> None:
    """Write many workflows, of which every tenth has failed and every hundredth runs."""
    now = clock.now()
    Workflow.objects.using(using).bulk_create(
        (_workflow(now - timedelta(minutes=count - n), n) for n in range(count)), batch_size=5000
    )
    analyze(using, Workflow._meta.db_table)


def _workflow(sent: Any, n: int) -> Workflow:
    runs, failed = n % 100 == 7, n % 10 == 3
    return make_workflow(
        save=False, id=_id_at(clock.to_ms(sent), n), created_at=sent, remaining=5 if runs else 0,
        failed=int(failed), finished_at=None if runs else sent + timedelta(seconds=30),
    )  # fmt: skip


def _id_at(moment_ms: int, n: int) -> str:
    text = f"{moment_ms:012x}7{n % 4096:03x}8{n:015x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def analyze(using: str, *tables: str) -> None:
    """Let a database look at its tables, as it does by itself after a while."""
    connection = connections[using]
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ANALYZE TABLE {table}" if connection.vendor == "mysql" else f"ANALYZE {table}")
            cursor.fetchall() if cursor.description else None
