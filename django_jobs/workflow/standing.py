"""How workflows stand, as operators see them: read from what is kept, and changing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q

from django_jobs import clock
from django_jobs.conf import settings
from django_jobs.models.workflow import CONDITIONS, Workflow
from django_jobs.results import get_store
from django_jobs.results.base import Settled
from django_jobs.results.sql import batches
from django_jobs.results.workflows import KeptBarrier, KeptStep
from django_jobs.states import State
from django_jobs.workflow.starting import workflows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a workflow stands. Moments: ms since the epoch."""

    id: str
    name: str
    state: str
    #: How many steps it has; how many of them have ended, and have failed or were revoked.
    size: int
    ended: int
    failed: int
    sent_ms: int
    #: None: it goes on.
    finished_ms: int | None
    revoked_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStanding:
    """How a step stands. PENDING: its job was sent, and has left no row yet."""

    id: str
    task: str
    state: str
    #: The step whose failure kept this one from running.
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStanding:
    """How a group stands: STARTED until it has succeeded or failed."""

    id: str
    state: str
    #: How many members it has; how many of them have ended, and have failed.
    size: int
    ended: int
    failed: int
    #: The step whose failure is its failure.
    cause: str | None = None


def newest(*, states: Sequence[State] = (), since_ms: int | None = None, limit: int) -> list[Standing]:
    """Return workflows in one of these states, in any without one, not sent before a moment; the newest first."""
    rows = Workflow.objects.using(settings.database).order_by("-pk")
    if states:
        wanted = Q()
        for state in states:
            wanted |= CONDITIONS[state]
        rows = rows.filter(wanted)
    if since_ms is not None:
        rows = rows.filter(created_at__gte=clock.as_stamp(clock.from_ms(since_ms)))
    return [_standing(row) for row in rows[:limit]]


def find(workflow_id: str) -> Standing | None:
    """Return how a workflow stands; None: there is none."""
    row = Workflow.objects.using(settings.database).filter(pk=workflow_id).first()
    return None if row is None else _standing(row)


def _standing(row: Workflow) -> Standing:
    return Standing(
        id=str(row.pk),
        name=row.name,
        state=row.state.value,
        size=row.size,
        ended=row.size - row.remaining,
        failed=row.failed,
        sent_ms=clock.stamp_ms(row.created_at),
        finished_ms=None if row.finished_at is None else clock.stamp_ms(row.finished_at),
        revoked_ms=None if row.revoked_at is None else clock.stamp_ms(row.revoked_at),
    )


def steps(standing: Standing) -> list[StepStanding]:
    """Return how the steps of a workflow stand, in the order of their ids."""
    store = get_store()
    kept = workflows_of(store).steps_of(standing.id)
    rows = {one: row for some in batches(kept) for one, row in store.settled([step.id for step in some]).items()}
    return [_step(step, rows.get(step.id), over=standing.finished_ms is not None) for step in kept]


def _step(step: KeptStep, row: Settled | None, *, over: bool) -> StepStanding:
    if row is not None:
        state = row.state
    elif step.cause is not None:
        state = State.REVOKED.value
    elif step.opened_ms is None:
        state = State.BLOCKED.value
    else:
        state = State.UNKNOWN.value if over else State.PENDING.value
    return StepStanding(id=step.id, task=step.task, state=state, cause=None if step.cause == step.id else step.cause)


def groups(standing: Standing) -> list[GroupStanding]:
    """Return how the groups of a workflow stand."""
    return [_group(kept) for kept in workflows_of(get_store()).barriers_of(standing.id)]


def _group(kept: KeptBarrier) -> GroupStanding:
    state = State.STARTED if kept.resolved_ms is None else State.SUCCESS if kept.cause is None else State.FAILURE
    return GroupStanding(
        id=kept.barrier.id,
        state=state.value,
        size=kept.barrier.size,
        ended=kept.reported,
        failed=kept.failed,
        cause=kept.cause if kept.resolved_ms is not None else None,
    )


def never_ran(step_ids: Sequence[str]) -> dict[str, str]:
    """Return the ids of the workflows of those of these steps that never ran, because of another's end or their own."""
    workflows = get_store().workflows
    if workflows is None:
        return {}
    found = (step for some in batches(step_ids) for step in workflows.steps(some).values())
    return {step.id: step.workflow_id for step in found if step.cause is not None}
