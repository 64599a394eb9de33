"""The handle of a whole canvas."""

from __future__ import annotations

from uuid import UUID

from django_jobs import operations
from django_jobs.async_result.identity import Identified
from django_jobs.exceptions import JobsError, JobUnknown
from django_jobs.identifiers import parse_id
from django_jobs.operations import Summary
from django_jobs.results import get_store
from django_jobs.results.rebuild import exception_of
from django_jobs.results.workflows import Head
from django_jobs.states import State
from django_jobs.workflow import workflows_of
from django_jobs.workflow.standing import never_ran


class WorkflowResult(Identified):
    """A canvas that was sent, with its callbacks and all that its steps have added to it. Every attribute asks anew."""

    def __init__(self, workflow_id: str | UUID) -> None:
        self.id = parse_id(workflow_id)

    @property
    def remaining(self) -> int:
        """How many steps have not ended. Raises JobUnknown."""
        return self._head().remaining

    @property
    def failed(self) -> int:
        """How many steps have failed, or were revoked; those that never ran because of that are not counted."""
        return self._head().failed

    @property
    def state(self) -> State:
        """STARTED until every step has ended; then SUCCESS, FAILURE when one has failed, or REVOKED."""
        head = self._head()
        if head.remaining > 0:
            return State.STARTED
        if head.is_revoked:
            return State.REVOKED
        return State.FAILURE if head.failed else State.SUCCESS

    def ready(self) -> bool:
        """Say whether every step has ended."""
        return self._head().remaining <= 0

    def revoke(self, *, terminate: bool = False) -> Summary:
        """
        Stop it: nothing starts any more, what waits is revoked, and what runs is asked to stop; with ``terminate`` it
        is interrupted and then killed.
        """
        return operations.revoke_workflow(self.id, terminate=terminate)

    def retry(self) -> WorkflowResult:
        """
        Go on from the steps that failed or were revoked: they are sent again, and what never ran because of them waits
        again. What has succeeded does not run again. Raises JobsError when nothing has failed.
        """
        if not operations.retry_workflow(self.id).done:
            raise JobsError(f"The workflow {self.id} has nothing to go on with: its state is {self.state}.")
        return self

    def _head(self) -> Head:
        head = workflows_of(get_store()).head(self.id)
        if head is None:
            raise JobUnknown(f"The workflow {self.id} is not known: it was rolled back, or has been pruned.")
        return head


def workflow_of(job_id: str) -> WorkflowResult | None:
    """Return the handle of the canvas that a job is a step of; None: it stands alone."""
    stored, workflows = get_store().get(job_id), get_store().workflows
    found = None if stored is None else stored.record.workflow_id
    if found is None and workflows is not None:
        step = workflows.steps([job_id]).get(job_id)
        found = None if step is None else step.workflow_id
    return None if found is None else WorkflowResult(found)


def cause_of(step_id: str) -> Exception | None:
    """Return the exception of the step whose failure kept this one from running; None: it is not known any more."""
    workflows = get_store().workflows
    step = None if workflows is None else workflows.steps([step_id]).get(step_id)
    stored = None if step is None or step.cause is None else get_store().get(step.cause)
    return None if stored is None else exception_of(stored.record)


def why_it_never_ran(step_id: str) -> str:
    """Say what is to be done about a step that never ran, and cannot be sent again alone; empty: it is none."""
    workflow_id = never_ran([step_id]).get(step_id)
    if workflow_id is None:
        return ""
    return (
        f"The step {step_id} never ran, and there is no job to send again. It waits again when its workflow is retried:"
        f" result.workflow.retry(), or manage.py jobs retry {workflow_id}."
    )
