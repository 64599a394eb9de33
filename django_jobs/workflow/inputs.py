"""
What a step gets before its own arguments, read where its job runs.

Values are not copied from message to message: a step, and a barrier of ten thousand members, is named by its id.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django_jobs.canvas.failure import MemberFailure
from django_jobs.envelope import Job
from django_jobs.exceptions import DecodeError, UpstreamFailed
from django_jobs.results import get_store
from django_jobs.results.base import BaseStore, Record, StoredResult
from django_jobs.results.rebuild import exception_of
from django_jobs.results.workflows import BaseWorkflows, Member
from django_jobs.serializers import loads
from django_jobs.states import State
from django_jobs.workflow.advance import FAILURE_OF
from django_jobs.workflow.failed import FailedRequest
from django_jobs.workflow.starting import workflows_of

_FAILED = frozenset({State.FAILURE.value, State.REVOKED.value})
#: Of what never ran because of a failure that is to be found before it.
_UPSTREAM = f"{UpstreamFailed.__module__}.{UpstreamFailed.__qualname__}"


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
    workflows = workflows_of(store)
    kept = workflows.barriers([failed]).get(failed)
    cause = failed if kept is None else kept.cause
    stored = None if cause is None else store.get(cause)
    record = _failure_in(stored) if cause is not None else _failure_before(store, workflows, failed)
    if record is None:
        raise DecodeError(f"The failure of {failed}, which this callback is about, is gone: it was forgotten.")
    return FailedRequest.of(record), exception_of(record), record.traceback


def _failure_in(stored: StoredResult | None) -> Record | None:
    """Return what a row says of a failure; when the job was sent again since, what its history says of the last one."""
    if stored is None or stored.record.state in _FAILED:
        return None if stored is None else stored.record
    for line in reversed(stored.history.splitlines()):
        told = json.loads(line)
        if told.get("state") in _FAILED:
            return stored.record._replace(
                state=told["state"],
                exception_type=told["exception_type"],
                exception=told["exception"],
                traceback=told["traceback"],
                worker=told["worker"],
                retries=told["attempt"] - 1,
            )
    return None


def _failure_before(store: BaseStore, workflows: BaseWorkflows, barrier_id: str) -> Record | None:
    """Find the failure of a barrier that is open again, and does not say any more why it had failed."""
    todo, seen = [barrier_id], {barrier_id}
    while todo:
        rows = store.get_many(todo)
        for one in todo:
            record = _failure_in(rows.get(one))
            if record is not None and record.exception_type != _UPSTREAM:
                return record
        before = [
            found for one in todo for found in (*(each for each, _ in workflows.joining(one)), *workflows.before(one))
        ]
        todo = [one for one in dict.fromkeys(before) if one not in seen]
        seen.update(todo)
    return None
