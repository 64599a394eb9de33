"""Periodic tasks and their runs, as beat leaves them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django_jobs import clock
from django_jobs.beat.declared import of_row
from django_jobs.identifiers import new_id
from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.models.periodic import Origin, Outcome
from tests.admin import tasks
from tests.admin.results import make_result

PERIODIC = "/admin/django_jobs/periodictask/"
RUNS = "/admin/django_jobs/periodicrun/"


def make_periodic(name: str = "nightly", *, planned: bool = True, **values: Any) -> PeriodicTask:
    """Make a row; ``planned``: as beat has left it, an hour before its next run."""
    given: dict[str, Any] = {"task": tasks.export_csv.name, "kwargs": '{"report": "sales"}', "schedule": "30 2 * * *"}
    row = PeriodicTask(name=name, **given | values)
    if planned:
        row.planned_schedule, row.planned_timezone, row.planned_enabled = row.schedule, row.timezone, row.enabled
        row.planned_starts, row.planned_ends = row.starts, row.ends
        if row.enabled and "next_run" not in values:
            row.next_run = clock.now() + timedelta(hours=1)
    row.save(force_insert=True)
    return row


def make_run(row: PeriodicTask, *, age: float = 60, state: str = "", **values: Any) -> PeriodicRun:
    """Make what became of the moment ``age`` seconds ago; with a ``state``: its job has left a row in that state."""
    due = clock.now() - timedelta(seconds=age)
    given: dict[str, Any] = {"due": due, "fired": due + timedelta(milliseconds=20), "outcome": Outcome.SENT} | values
    if given["outcome"] == Outcome.SENT:
        given.setdefault("job_id", make_result(state, age=age).pk if state else new_id())
    given.setdefault("lateness", given["fired"] - given["due"])
    return PeriodicRun.objects.create(periodic_task=row, **given)


def declared(row: PeriodicTask) -> PeriodicTask:
    """Make a row one that the code declares as it is."""
    row.origin, row.declared = Origin.CODE, json.dumps({"values": of_row(row), "edited": []})
    row.save()
    return row


def filled(**values: Any) -> dict[str, Any]:
    """Return what a browser posts of a form that somebody has filled."""
    given = {
        "name": "nightly",
        "enabled": "on",
        "task": tasks.export_csv.name,
        "args": "[]",
        "kwargs": '{"report": "sales"}',
        "headers": "{}",
        "schedule_kind": "clock",
        "schedule_count": "15",
        "schedule_unit": "minutes",
        "schedule_time": "09:00",
        "schedule_days": ["mon", "tue", "wed", "thu", "fri"],
        "schedule_event": "sunset",
        "catch_up": "one",
        "overlap": "allow",
        "jitter": "0",
        "timezone": "",
    }
    return {name: value for name, value in (given | values).items() if value is not None}
