"""What is done to whole canvases."""

from __future__ import annotations

from django_jobs import workflow
from django_jobs.identifiers import parse_id
from django_jobs.operations.retrying import RETRYABLE, retry
from django_jobs.operations.revoking import revoke_many
from django_jobs.operations.summary import Summary
from django_jobs.results import get_store
from django_jobs.results.base import Settled
from django_jobs.results.sql import batches
from django_jobs.states import State


def revoke_workflow(workflow_id: str, *, terminate: bool = False) -> Summary:
    """
    Stop a whole canvas: no step of it starts any more, those that wait are revoked, and those that run are asked to
    stop, as ``revoke`` does. No error callback is called for them.

    ``done``: steps that are stopped, or asked to stop. ``skipped``: steps that had ended. Raises BrokerUnavailable,
    StoreUnavailable; asking again goes on.
    """
    store, key = get_store(), parse_id(workflow_id)
    closed = workflow.close(store, key)
    rows = _settled(closed.started)
    running = [job_id for job_id in closed.started if job_id not in rows or not rows[job_id].is_terminal]
    states = revoke_many(running, terminate=terminate)
    stopped = sum(state in (State.REVOKED, State.STARTED) for state in states.values())
    return Summary(done=closed.revoked + stopped, skipped=len(closed.started) - stopped)


def retry_workflow(workflow_id: str, *, by: str = "") -> Summary:
    """
    Go on with a canvas that has failed or was revoked: its failed steps are sent again, and what never ran because of
    them waits again. What has succeeded does not run again. See ``retry``.
    """
    store, key = get_store(), parse_id(workflow_id)
    steps = workflow.workflows_of(store).steps_of(key)
    never_ran = sum(step.cause is not None for step in steps)
    rows = _settled([step.id for step in steps if step.cause is None])
    failed = [job_id for job_id, row in rows.items() if row.state in RETRYABLE]
    if not failed and not never_ran:
        return Summary()
    with store.transaction():
        workflow.reopen(store, key, [], whole=True)
    retried = retry(failed, by=by)
    if retried.done:
        return retried
    still = sum(step.cause is not None for step in workflow.workflows_of(store).steps_of(key))
    return Summary(done=never_ran - still, skipped=retried.skipped)


def _settled(ids: list[str]) -> dict[str, Settled]:
    store = get_store()
    return {job_id: row for some in batches(ids) for job_id, row in store.settled(some).items()}
