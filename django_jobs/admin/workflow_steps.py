"""The table of the steps of a workflow: what the graph shows, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.safestring import SafeString

from django_jobs import clock
from django_jobs.admin import workflow_words as words
from django_jobs.admin.presentation import rendered
from django_jobs.admin.workflow_reading import Reading
from django_jobs.admin.workflow_records import StepRow
from django_jobs.admin.workflow_svg import Links


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """One row."""

    id: str
    task: str
    url: str
    status: SafeString
    attempts: int
    sent: datetime | None
    duration: timedelta | None
    exception_type: str
    is_error_callback: bool
    is_replaced: bool
    #: The step whose failure kept it from running: its task, and where its job is shown.
    cause: str = ""
    cause_url: str = ""


def lines_of(rows: Sequence[StepRow], reading: Reading, links: Links) -> list[StepLine]:
    """Return rows of the table. One query more, for the steps that are named as causes."""
    causes = {row.cause for row in rows if row.cause is not None and row.cause != row.id}
    known = {row.id: row for row in rows}
    known |= {row.id: row for row in reading.steps(sorted(causes - known.keys()))}
    return [_line(row, known.get(row.cause or ""), links) for row in rows]


def _line(row: StepRow, cause: StepRow | None, links: Links) -> StepLine:
    ran = row.started is not None
    never_ran = row.cause not in (None, row.id)
    return StepLine(
        id=row.id,
        task=row.task,
        url=links.job(row.id) if row.state is not None else "",
        status=rendered(words.look_of_step(row.shown_state)),
        attempts=row.retries + 1 if ran else 0,
        sent=None if row.opened is None else clock.from_ms(row.opened),
        duration=row.finished - row.started if row.started is not None and row.finished is not None else None,
        exception_type="" if never_ran else row.exception_type,
        is_error_callback=row.is_error_callback,
        is_replaced=row.replaced_by is not None,
        cause=cause.task if cause is not None and never_ran else "",
        cause_url=links.job(cause.id) if cause is not None and never_ran and cause.state is not None else "",
    )
