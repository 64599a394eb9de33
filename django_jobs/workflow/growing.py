"""A group that grows while it runs: a member adds another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from django_jobs.canvas.expression import Expression, as_expression
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import Join, Plan
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsError
from django_jobs.identifiers import derived_id, moment_of
from django_jobs.results import get_store
from django_jobs.results.base import BaseStore
from django_jobs.results.workflows import BaseWorkflows, Head, KeptBarrier, KeptStep
from django_jobs.workflow.advance import Advance
from django_jobs.workflow.checking import check, check_plan
from django_jobs.workflow.starting import workflows_of


class Addition(NamedTuple):
    """What a job adds to its group."""

    #: Among those that this job adds.
    number: int
    expression: Expression


#: The job that puts off what it adds, and what that is.
_put_off: ContextVar[tuple[str, list[Addition]]] = ContextVar("django_jobs_additions", default=("", []))


@contextmanager
def put_off(job: Job) -> Iterator[Sequence[Addition]]:
    """
    Let what an atomic job adds wait for ``add_all`` in its last moment: it is part of the job's transaction, and a lock
    of the workflow that is held from here on would keep everybody else from recording ends in it.
    """
    additions: list[Addition] = []
    token = _put_off.set((job.id, additions))
    try:
        yield additions
    finally:
        _put_off.reset(token)


def grow(job: Job, number: int, canvas: object) -> str:
    """
    Add a member to the group that a running step is a member of, and send it. Return its id.

    ``number``: of the member, among those that this job adds; a job that runs again adds the same ones, once. Raises
    JobsError for a job that is no member of a group, and what sending a canvas raises.
    """
    addition = Addition(number, as_expression(canvas, "add_to_chord()"))
    check(addition.expression)
    store = get_store()
    putting_off, additions = _put_off.get()
    if putting_off != job.id:
        with store.transaction():
            return _add(store, job, addition)
    workflows = workflows_of(store)
    head = workflows.head(_workflow_of(job))
    step, kept = _place_of(workflows, job)
    made = _planned(job, addition, step, kept)
    if head is None or _is_closed(head, kept):
        raise _closed(job)
    additions.append(addition)
    return made.result or _id_of(job, addition)


def add_all(job: Job, additions: Sequence[Addition]) -> None:
    """Add what was put off, inside the transaction of the job. Raises what ``grow`` raises."""
    for addition in additions:
        _add(get_store(), job, addition)


def _add(store: BaseStore, job: Job, addition: Addition) -> str:
    workflows = workflows_of(store).locked()
    workflow_id, member_id = _workflow_of(job), _id_of(job, addition)
    heads = workflows.lock([workflow_id])
    step, kept = _place_of(workflows, job)
    if workflows.steps([member_id]) or workflows.barriers([member_id]):
        return member_id
    if _is_closed(heads[workflow_id], kept):
        raise _closed(job)
    made = _planned(job, addition, step, kept)
    advance = Advance(store, workflows, heads)
    advance.book.resize(kept, kept.barrier.size + 1)
    advance.add(made)
    advance.begin(made)
    advance.finish(is_sending=True)
    return made.result or member_id


def _id_of(job: Job, addition: Addition) -> str:
    return derived_id(moment_of(job.id), "grown", job.id, str(addition.number))


def _workflow_of(job: Job) -> str:
    if job.workflow_id is None:
        raise _no_member(job)
    return job.workflow_id


def _place_of(workflows: BaseWorkflows, job: Job) -> tuple[KeptStep, KeptBarrier]:
    """Return a running step, and the barrier that it is to report to."""
    step = workflows.steps([job.id]).get(job.id)
    if step is None or not isinstance(step.continuation, Join):
        raise _no_member(job)
    (kept,) = workflows.barriers([step.continuation.barrier]).values()
    return step, kept


def _is_closed(head: Head, kept: KeptBarrier) -> bool:
    return kept.resolved_ms is not None or head.is_revoked


def _planned(job: Job, addition: Addition, step: KeptStep, kept: KeptBarrier) -> Plan:
    made = plan(
        addition.expression,
        workflow_id=step.workflow_id,
        continuation=Join(kept.barrier.id, kept.barrier.size),
        scopes=step.scopes,
        leads=step.leads,
        end_id=_id_of(job, addition),
    )
    check_plan(made)
    return made


def _closed(job: Job) -> JobsError:
    return JobsError(f"The group of {job.task}[{job.id}] has failed or was revoked meanwhile, and cannot grow.")


def _no_member(job: Job) -> JobsError:
    return JobsError(
        f"{job.task}[{job.id}] is no member of a group, so there is none that it could add to. Of a chain in a group"
        " the last task is the member; self.replace() grows any other place."
    )
