"""
What operators do to jobs: to one, to some, or to all that a filter leaves, for as long as a request may take.

Rows are taken by key in chunks and never listed as a whole. A row that was dealt with leaves the set (a retried job
has failed no more), so an operation that ran out of time goes on when it is asked for again, and says how much is left
until then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.admin.models import CHANGE, DELETION
from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from django_jobs import operations
from django_jobs.admin.counting import Count, capped
from django_jobs.conf import settings
from django_jobs.exceptions import JobsError
from django_jobs.models import JobResult
from django_jobs.states import TERMINAL_STATES, State

CHUNK = 500
#: How long one request may work on a selection, in seconds.
TIME_LIMIT = 5.0

NONE = Count(0)

#: From ids and the operator's name to how many were done, and how many were not in a state to be.
Apply = Callable[[Sequence[str], str], tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that an operator can do to jobs."""

    name: str
    #: The method of the admin that decides: ``has_<permission>_permission``.
    permission: str
    #: The states it applies to; jobs in others are skipped.
    states: frozenset[str]
    #: The states it applies to when it was asked for all jobs that match, and the filter names none.
    sweeps: frozenset[str]
    apply: Apply
    verb: str | Promise
    #: What was done, with "%d" for how often.
    done: Any
    #: What it means, said before it is done.
    meaning: str | Promise
    log_flag: int = CHANGE
    #: Does one that was ticked by hand need a second click too?
    confirm: bool = True
    #: How many rows it is done to between two looks at the clock; None: CHUNK.
    chunk: int | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of an operation."""

    done: int = 0
    skipped: int = 0
    #: How many were not reached for want of time.
    left: Count = NONE
    error: JobsError | None = None


def _retry(ids: Sequence[str], by: str) -> tuple[int, int]:
    summary = operations.retry(ids, by=by)
    return summary.done, summary.skipped


def _discard(ids: Sequence[str], by: str) -> tuple[int, int]:
    summary = operations.discard(ids, by=by)
    return summary.done, summary.skipped


def _delete(ids: Sequence[str], by: str) -> tuple[int, int]:
    rows = JobResult.objects.using(settings.database).filter(pk__in=ids, state__in=TERMINAL_STATES)
    done = rows.delete()[0]
    return done, len(ids) - done


RETRY = Operation(
    name="retry",
    permission="retry",
    states=frozenset({State.FAILURE.value, State.REVOKED.value}),
    # Not what was revoked or discarded: somebody wanted that.
    sweeps=frozenset({State.FAILURE.value}),
    apply=_retry,
    verb=_("Retry"),
    done=ngettext_lazy("%d job was sent again.", "%d jobs were sent again."),
    meaning=_("They run again as soon as a worker is free, with the same arguments. Their earlier attempts are kept."),
    confirm=False,
)
DISCARD = Operation(
    name="discard",
    permission="discard",
    states=frozenset({State.FAILURE.value}),
    sweeps=frozenset({State.FAILURE.value}),
    apply=_discard,
    verb=_("Discard"),
    done=ngettext_lazy("%d job was discarded.", "%d jobs were discarded."),
    meaning=_("They are marked as revoked and count as failed no more. Their rows are kept and can be retried."),
)
DELETE = Operation(
    name="delete",
    permission="delete",
    states=TERMINAL_STATES,
    sweeps=TERMINAL_STATES,
    apply=_delete,
    verb=_("Delete"),
    done=ngettext_lazy("%d job was deleted.", "%d jobs were deleted."),
    meaning=_("Their rows are removed, with everything that was recorded about them. This cannot be undone."),
    log_flag=DELETION,
)
OPERATIONS = {operation.name: operation for operation in (RETRY, DISCARD, DELETE)}


def run(operation: Operation, rows: QuerySet[Any], *, by: str, seconds: float | None = None) -> Tally:
    """Do it to these rows, until they are all done or the time is over (``TIME_LIMIT`` seconds by default)."""
    tally = Tally()
    deadline = time.monotonic() + (TIME_LIMIT if seconds is None else seconds)
    last: UUID | None = None
    try:
        for ids in _chunks(rows, operation.chunk or CHUNK):
            done, skipped = operation.apply([str(pk) for pk in ids], by)
            tally.done += done
            tally.skipped += skipped
            last = ids[-1]
            if time.monotonic() > deadline:
                break
        else:
            return tally
    except JobsError as error:
        tally.error = error
    tally.left = capped(rows if last is None else rows.filter(pk__gt=last))
    return tally


def _chunks(rows: QuerySet[Any], size: int) -> Iterator[list[UUID]]:
    """Go through the ids, oldest first; what comes to match after the beginning is left alone."""
    newest: UUID | None = rows.order_by("-pk").values_list("pk", flat=True).first()
    if newest is None:
        return
    rows = rows.filter(pk__lte=newest).order_by("pk")
    last: UUID | None = None
    while True:
        below = rows if last is None else rows.filter(pk__gt=last)
        ids: list[UUID] = list(below.values_list("pk", flat=True)[:size])
        if not ids:
            return
        yield ids
        last = ids[-1]
