"""A group that grows while it runs: a member adds another one."""

from __future__ import annotations

from django_jobs.canvas.expression import as_expression
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import Join
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsError
from django_jobs.identifiers import derived_id, moment_of
from django_jobs.results import get_store
from django_jobs.workflow.advance import Advance
from django_jobs.workflow.checking import check, check_plan
from django_jobs.workflow.starting import workflows_of


def grow(job: Job, number: int, canvas: object) -> str:
    """
    Add a member to the group that a running step is a member of, and send it. Return its id.

    ``number``: of the member, among those that this job adds; a job that runs again adds the same ones, once. Raises
    JobsError for a job that is no member of a group, and what sending a canvas raises.
    """
    expression = as_expression(canvas, "add_to_chord()")
    check(expression)
    store = get_store()
    workflows = workflows_of(store).locked()
    if job.workflow_id is None:
        raise _no_member(job)
    member_id = derived_id(moment_of(job.id), "grown", job.id, str(number))
    with store.transaction():
        heads = workflows.lock([job.workflow_id])
        step = workflows.steps([job.id]).get(job.id)
        if step is None or not isinstance(step.continuation, Join):
            raise _no_member(job)
        if workflows.steps([member_id]) or workflows.barriers([member_id]):
            return member_id
        (kept,) = workflows.barriers([step.continuation.barrier]).values()
        if kept.resolved_ms is not None or heads[job.workflow_id].is_revoked:
            raise JobsError(f"The group of {job.task}[{job.id}] has failed or was revoked meanwhile, and cannot grow.")
        made = plan(
            expression,
            workflow_id=step.workflow_id,
            continuation=Join(kept.barrier.id, kept.barrier.size),
            scopes=step.scopes,
            leads=step.leads,
            end_id=member_id,
        )
        check_plan(made)
        advance = Advance(store, workflows, heads)
        advance.book.resize(kept, kept.barrier.size + 1)
        advance.add(made)
        advance.begin(made)
        advance.finish(is_sending=True)
    return made.result or member_id


def _no_member(job: Job) -> JobsError:
    return JobsError(
        f"{job.task}[{job.id}] is no member of a group, so there is none that it could add to. Of a chain in a group"
        " the last task is the member; self.replace() grows any other place."
    )
