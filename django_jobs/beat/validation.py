"""What is wrong with a periodic task. ``full_clean()`` of a row says the same."""

from __future__ import annotations

import copy

from django.utils import timezone

from django_jobs import clock
from django_jobs.beat import due, rows
from django_jobs.exceptions import InvalidSchedule
from django_jobs.models.periodic import PeriodicTask
from django_jobs.models.validation import problems as problems
from django_jobs.schedules import Once, parse, zone_named


def named(field: str, problem: str) -> str:
    """Return a problem with the name of its column, for where nothing else shows which one it is about."""
    return problem if field in problem else f"{field}: {problem}"


def over(row: PeriodicTask) -> str:
    """Say why a row that is enabled does not run any more; "": it does, or nobody can tell."""
    row = copy.copy(row)
    rows.translate(row)
    if due.is_planned(row) and row.next_run is not None:
        return ""
    try:
        schedule, zone = parse(row.schedule), zone_named(row.timezone or timezone.get_default_timezone_name())
    except InvalidSchedule:
        return ""
    since = row.created if row.planned_enabled is None else clock.now()
    if next(due.upcoming(row, schedule, zone, since), None) is not None:
        return ""
    if row.ends is not None and row.ends <= clock.now():
        return "it has ended"
    if isinstance(schedule, Once):
        return "its moment has passed"
    return "no calendar has such a date" if row.ends is None else "it ends before its next run"
