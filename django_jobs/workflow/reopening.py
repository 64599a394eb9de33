"""
Failed steps that are sent again: what their failure has caused is undone first.

All that never ran because of a failure waits again, and barriers that have failed are open again. Then the failures of
steps that are not sent again have their consequences once more, but are not told to error callbacks a second time.
What has opened or run stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django_jobs.canvas.records import Barrier, Join, Then
from django_jobs.envelope import GENERATION_BITS
from django_jobs.results.base import BaseStore, Settled
from django_jobs.results.sql import batches
from django_jobs.results.workflows import KeptBarrier, KeptStep
from django_jobs.states import State
from django_jobs.workflow.advance import Advance


def reopen(store: BaseStore, workflow_id: str, retried: Collection[str], *, whole: bool = False) -> None:
    """
    Undo what the failures of these steps have caused, whose rows were just reopened; inside the same transaction.

    ``whole``: what was revoked before it could start waits again, too, and the workflow is revoked no more.
    """
    workflows = store.workflows
    assert workflows is not None
    heads = workflows.lock([workflow_id])
    if not heads:
        return
    steps = {step.id: step for step in workflows.steps_of(workflow_id)}
    barriers = workflows.barriers_of(workflow_id)
    again = [one for one in retried if one in steps]
    never_ran = [step.id for step in steps.values() if step.cause is not None and (whole or step.cause != step.id)]
    reopened = {kept.barrier.id: KeptBarrier(kept.barrier) for kept in barriers if _knows_failure(kept)}
    workflows.reopen(
        workflow_id, steps=never_ran, barriers=list(reopened.values()), remaining=len(never_ran) + len(again)
    )
    if whole:
        workflows.revive(workflow_id)
    for some in batches(never_ran):
        store.forget(some)
    ended = {one: row for one, row in _settled(store, steps, {*again, *never_ran}).items() if row.is_terminal}
    if whole:
        heads = {one: head._replace(is_revoked=False) for one, head in heads.items()}
    advance = Advance(store, workflows, heads)
    standing = [reopened.get(kept.barrier.id, kept) for kept in barriers]
    unfailed = {kept.barrier.id for kept in barriers if kept.resolved_ms is None and kept.cause is not None}
    advance.book.know(steps.values(), standing, unreported=reopened, unfailed=unfailed)
    advance.book.changes.count(workflow_id, failed=-heads[workflow_id].failed)
    values: list[KeptStep | Barrier] = [steps[one] for one, row in ended.items() if row.state == State.SUCCESS]
    values += [kept.barrier for kept in barriers if kept.resolved_ms is not None and kept.cause is None]
    waiting = {one for one, step in steps.items() if step.opened_ms is None and one not in ended}.union(never_ran)
    for value in values:
        for place in (value.continuation, *value.callbacks):
            if isinstance(place, Join) and place.barrier in reopened:
                advance.report(workflow_id, place, value.id)
            elif isinstance(place, Then):
                advance.open(_targets(place, steps) & waiting, value.id)
    for one, row in ended.items():
        if row.state != State.SUCCESS:
            advance.book.changes.count(workflow_id, remaining=1)
            advance.step_ended(one, failed=True, generation=row.fence >> GENERATION_BITS, quiet=True)
    advance.finish()


def _targets(place: Then, steps: dict[str, KeptStep]) -> set[str]:
    return {one for one, step in steps.items() if step.entry == place.target} if place.fan_out else {place.target}


def _knows_failure(kept: KeptBarrier) -> bool:
    """Say whether a barrier has failed, or knows of a failure and is still open."""
    if kept.resolved_ms is not None:
        return kept.cause is not None
    return kept.failed > 0


def _settled(store: BaseStore, steps: Iterable[str], but: Collection[str]) -> dict[str, Settled]:
    """Return how the steps stand that are not sent again."""
    return store.settled([one for one in steps if one not in but])
