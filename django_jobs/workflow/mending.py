"""
Workflows that do not go on: steps whose job nobody has any more, and workflows in which nothing is under way.

Neither can come about by itself: what follows an end is committed with it, and stays in the outbox until it has ended.
But somebody may delete what he should not, in Redis or in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from django_jobs import dispatch
from django_jobs.brokers import get_broker
from django_jobs.canvas.records import Join, Then
from django_jobs.envelope import FAILURE_OF, Job
from django_jobs.exceptions import JobLost
from django_jobs.execution import error_of
from django_jobs.outcome import Error
from django_jobs.results import get_store
from django_jobs.results.base import BaseStore
from django_jobs.results.workflows import BaseWorkflows, Head, KeptStep
from django_jobs.states import State
from django_jobs.workflow import jobs as making
from django_jobs.workflow.recording import record
from django_jobs.workflow.reopening import reopen
from django_jobs.workflow.starting import workflows_of

#: Steps that were sent less than this ago may still be on their way.
YOUNG_MS = 60_000
#: Steps and workflows that are looked at in one go, the oldest first.
LOOKED_AT = 1000


def lost_steps(*, before_ms: int, among: Sequence[str] | None = None) -> list[str]:
    """
    Name the steps that were sent before a moment, have no row, and that neither broker nor outbox knows.

    Some may just be on their way, so look twice. Raises BrokerUnavailable, StoreUnavailable.
    """
    broker, store = get_broker(), get_store()
    if store.workflows is None:
        return []
    waiting = store.workflows.open_steps(before_ms=before_ms, limit=LOOKED_AT)
    steps = [step for step in waiting if among is None or step.id in among]
    over = _gone_on(store.workflows, steps)
    unknown = [step.id for step in steps if step.id not in over and broker.find(step.id, None) is None]
    if unknown and store.outbox is not None:
        kept = store.outbox.get_many(unknown)
        unknown = [one for one in unknown if one not in kept]
    ended = store.settled(unknown) if unknown else {}
    return [one for one in unknown if one not in ended]


def send_again(step_ids: Sequence[str]) -> int:
    """
    Send the jobs of steps again that nobody has. Return how many; those of which no job can be made are recorded as
    failed (JobLost). A step that is known to have ended is not sent, even if its row is gone.
    """
    store = get_store()
    workflows = workflows_of(store)
    sent = 0
    by_workflow: dict[str, list[str]] = {}
    for step in workflows.steps(step_ids).values():
        by_workflow.setdefault(step.workflow_id, []).append(step.id)
    for workflow_id in sorted(by_workflow):
        with store.transaction():
            heads = workflows.lock([workflow_id])
            if heads:
                sent += _send(store, heads[workflow_id], by_workflow[workflow_id])
    return sent


def _send(store: BaseStore, head: Head, step_ids: Sequence[str]) -> int:
    workflows = workflows_of(store)
    steps = workflows.steps(step_ids, texts=True)
    sources = [step.source.removeprefix(FAILURE_OF) for step in steps.values() if step.source is not None]
    parents = workflows.steps(sources)
    ended = {*store.settled(list(steps)), *_gone_on(workflows, list(steps.values()))}
    jobs: list[Job] = []
    lost: list[tuple[KeptStep, Error]] = []
    for step in (step for one, step in steps.items() if one not in ended):
        source = None if step.source is None else step.source.removeprefix(FAILURE_OF)
        parent_id = source if source in parents else head.parent_id
        try:
            jobs.append(making.job_of(step, head, source=step.source, parent_id=parent_id))
        except Exception as error:  # noqa: BLE001 - options and arguments are the user's
            lost.append((step, error_of(JobLost(f"The job was lost on its way, and cannot be made again: {error}"))))
    dispatch.send_following(jobs)
    if lost:
        record(store, [making.record_of_unsent(step, head, error, state=State.FAILURE) for step, error in lost])
    return len(jobs)


def _gone_on(workflows: BaseWorkflows, steps: Sequence[KeptStep]) -> set[str]:
    """Return the ids of steps whose end is known without their row: it was reported, or what follows was sent."""
    places = [(step.id, place) for step in steps for place in (step.continuation, *step.callbacks)]
    reported = workflows.reported([place for _, place in places if isinstance(place, Join)])
    targets = [place.target for _, place in places if isinstance(place, Then) and not place.fan_out]
    opened = {one for one, step in workflows.steps(targets).items() if step.opened_ms is not None}
    entered = {place.target for _, place in places if isinstance(place, Then) and place.fan_out}
    opened |= {one for one in entered if any(step.opened_ms is not None for step in workflows.entering(one))}
    return {
        one
        for one, place in places
        if (isinstance(place, Join) and (place.barrier, place.index) in reported)
        or (isinstance(place, Then) and place.target in opened)
    }


def stalled(*, before_ms: int, among: Sequence[str] | None = None) -> list[str]:
    """
    Name the workflows that were sent before a moment, have not finished, and in which no step is under way.

    One may just have gone on, so look twice. Raises BrokerUnavailable, StoreUnavailable.
    """
    store = get_store()
    if store.workflows is None:
        return []
    unfinished = store.workflows.unfinished(before_ms=before_ms, limit=LOOKED_AT)
    return [one for one in unfinished if (among is None or one in among) and _is_stalled(store, one)]


def _is_stalled(store: BaseStore, workflow_id: str) -> bool:
    steps = workflows_of(store).steps_of(workflow_id)
    ended = {one for one, row in store.settled([step.id for step in steps]).items() if row.is_terminal}
    under_way = [step for step in steps if step.opened_ms is not None and step.id not in ended]
    return len(_gone_on(workflows_of(store), under_way)) == len(under_way)


def go_on(workflow_ids: Sequence[str]) -> int:
    """Decide anew what follows from all that has ended in these workflows. Return how many there were."""
    store = get_store()
    for workflow_id in workflow_ids:
        with store.transaction():
            reopen(store, workflow_id, [])
    return len(workflow_ids)
