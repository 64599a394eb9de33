"""
What a step gets before its own arguments, read where its job runs.

Values are not copied from message to message: a step, and a barrier of ten thousand members, is named by its id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django_jobs.canvas.failure import MemberFailure
from django_jobs.envelope import FAILURE_OF, Job
from django_jobs.exceptions import DecodeError, UpstreamFailed
from django_jobs.results import get_store
from django_jobs.results.base import BaseStore, Record, StoredResult
from django_jobs.results.rebuild import exception_of
from django_jobs.results.workflows import BaseWorkflows, Member
from django_jobs.serializers import loads
from django_jobs.states import State
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
    """
    Return the value of a step or barrier that has succeeded. Raises DecodeError when it is gone.

    What is in groups is read level by level: a few queries for each depth, however many groups there are.
    """
    rows: dict[str, StoredResult] = {}
    groups: dict[str, list[Member]] = {}
    level, causes = [source], set[str]()
    while level:
        rows |= store.get_many([*level, *sorted(causes)])
        found = _groups_among([one for one in level if one not in rows], workflows)
        groups |= found
        members = [member for one in found.values() for member in one]
        sources = dict.fromkeys(member.source for member in members if member.cause is None)
        level = [one for one in sources if one not in groups]
        causes = {member.cause for member in members if member.cause is not None}
    rows |= store.get_many(sorted(causes)) if causes else {}
    values: dict[str, Any] = {}
    # What is in a group was found after it.
    for group_id, members in reversed(groups.items()):
        values[group_id] = [_value_in(member, rows, values) for member in members]
    return values[source] if source in values else _result_in(rows[source].record)


def _groups_among(unread: Sequence[str], workflows: BaseWorkflows) -> dict[str, list[Member]]:
    """Return the members of groups. Raises DecodeError for what is none."""
    found = workflows.members(unread)
    empty = [one for one in unread if not found[one]]
    known = workflows.barriers(empty)
    for one in empty:
        if one not in known:
            raise DecodeError(f"The value of {one}, which comes before this step, is gone: its result was forgotten.")
    return found


def _value_in(member: Member, rows: Mapping[str, StoredResult], values: Mapping[str, Any]) -> Any:
    if member.cause is not None:
        return _failed(member.cause, rows[member.cause].record if member.cause in rows else None)
    return values[member.source] if member.source in values else _result_in(rows[member.source].record)


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
        joining = workflows.joining(todo)
        before = [found for one in todo for found in (*(each for each, _ in joining[one]), *workflows.before(one))]
        todo = [one for one in dict.fromkeys(before) if one not in seen]
        seen.update(todo)
    return None
