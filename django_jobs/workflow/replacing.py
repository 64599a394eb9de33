"""A canvas that takes the place of a job: what was to follow the job follows the canvas."""

from __future__ import annotations

from django_jobs.canvas.expression import Expression
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import Plan, Step
from django_jobs.results.workflows import KeptStep
from django_jobs.workflow.checking import check, check_plan

#: In the meta of a job that was replaced: the step or barrier that has its value.
REPLACED_BY = "replaced_by"


def plan_replacement(step: KeptStep | Step | None, expression: Expression) -> Plan:
    """
    Plan a canvas in the place of a step, or of a job that stands alone (None).

    Raises ValueError, TypeError, UnknownTask, EncodeError and PayloadTooLarge for a canvas that cannot be sent.
    """
    check(expression)
    made = plan(expression) if step is None else _plan_instead(step, expression)
    if made.result is None:
        raise ValueError("An empty chain cannot stand in for a task: it has no value to go on with.")
    check_plan(made)
    return made


def _plan_instead(step: KeptStep | Step, expression: Expression) -> Plan:
    return plan(
        expression,
        workflow_id=step.workflow_id,
        continuation=step.continuation,
        callbacks=step.callbacks,
        scopes=step.scopes,
        leads=step.leads,
    )
