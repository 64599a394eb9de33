"""
What a step gets before its own arguments, read where its job runs.

Values are not copied from message to message: a step, and a barrier of ten thousand members, is named by its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_jobs.canvas.failure import MemberFailure
from django_jobs.envelope import Job
from django_jobs.exceptions import DecodeError, UpstreamFailed
from django_jobs.results import get_store
from django_jobs.results.base import BaseStore, Record
from django_jobs.results.rebuild import exception_of
from django_jobs.results.workflows import BaseWorkflows, Member
from django_jobs.serializers import loads
from django_jobs.states import State
from django_jobs.workflow.advance import FAILURE_OF
from django_jobs.workflow.failed import FailedRequest
from django_jobs.workflow.starting import workflows_of


def inputs_of(job: Job) -> tuple[Any, ...]:
    """Return what comes before a job's own arguments. Raises DecodeError when it is gone, and StoreUnavailable."""
    if job.source is None:
        return ()
    store = get_store()
    if job.source.startswith(FAILURE_OF):
        return _failure(store, job.source.removeprefix(FAILURE_OF))
    return (value_of(store, workflows_of(store), job.source),)


def value_of(store: BaseStore, workflows: BaseWorkflows, source: str) -> Any:
    """Return the value of a step or barrier that has succeeded. Raises DecodeError when it is gone."""
    stored = store.get(source)
    if stored is not None:
        return _result_in(stored.record)
    members = workflows.members(source)
    if not members and source not in workflows.barriers([source]):
        raise DecodeError(f"The value of {source}, which comes before this step, is gone: its result was forgotten.")
    return _values(store, workflows, members)


def _values(store: BaseStore, workflows: BaseWorkflows, members: Sequence[Member]) -> list[Any]:
    rows = store.get_many([member.source for member in members if member.cause is None])
    causes = store.get_many(sorted({member.cause for member in members if member.cause is not None}))
    values: list[Any] = []
    for member in members:
        if member.cause is not None:
            values.append(_failed(member.cause, causes[member.cause].record if member.cause in causes else None))
        elif member.source in rows:
            values.append(_result_in(rows[member.source].record))
        else:
            values.append(value_of(store, workflows, member.source))
    return values


def _result_in(record: Record) -> Any:
    if record.state != State.SUCCESS:
        raise UpstreamFailed(f"{record.task}[{record.id}], which comes before this step, has no value: {record.state}.")
    return None if record.result is None else loads(record.result)


def _failed(cause: str, record: Record | None) -> MemberFailure:
    if record is None:
        return MemberFailure(cause, "", "", "")
    return MemberFailure(cause, record.task, record.exception_type, record.exception)


def _failure(store: BaseStore, failed: str) -> tuple[Any, ...]:
    """Return what an error callback is called with: request, exception and traceback of what has failed."""
    stored = store.get(failed)
    if stored is None:
        (kept,) = workflows_of(store).barriers([failed]).values()
        stored = None if kept.cause is None else store.get(kept.cause)
    if stored is None:
        raise DecodeError(f"The failure of {failed}, which this callback is about, is gone: it was forgotten.")
    record = stored.record
    return FailedRequest.of(record), exception_of(record), record.traceback
