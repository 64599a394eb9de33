"""From the end of a run to the record of it. Touches no database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django_jobs.conf import as_ms, settings
from django_jobs.envelope import DELIVERIES_MAX, Job
from django_jobs.execution import cut
from django_jobs.options import TaskOptions
from django_jobs.outcome import (
    Error,
    Ignored,
    Outcome,
    Recorded,
    Replaced,
    Retried,
    Revoked,
    Snoozed,
    Succeeded,
    Superseded,
)
from django_jobs.results.base import Record
from django_jobs.results.redaction import shown_arguments
from django_jobs.serializers import dump_packed, load_packed
from django_jobs.states import State

if TYPE_CHECKING:
    from django_jobs.brokers.base import Claimed

#: Of the traceback of an earlier attempt.
HISTORY_TRACEBACK_LIMIT = 8 * 1024
#: Of the raw text of a message that cannot be read.
RAW_LIMIT = 2048

_SUCCESS, _FAILURE, _REVOKED = State.SUCCESS.value, State.FAILURE.value, State.REVOKED.value
_RETRY, _SCHEDULED = State.RETRY.value, State.SCHEDULED.value
_NAME_LIMIT = 255
#: In the place of a workflow's id: nobody can read whether the job is a step of one; its id has to be looked up.
UNSURE = ""


def record_of(
    job: Job,
    outcome: Outcome,
    *,
    options: TaskOptions,
    deliveries: int,
    fence: int,
    worker: str,
    started_ms: int | None,
    finished_ms: int,
    following: bytes | None = None,
    eta_ms: int | None = None,
) -> Record:
    """
    Return what is recorded of a run.

    ``options``: those in force for this job. ``following``: the message of its next attempt, when there is one, which
    comes at ``eta_ms``.
    """
    args, kwargs = shown_arguments(job, options.sensitive)
    common = (job.priority, args, kwargs)
    if isinstance(outcome, Succeeded | Ignored | Replaced):
        result = outcome.result if isinstance(outcome, Succeeded) else None
        return Record(
            job.id, job.task, job.queue, _SUCCESS, *common, None if result is None else result.decode("ascii"),
            None, "", "", "", worker, job.retries, deliveries, fence, job.enqueued_ms, job.eta_ms, started_ms,
            finished_ms, _kept_until_ms(job, options, finished_ms), job.root_id, job.parent_id, job.workflow_id,
        )  # fmt: skip
    assert not isinstance(outcome, Recorded | Superseded)  # there is nothing to record
    error = None if isinstance(outcome, Snoozed) else outcome.error
    state = _state_of(outcome)
    if isinstance(outcome, Revoked):
        started_ms = None
    return Record(
        job.id, job.task, job.queue, state, *common, None, None,
        *_error_texts(error), worker, job.retries, deliveries, fence, job.enqueued_ms,
        job.eta_ms if following is None else eta_ms, started_ms, finished_ms,
        _expires_ms(options, max(finished_ms, eta_ms or 0), "EXPIRES" if state == _REVOKED else "FAILURES_EXPIRE"),
        job.root_id, job.parent_id, job.workflow_id, (job.encode() if following is None else following).decode("ascii"),
        "" if not isinstance(outcome, Retried) else history_line(
            attempt=job.retries + 1, state=state, error=outcome.error, worker=worker, started_ms=started_ms,
            finished_ms=finished_ms,
        ),
    )  # fmt: skip


def record_of_undecodable(claimed: Claimed, outcome: Outcome, *, worker: str, now_ms: int) -> Record:
    """Return what is recorded of a message that cannot be read: its raw text, and what can be told of its task."""
    error: Error | None = getattr(outcome, "error", None)
    exception_type, exception, traceback = _error_texts(error)
    raw = claimed.body.decode("ascii", errors="backslashreplace")
    return Record(
        id=claimed.id,
        task=_task_in(claimed.body),
        queue=claimed.queue,
        state=_FAILURE,
        priority=claimed.priority,
        args=dump_packed([cut(raw, RAW_LIMIT)]).decode("ascii"),
        exception_type=exception_type,
        exception=exception,
        traceback=traceback,
        worker=worker,
        deliveries=claimed.deliveries,
        fence=min(claimed.deliveries, DELIVERIES_MAX),
        enqueued_ms=claimed.moment_ms,
        finished_ms=now_ms,
        expires_ms=_after(now_ms, settings.results_ms("FAILURES_EXPIRE")),
        workflow_id=UNSURE,
        # Newer code may be able to read it; what is not text was never a message.
        message=raw if claimed.body.isascii() else None,
    )


def history_line(
    *, attempt: int, state: str, error: Error, worker: str, started_ms: int | None, finished_ms: int | None, **more: Any
) -> str:
    """Return one line of a row's history: an attempt that others follow. ASCII, so any database keeps it."""
    entry = {
        "attempt": attempt,
        "state": state,
        "exception_type": error.type,
        "exception": error.text,
        "traceback": cut(error.traceback, HISTORY_TRACEBACK_LIMIT),
        "worker": worker,
        "started_ms": started_ms,
        "finished_ms": finished_ms,
        **more,
    }
    return json.dumps(entry) + "\n"


def event_line(event: str, *, by: str, at_ms: int) -> str:
    """Return a line of history about what was done to a job, rather than by it: it has an "event", and no "state"."""
    return json.dumps({"event": event, "by": by, "at_ms": at_ms}) + "\n"


def _state_of(outcome: Outcome) -> str:
    if isinstance(outcome, Retried):
        return _RETRY
    if isinstance(outcome, Snoozed):
        return _SCHEDULED
    return _REVOKED if isinstance(outcome, Revoked) else _FAILURE


def _error_texts(error: Error | None) -> tuple[str, str, str]:
    return ("", "", "") if error is None else (error.type[:_NAME_LIMIT], error.text, error.traceback)


def _kept_until_ms(job: Job, options: TaskOptions, finished_ms: int) -> int | None:
    # In a workflow, what follows may need the value of a step whose result is ignored: it is kept until that has ended.
    if job.workflow_id is not None and options.ignore_result:
        return finished_ms
    return _expires_ms(options, finished_ms, "EXPIRES")


def _expires_ms(options: TaskOptions, from_ms: int, kept_by: str) -> int | None:
    if options.result_expires is not None:
        return from_ms + as_ms(options.result_expires)
    return _after(from_ms, settings.results_ms(kept_by))


def _after(from_ms: int, kept_ms: int | None) -> int | None:
    return None if kept_ms is None else from_ms + kept_ms


def _task_in(body: bytes) -> str:
    try:
        task = load_packed(body)["task"]
    except (ValueError, KeyError, TypeError, RecursionError):
        task = None
    return task[:_NAME_LIMIT] if isinstance(task, str) and task else "(unreadable)"
