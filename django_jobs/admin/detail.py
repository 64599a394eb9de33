"""One job as a page shows it: its attempts, its times, its payload, and what can be done to it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_jobs.admin.presentation import readable
from django_jobs.models import JobResult
from django_jobs.registry import registry
from django_jobs.results.redaction import HIDDEN as REDACTED
from django_jobs.states import TERMINAL_STATES, State
from django_jobs.workflow.standing import never_ran

#: What a row says whose job will run again: the times and the error are those of its last run.
_WAITING = frozenset({State.RETRY.value, State.PENDING.value, State.SCHEDULED.value})
#: More than this are not listed.
MOST_ENTRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a job."""

    number: int
    state: str
    exception_type: str = ""
    exception: str = ""
    traceback: str = ""
    worker: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    #: The operator who sent the job again after it.
    retried_by: str = ""
    is_last: bool = False

    @property
    def duration(self) -> timedelta | None:
        """How long it ran."""
        return self.finished - self.started if self.started is not None and self.finished is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job says it is."""

    done: float
    total: float
    message: str

    @property
    def percent(self) -> int:
        """The same in percent, within bounds."""
        return round(max(0.0, min(1.0, self.done / self.total)) * 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What somebody did to a job between its runs."""

    name: str
    by: str
    moment: datetime | None


def timeline_of(job: JobResult) -> list[Attempt | Event]:
    """Return what is known of the job's runs, and of what was done to it between them, the newest first."""
    timeline = [entry for entry in map(_read_line, job.history.splitlines()) if entry is not None]
    # A row that waits for its next attempt says what the last one did, which its history says too.
    if job.started_at is not None and job.state not in _WAITING:
        last = Attempt(
            number=0,
            state=job.state,
            exception_type=job.exception_type,
            exception=job.exception,
            traceback=job.traceback,
            worker=job.worker,
            started=job.started_at,
            finished=job.finished_at,
            is_last=True,
        )
        # What was done after the last run comes after it: its own line is only written when another run follows.
        after = next((n for n, entry in enumerate(timeline) if _is_after(entry, job)), len(timeline))
        timeline.insert(after, last)
    return _numbered(timeline)[::-1][:MOST_ENTRIES]


def _is_after(entry: Attempt | Event, job: JobResult) -> bool:
    if isinstance(entry, Attempt) or entry.moment is None or job.finished_at is None:
        return False
    return entry.moment >= job.finished_at


def _numbered(timeline: Iterable[Attempt | Event]) -> list[Attempt | Event]:
    """Count the runs through: the count that they bring along begins anew when an operator retries."""
    numbers = count(1)
    return [replace(entry, number=next(numbers)) if isinstance(entry, Attempt) else entry for entry in timeline]


def _read_line(line: str) -> Attempt | Event | None:
    """Read a line of history; None: it was written by another version, and the rest of the page is worth more."""
    try:
        data = json.loads(line)
        if "event" in data:
            return Event(name=str(data["event"]), by=str(data.get("by") or ""), moment=_moment(data.get("at_ms")))
        return Attempt(
            number=0,
            state=str(data["state"]),
            exception_type=str(data.get("exception_type") or ""),
            exception=str(data.get("exception") or ""),
            traceback=str(data.get("traceback") or ""),
            worker=str(data.get("worker") or ""),
            started=_moment(data.get("started_ms")),
            finished=_moment(data.get("finished_ms")),
            retried_by=str(data.get("retried_by") or ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
        return None


def _moment(value: Any) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


def progress_of(job: JobResult) -> Progress | None:
    """Return what the job's ``progress()`` said last, if it said anything of the kind."""
    try:
        data = json.loads(job.meta or "null")
        done, total = float(data["done"]), float(data["total"])
        message = data.get("message")
    except (ValueError, KeyError, TypeError):
        return None
    return Progress(done=done, total=total, message=str(message or "")) if total > 0 else None


def waited(job: JobResult) -> timedelta | None:
    """
    Return how long the last run waited for a worker, from when it was due; None: that is not known.

    The row of a job that will run again has the times of its last run, but the moment of the next. A job that was sent
    again to run at once, by an operator or by itself, has no moment, and when it was sent first is another matter.
    """
    if job.started_at is None or job.state in _WAITING:
        return None
    if job.eta is None and job.generation:
        return None
    ready = job.enqueued_at if job.eta is None else max(job.enqueued_at, job.eta)
    return max(job.started_at - ready, timedelta(0))


def ran(job: JobResult) -> timedelta | None:
    """Return how long the last attempt ran."""
    return job.finished_at - job.started_at if job.started_at is not None and job.finished_at is not None else None


def attempt_text(job: JobResult) -> str:
    """Return which attempt this is; of how many, too, where others may follow by themselves, or all have been made."""
    number = str(job.retries + 1)
    task = registry.get(job.task)
    if task is None:
        return number
    most = task.options.max_retries
    if is_over(job):
        return f"{number}/{number}" if job.retries == most else number
    if job.state != State.RETRY and not (task.options.autoretry_for or task.options.retry):
        return number
    return f"{number}/∞" if most is None else f"{number}/{max(most, job.retries) + 1}"


def runs_text(job: JobResult, timeline: Iterable[Attempt | Event]) -> str:
    """Return how often the job has run if that is over, else which attempt this is; empty: none that is known."""
    runs = next((entry.number for entry in timeline if isinstance(entry, Attempt)), 0)
    if not runs:
        return ""
    if is_over(job):
        return ngettext("after %(n)d attempt", "after %(n)d attempts", runs) % {"n": runs}
    return _("attempt %(attempt)s") % {"attempt": attempt_text(job)}


def why_no_retry(job: JobResult) -> str | Promise:
    """Say why this job cannot be retried; empty: it can."""
    if job.state not in {State.FAILURE, State.REVOKED}:
        return _("Only a job that failed or was revoked can be retried.")
    if not job.message and never_ran([str(job.pk)]):
        return _("This step never ran. It waits again when its workflow is retried, on the page of the workflow.")
    if not job.message:
        return _("The message of this job was not kept, so there is nothing to send again.")
    if job.task not in registry:
        return _("The task “%(task)s” is not registered in this process.") % {"task": job.task}
    return ""


def why_no_discard(job: JobResult) -> str | Promise:
    """Say why this job cannot be discarded; empty: it can."""
    return "" if job.state == State.FAILURE else _("Only a job that failed can be discarded.")


def payload_of(job: JobResult) -> dict[str, str]:
    """Return what the job carried and returned, readable. For those who may see it."""
    return {
        "args": readable(job.args),
        "kwargs": readable(job.kwargs),
        "result": "" if job.result is None else readable(job.result),
        "meta": "" if job.meta is None else readable(job.meta),
    }


def is_redacted(job: JobResult) -> bool:
    """Say whether an argument was left out of the record, because of its name."""
    return f'"{REDACTED}"' in job.args or f'"{REDACTED}"' in job.kwargs


def is_over(job: JobResult) -> bool:
    """Say whether the job has ended."""
    return job.state in TERMINAL_STATES
