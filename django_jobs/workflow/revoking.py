"""Steps that are revoked before they could start, alone or with all of their workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django_jobs import bounds
from django_jobs.results.base import BaseStore
from django_jobs.results.workflows import KeptStep
from django_jobs.states import State
from django_jobs.workflow import jobs as making
from django_jobs.workflow.advance import Advance
from django_jobs.workflow.starting import workflows_of


def revoke_waiting(store: BaseStore, step_id: str) -> bool:
    """Record that a step which waits for what comes before it is revoked. False: it does not wait."""
    workflows = workflows_of(store)
    found = workflows.steps([step_id]).get(step_id)
    if found is None:
        return False
    with store.transaction():
        heads = workflows.lock([found.workflow_id])
        waiting = [step for step in workflows.steps([step_id]).values() if _waits(step)]
        if not heads or not waiting:
            return False
        advance = Advance(store, workflows, heads)
        workflows.touch(found.workflow_id)
        revoked = _record(store, advance, waiting)
        for step in revoked:
            advance.step_ended(step.id, failed=True)
        advance.finish()
    return bool(revoked)


class Closed(NamedTuple):
    """What became of a workflow of which nothing starts any more."""

    #: Steps that waited.
    revoked: int
    #: Ids of those that have started, and may have ended.
    started: list[str]


def close(store: BaseStore, workflow_id: str) -> Closed:
    """
    Let no step of a workflow start any more, and record those that wait as revoked.

    No error callback is called for what ends from now on.
    """
    workflows = workflows_of(store)
    with store.transaction():
        heads = workflows.lock([workflow_id])
        if not heads:
            return Closed(0, [])
        workflows.touch(workflow_id, revoke=True)
        heads = {one: head._replace(is_touched=True, is_revoked=True) for one, head in heads.items()}
        steps = workflows.steps_of(workflow_id)
        advance = Advance(store, workflows, heads)
        revoked = _record(store, advance, [step for step in steps if _waits(step)])
        advance.book.changes.count(workflow_id, remaining=-len(revoked), failed=len(revoked))
        # Nobody is told, and nothing opens any more: there is no need to go along what follows each.
        cause = next((step.id for step in [*revoked, *steps]), None)
        for kept in workflows.barriers_of(workflow_id):
            if kept.resolved_ms is None:
                advance.book.settle(kept, cause)
        advance.finish()
    return Closed(len(revoked), [step.id for step in steps if step.opened_ms is not None])


def _waits(step: KeptStep) -> bool:
    return step.opened_ms is None and step.cause is None


def _record(store: BaseStore, advance: Advance, steps: Sequence[KeptStep]) -> list[KeptStep]:
    """Record that steps are revoked. Return those that had not ended before."""
    if not steps:
        return []
    error = making.was_revoked()
    records = [
        making.record_of_unsent(step, advance.head(step.workflow_id), error, state=State.REVOKED)
        for step in bounds.speaking(steps)
    ]
    stayed = set(store.record(records))
    revoked = [step for step in steps if step.id not in stayed]
    advance.book.changes.ended += [(step.id, step.id) for step in revoked]
    return revoked
