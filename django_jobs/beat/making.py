"""From a moment of a periodic task to its job, as ``send_job`` makes it; what the row says are options of the call."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django_jobs import clock
from django_jobs.beat.due import start_of
from django_jobs.envelope import Job
from django_jobs.identifiers import derived_id
from django_jobs.models.periodic import PeriodicTask
from django_jobs.serializers import load_packed
from django_jobs.task import make_job


def job_of(row: PeriodicTask, due: datetime, *, by_hand: bool = False) -> Job:
    """
    Make the job of a moment; the same moment always gives the same id. One that is sent ``by_hand`` starts at once.

    It has the moment as its eta, also when that is over: however late it is handed to the broker, it takes its place
    among the others. Raises what a call of the task with these arguments and options would raise.
    """
    moment = due.isoformat()
    job_id = derived_id(clock.to_ms(due), str(row.pk), row.name, moment)
    options: dict[str, Any] = {
        "job_id": job_id,
        "headers": {**_object(row, "headers"), "periodic_task": row.name, "scheduled_for": moment},
    }
    if not by_hand:
        options["eta"] = start_of(due, row.jitter, job_id)
    if row.queue:
        options["queue"] = row.queue
    if row.priority is not None:
        options["priority"] = row.priority
    if row.expires is not None:
        options["expires"] = due + timedelta(seconds=row.expires)
    args, kwargs = _list(row, "args"), _object(row, "kwargs")
    # Rows have arguments as they travel: packed again they would be something else.
    return make_job(row.task, args, kwargs, **options).evolve(packed_args=args, packed_kwargs=kwargs)


def _list(row: PeriodicTask, field: str) -> list[Any]:
    value = _loaded(row, field, "[]")
    if not isinstance(value, list):
        raise TypeError(f"{field} of {row.name} must be a list in JSON, not {value!r:.100}.")
    return value


def _object(row: PeriodicTask, field: str) -> dict[str, Any]:
    value = _loaded(row, field, "{}")
    if not isinstance(value, dict):
        raise TypeError(f"{field} of {row.name} must be an object in JSON, not {value!r:.100}.")
    return value


def _loaded(row: PeriodicTask, field: str, nothing: str) -> Any:
    try:
        return load_packed(getattr(row, field) or nothing)
    except ValueError as error:
        raise ValueError(f"{field} of {row.name} is no JSON: {error}") from error
