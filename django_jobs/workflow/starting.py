"""A canvas that is sent: kept as a workflow, and its first steps sent with it, in one transaction."""

from __future__ import annotations

from django.db import connections

from django_jobs import clock
from django_jobs.canvas.records import Plan
from django_jobs.conf import settings
from django_jobs.context import current
from django_jobs.exceptions import EnqueueError, JobsConfigurationError, StoreUnavailable
from django_jobs.identifiers import new_id
from django_jobs.results import get_store
from django_jobs.results.base import BaseStore
from django_jobs.results.workflows import BaseWorkflows, Head
from django_jobs.workflow.advance import Advance


def workflows_of(store: BaseStore) -> BaseWorkflows:
    """Return where a store keeps workflows. Raises JobsConfigurationError when it keeps none."""
    if store.workflows is None:
        raise JobsConfigurationError(
            f"A canvas is kept where results are kept; {type(store).__qualname__} does not do that."
        )
    return store.workflows


def start(made: Plan, *, name: str) -> None:
    """
    Keep a plan and send its first steps, in the transaction of DATABASE that is open, or in one of its own.

    All of it or nothing: whoever has the transaction may go on after an error, of middleware for example.

    Raises EnqueueError when the database does not take it, JobsConfigurationError for a store that keeps no workflows.
    """
    store = get_store()
    workflows = workflows_of(store)
    head = _head_of(made)
    is_open = connections[settings.database].in_atomic_block
    try:
        with store.savepoint() if is_open else store.transaction():
            workflows.create(
                made, name=name, root_id=head.root_id or made.workflow_id, parent_id=head.parent_id,
                now_ms=clock.now_ms(),
            )  # fmt: skip
            advance = Advance(store, workflows, {head.id: head})
            advance.begin(made)
            advance.finish(is_sending=True)
            if advance.added_headers:
                workflows.add_headers(head.id, advance.added_headers)
    except StoreUnavailable as error:
        raise EnqueueError(f"{name} could not be sent: {error}", job_ids=tuple(made.roots)) from error


def _head_of(made: Plan) -> Head:
    context = current.get()
    root_id = made.roots[0] if made.roots else new_id()
    if context is None:
        return Head(made.workflow_id, len(made.steps), root_id=root_id)
    job = context.job
    return Head(made.workflow_id, len(made.steps), root_id=job.root_id or job.id, parent_id=job.id)
