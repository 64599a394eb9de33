"""What is wrong with a periodic task: one set of rules for forms, for the ORM, for what code declares, for commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from django_jobs import clock
from django_jobs.conf import nearest, settings
from django_jobs.envelope import Job
from django_jobs.exceptions import DecodeError, InvalidSchedule, RelatedObjectMissing
from django_jobs.options import PRIORITY_MAX, PRIORITY_MIN, QUEUE_NAME, is_queue_name
from django_jobs.registry import registry
from django_jobs.schedules import Once, Schedule, parse, zone_named
from django_jobs.serializers import load_packed, unpack_value

if TYPE_CHECKING:
    from django_jobs.models.periodic import PeriodicTask

#: What is earlier has no meaning here, and MySQL no room for all of it.
FIRST_YEAR = 1900
#: What travels with each job, and what is meant where there is nothing.
_PACKED: Mapping[str, str] = {"args": "[]", "kwargs": "{}", "headers": "{}"}
#: What is wrong with a column; "": nothing.
Rule = Callable[["PeriodicTask"], str]


def problems(row: PeriodicTask) -> dict[str, str]:
    """Say what is wrong, by column. An empty dictionary: nothing is, and it will run."""
    found = {field: text for field, rule in RULES.items() if (text := rule(row))}
    if not found.keys() & {"task", "args", "kwargs"}:
        found |= _unfit(row)
    if not found.keys() & {"task", "args", "kwargs", "headers", "priority"}:
        found |= _too_large(row)
    if not found.keys() & {"schedule", "timezone", "starts", "ends"}:
        found |= _never(row)
    return found


def aware(moment: datetime) -> datetime:
    """Return a moment of a row; without USE_TZ it has none of its own, and is in the project's time zone."""
    return timezone.make_aware(moment, timezone.get_default_timezone()) if timezone.is_naive(moment) else moment


def _task(row: PeriodicTask) -> str:
    if not row.task:
        return "Name a task."
    return "" if row.task in registry else f"No task is called {row.task!r}.{nearest(row.task, registry.names())}"


def _args(row: PeriodicTask) -> str:
    return _json_problem("args", row.args, list)


def _kwargs(row: PeriodicTask) -> str:
    return _json_problem("kwargs", row.kwargs, dict)


def _headers(row: PeriodicTask) -> str:
    problem = _json_problem("headers", row.headers, dict)
    if problem:
        return problem
    strangers = [name for name, value in load_packed(row.headers or "{}").items() if not isinstance(value, str)]
    return f"Headers are texts; that of {strangers[0]!r} is not." if strangers else ""


_NO_JSON = 'NaN, Infinity, or one beyond 1.8e308. A job carries {"$": "float", "v": "nan"}, "inf" or "-inf".'


def _json_problem(field: str, text: str, kind: type[list[Any]] | type[dict[str, Any]]) -> str:
    try:
        value = load_packed(text or ("[]" if kind is list else "{}"))
    except (ValueError, RecursionError) as error:
        return f"{field} is no JSON: {error}"
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return f"{field} has a number that JSON has not: {_NO_JSON}"
    except RecursionError:
        return f"{field} is nested too deeply."
    if not isinstance(value, kind):
        like = 'a list in JSON, such as [7, "a"]' if kind is list else 'an object in JSON, such as {"order": 7}'
        return f"{field} must be {like}."
    try:
        unpack_value(value if isinstance(value, list) else [*value.values()])
    except (DecodeError, RelatedObjectMissing) as error:
        return str(error)
    return ""


def _unfit(row: PeriodicTask) -> dict[str, str]:
    """Say how the arguments do not fit the task, in the column that has to be changed."""
    task = registry[row.task]
    signature, args, kwargs = task.call_signature, load_packed(row.args or "[]"), load_packed(row.kwargs or "{}")
    try:
        field = "args"
        signature.bind_partial(*args)
        field = "kwargs"
        signature.bind_partial(*args, **kwargs)
        field = "kwargs" if kwargs and not args else "args"
        signature.bind(*args, **kwargs)
    except TypeError as error:
        stranger = next((name for name in kwargs if f"unexpected keyword argument {name!r}" in str(error)), None)
        hint = "" if stranger is None else nearest(stranger, list(signature.parameters))
        return {field: f"These arguments do not fit {task.name}{signature}: {error}.{hint}"}
    return {}


def _too_large(row: PeriodicTask) -> dict[str, str]:
    """Say that its jobs have no place in a message, in the column that has the most of it."""
    now_ms = clock.now_ms()
    args, kwargs, headers = (load_packed(getattr(row, name) or nothing) for name, nothing in _PACKED.items())
    job = Job(
        id="",
        task=row.task,
        queue="",
        packed_args=args,
        packed_kwargs=kwargs,
        headers={**headers, "periodic_task": row.name, "scheduled_for": clock.now().isoformat()},
        enqueued_ms=now_ms,
        priority=row.priority or 0,
        eta_ms=now_ms,
        expires_ms=None if row.expires is None else now_ms,
        outbox=True,
    )
    size, limit = len(job.encode()), settings.max_payload
    if size <= limit:
        return {}
    field = max(_PACKED, key=lambda name: len(getattr(row, name) or ""))
    return {
        field: f"Its jobs are {size:,} bytes large; DJANGO_JOBS['MAX_PAYLOAD'] allows {limit:,}. Store the data (a"
        " model, a file, the cache) and pass its key."
    }


def _schedule(row: PeriodicTask) -> str:
    try:
        parse(row.schedule)
    except InvalidSchedule as error:
        return str(error)
    return ""


def _timezone(row: PeriodicTask) -> str:
    try:
        zone_named(row.timezone or timezone.get_default_timezone_name())
    except InvalidSchedule as error:
        return str(error)
    return ""


def _queue(row: PeriodicTask) -> str:
    return f"The name of a queue is {QUEUE_NAME}." if row.queue and not is_queue_name(row.queue) else ""


def _priority(row: PeriodicTask) -> str:
    value: Any = row.priority
    if value is None or (isinstance(value, int) and PRIORITY_MIN <= value <= PRIORITY_MAX):
        return ""
    return f"A priority is a whole number from {PRIORITY_MIN} to {PRIORITY_MAX}; higher runs sooner."


def _seconds(field: str, least: int) -> Rule:
    def rule(row: PeriodicTask) -> str:
        value: Any = getattr(row, field)
        if isinstance(value, datetime) and field == "expires":
            return "This is for seconds after the moment of a run. A moment after which there is none is `ends`."
        if value is None or (isinstance(value, int) and value >= least):
            return ""
        return f"Write whole seconds, {least} or more."

    return rule


def _starts(row: PeriodicTask) -> str:
    return _out_of_reach(row.starts)


def _out_of_reach(moment: Any) -> str:
    """Refuse what some database has no room for, or no calendar once it is in UTC."""
    if not isinstance(moment, datetime):
        return ""
    if moment.year < FIRST_YEAR:
        return f"Write a moment from the year {FIRST_YEAR} on."
    try:
        aware(moment).astimezone(UTC)
    except OverflowError:
        return "In UTC no calendar has this moment."
    return ""


def _ends(row: PeriodicTask) -> str:
    if problem := _out_of_reach(row.ends):
        return problem
    if not all(value is None or isinstance(value, datetime) for value in (row.starts, row.ends)):
        return "starts and ends are moments: a datetime."
    if row.starts is None or row.ends is None or aware(row.starts) < aware(row.ends):
        return ""
    return "It would end before it starts."


def _never(row: PeriodicTask) -> dict[str, str]:
    """Say why no moment will come. What was planned already, or is off, may be over; so may what code declares."""
    schedule = parse(row.schedule)
    is_declared = row.origin == "code" and row._state.adding
    if isinstance(schedule, Once) and (is_declared or not row.enabled or row.planned_schedule == row.schedule):
        return {}
    if _next(row, schedule, None) is None:
        over = isinstance(schedule, Once)
        return {"schedule": "This moment has passed." if over else "This never comes: no calendar has such a date."}
    if row.ends is not None and row.enabled and not is_declared and row.planned_schedule != row.schedule:
        moment = _next(row, schedule, row.starts)
        if moment is None or moment > aware(row.ends):
            return {"ends": "It would end before its first run."}
    return {}


def _next(row: PeriodicTask, schedule: Schedule, after: datetime | None) -> datetime | None:
    now = clock.now()
    zone = zone_named(row.timezone or timezone.get_default_timezone_name())
    return schedule.following(max(now, aware(after)) if after else now, zone, aware(row.starts or row.created))


RULES: Mapping[str, Rule] = {
    "task": _task,
    "args": _args,
    "kwargs": _kwargs,
    "schedule": _schedule,
    "timezone": _timezone,
    "queue": _queue,
    "priority": _priority,
    "headers": _headers,
    "expires": _seconds("expires", 1),
    "start_deadline": _seconds("start_deadline", 1),
    "jitter": _seconds("jitter", 0),
    "starts": _starts,
    "ends": _ends,
}
