"""From a call to a job: what ``delay()`` and its options say, checked where they are said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections

from django_jobs import clock
from django_jobs.conf import as_ms, nearest
from django_jobs.context import current
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.identifiers import new_id, new_ids, parse_id
from django_jobs.options import OPTION_NAMES, TRAVELLING_OPTIONS, TaskOptions, check_names, with_overrides
from django_jobs.serializers import pack

#: What a single call may say: its own moment, and some of the task's options.
CALL_OPTIONS = ("countdown", "eta", "expires", "queue", "priority", "headers", "job_id", "using", "on_commit",
                "outbox", *sorted(TRAVELLING_OPTIONS))  # fmt: skip
#: What travels as it is. Floats are not here: pack() sees to those that are not numbers.
_SCALARS = frozenset((str, int, bool, type(None)))
#: The first fields of a job differ from call to call, or are known to all; the others are those of the call.
_SHARED = Job._fields.index("enqueued_ms")


def arguments(args: Any) -> tuple[Any, ...]:
    """Take a call's positional arguments. A string is an iterable, too, but never a list of arguments."""
    if type(args) is tuple:
        return args
    if args is None:
        return ()
    if isinstance(args, str | bytes | Mapping) or not isinstance(args, Iterable):
        raise TypeError(f"Pass the arguments as a list or tuple, such as ({args!r},), not {args!r}.")
    return tuple(args)


def make_jobs(
    name: str,
    options: TaskOptions,
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]],
    call: Mapping[str, Any],
) -> list[Job]:
    """
    Make a job from each (args, kwargs), all with the same options of the call; what they share is found out once.

    Raises EncodeError, JobsConfigurationError for an option that is unknown or wrong, TypeError or ValueError for a
    wrong moment, header or id.
    """
    now_ms = clock.now_ms()
    shared: dict[str, Any] = {"queue": options.queue, "priority": options.priority}
    if call:
        shared = _shared(name, options, call, now_ms)
    if options.expires is not None and "expires" not in call:
        shared["expires_ms"] = _expires_ms(options.expires, shared.get("eta_ms") or now_ms)
    context = current.get()
    if context is not None:
        shared |= {"root_id": context.job.root_id or context.job.id, "parent_id": context.job.id}
    if call.get("job_id") is not None:
        ids = [parse_id(call["job_id"])]
    else:
        ids = new_ids(len(calls)) if len(calls) > 1 else [new_id() for _ in calls]
    pattern = Job(id="", task=name, enqueued_ms=now_ms, **shared)
    queue, rest = pattern.queue, pattern[_SHARED:]
    return [
        Job._make(
            (
                job_id,
                name,
                queue,
                list(args) if _SCALARS.issuperset(map(type, args)) else _pack_args(name, args),
                _pack_kwargs(name, kwargs) if kwargs else {},
                *rest,
            )
        )
        for job_id, (args, kwargs) in zip(ids, calls, strict=True)
    ]


def _pack_args(name: str, args: tuple[Any, ...]) -> list[Any]:
    return [pack(value, f"argument {number} of {name}") for number, value in enumerate(args, 1)]


def _pack_kwargs(name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value if type(value) in _SCALARS else pack(value, f"argument {key!r} of {name}")
        for key, value in kwargs.items()
    }


def _shared(name: str, options: TaskOptions, call: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """Return the fields that the options of a call decide, having checked them."""
    check_names(call, CALL_OPTIONS, f"A call of {name}")
    with_overrides(options, {key: value for key, value in call.items() if key in OPTION_NAMES and key != "expires"})
    _check_alias(name, call.get("using"))
    eta_ms = _eta_ms(call, now_ms)
    expires = call.get("expires")
    return {
        "queue": call.get("queue", options.queue),
        "priority": call.get("priority", options.priority),
        "eta_ms": eta_ms,
        "expires_ms": None if expires is None else _expires_ms(expires, eta_ms or now_ms),
        "headers": _headers(call["headers"]) if call.get("headers") else {},
        "options": {key: _plain(value) for key, value in call.items() if key in TRAVELLING_OPTIONS},
    }


def _check_alias(name: str, alias: str | None) -> None:
    if alias is not None and alias not in connections.settings:
        known = list(connections.settings)
        raise JobsConfigurationError(
            f"A call of {name}: using names the database {alias!r}, which DATABASES does not have."
            f"{nearest(alias, known)} Known: {', '.join(known)}."
        )


def _plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _later_ms(name: str, start_ms: int, delay: Any, expects: str) -> int:
    """Return the moment that is a delay after another. Raises TypeError, or ValueError past the calendar's end."""
    if isinstance(delay, bool) or not isinstance(delay, timedelta | int | float):
        raise TypeError(f"{name}= takes {expects}, not {delay!r}.")
    try:
        moment_ms = start_ms + as_ms(delay)
        clock.from_ms(moment_ms)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}= is a moment that no calendar has: {delay!r} from now.") from None
    return moment_ms


def _eta_ms(call: Mapping[str, Any], now_ms: int) -> int | None:
    countdown, eta = call.get("countdown"), call.get("eta")
    if countdown is not None:
        if eta is not None:
            raise TypeError("Pass countdown= or eta=, not both.")
        due_ms = _later_ms("countdown", now_ms, countdown, "seconds or a timedelta")
        return due_ms if due_ms > now_ms else None
    if eta is None:
        return None
    if not isinstance(eta, datetime):
        raise TypeError(f"eta= takes a datetime, not {eta!r}; countdown= takes seconds.")
    return clock.aware_ms("eta", eta)


def _expires_ms(expires: Any, start_ms: int) -> int:
    """An age counts from when the job may start; a moment is what it is."""
    if isinstance(expires, datetime):
        return clock.aware_ms("expires", expires)
    return _later_ms("expires", start_ms, expires, "seconds, a timedelta or a datetime")


def _headers(headers: Any) -> dict[str, str]:
    if not isinstance(headers, Mapping) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in headers.items()
    ):
        raise TypeError(f"headers= takes a dictionary of strings to strings, not {headers!r}.")
    return dict(headers)
