"""From the records of a plan to rows, and back."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from django_jobs.canvas.composition import OnMemberFailure
from django_jobs.canvas.expression import Expression
from django_jobs.canvas.records import Barrier, Continuation, Join, KeptErrback, Scope, Step, Then
from django_jobs.results.workflows.base import KeptBarrier, KeptStep, Member, ids_in, text_of
from django_jobs.results.workflows.tables import BARRIERS, MEMBERS, SCOPES, STEPS
from django_jobs.serializers import dump_packed, load_packed

#: The position of what opens all that enters a barrier.
FAN_OUT = -1
_TASK_LENGTH = 255


class _StepRow(NamedTuple):
    id: str
    workflow_id: str
    target: str | None
    position: int | None
    callbacks: str
    scopes: str
    cause: str | None
    task: str
    signature: str
    entry: str | None
    takes_value: bool
    leads: str
    opened: int | None
    source: str


class _BarrierRow(NamedTuple):
    id: str
    workflow_id: str
    target: str | None
    position: int | None
    callbacks: str
    scopes: str
    cause: str | None
    size: int
    waits: bool
    allow_failures: int
    reported: int
    failed: int
    resolved: int | None


#: All of a step but its signature, which is long and seldom needed.
STEP_COLUMNS = tuple(name for name in _StepRow._fields if name != "signature")

assert STEPS.columns == _StepRow._fields
assert BARRIERS.columns == _BarrierRow._fields
assert (SCOPES.columns, MEMBERS.columns) == (("id", "workflow_id", "errbacks"), Member._fields)


def place_of(continuation: Continuation | None) -> tuple[str | None, int | None]:
    """Return a continuation as target and position."""
    match continuation:
        case Join(barrier, index):
            return barrier, index
        case Then(target, fan_out):
            return target, FAN_OUT if fan_out else None
    return None, None


def continuation_of(target: str | None, position: int | None) -> Continuation | None:
    """Return what ``place_of`` was given."""
    if target is None:
        return None
    return Then(target, position == FAN_OUT) if position is None or position == FAN_OUT else Join(target, position)


def _callbacks_text(callbacks: tuple[Continuation, ...]) -> str:
    return json.dumps([place_of(callback) for callback in callbacks], separators=(",", ":")) if callbacks else ""


def _callbacks_in(text: str) -> tuple[Continuation, ...]:
    made = [continuation_of(*place) for place in json.loads(text)] if text else []
    return tuple(callback for callback in made if callback is not None)


def step_row(step: Step) -> _StepRow:
    """Return a step as a row. Raises EncodeError for an argument that cannot travel."""
    return _StepRow(
        step.id,
        step.workflow_id,
        *place_of(step.continuation),
        _callbacks_text(step.callbacks),
        text_of(step.scopes),
        None,
        step.signature.task[:_TASK_LENGTH],
        dump_packed(step.signature.to_dict()).decode("ascii"),
        step.entry,
        step.takes_value,
        text_of(step.leads),
        None,
        "",
    )


def step_of(row: tuple[Any, ...], text: str = "") -> KeptStep:
    """Return the step of a row with STEP_COLUMNS."""
    (
        step_id, workflow_id, target, position, callbacks, scopes, cause, task, entry, takes_value, leads,
        opened, source,
    ) = row  # fmt: skip
    return KeptStep(
        step_id,
        workflow_id,
        task,
        None if target is None else continuation_of(target, position),
        _callbacks_in(callbacks) if callbacks else (),
        entry,
        bool(takes_value),
        ids_in(scopes) if scopes else (),
        ids_in(leads) if leads else (),
        opened,
        source or None,
        cause,
        text,
    )


def barrier_row(barrier: Barrier) -> _BarrierRow:
    """Return a barrier that nobody has reported to as a row."""
    return _BarrierRow(
        barrier.id,
        barrier.workflow_id,
        *place_of(barrier.continuation),
        _callbacks_text(barrier.callbacks),
        text_of(barrier.scopes),
        None,
        barrier.size,
        barrier.on_member_failure == "wait",
        barrier.allow_failures,
        0,
        0,
        None,
    )


def barrier_of(values: tuple[Any, ...]) -> KeptBarrier:
    """Return the barrier of a row."""
    row = _BarrierRow._make(values)
    rule: OnMemberFailure = "wait" if row.waits else "fail_fast"
    barrier = Barrier(
        id=row.id,
        workflow_id=row.workflow_id,
        size=row.size,
        continuation=continuation_of(row.target, row.position),
        callbacks=_callbacks_in(row.callbacks),
        on_member_failure=rule,
        allow_failures=row.allow_failures,
        scopes=ids_in(row.scopes),
    )
    return KeptBarrier(barrier, row.reported, row.failed, row.cause, row.resolved)


def scope_row(scope: Scope) -> tuple[str, str, str]:
    """Return a scope as a row. Raises EncodeError for an argument that cannot travel."""
    packed = [each.to_dict() if isinstance(each, Expression) else each.data for each in scope.errbacks]
    return scope.id, scope.workflow_id, dump_packed(packed).decode("ascii")


def scope_of(row: tuple[Any, ...]) -> Scope:
    """Return the scope of a row, whatever stands there: it is not read before it is called."""
    try:
        kept = load_packed(row[2])
    except (ValueError, RecursionError):
        kept = row[2]
    errbacks = tuple(KeptErrback(data=data) for data in (kept if isinstance(kept, list) else [kept]))
    return Scope(id=row[0], workflow_id=row[1], errbacks=errbacks)
