"""
The options of ``@job``, once.

They come from four places, and the first that says something wins, option by option: the call, the project's entry for
exactly this task in ``DJANGO_JOBS["TASKS"]``, the decorator, and the project's globs, the most specific (longest)
first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from inspect import Signature
from typing import Any

from django_jobs.celery_names import CALL_OPTIONS as CELERY_CALL_OPTIONS
from django_jobs.celery_names import OPTIONS as CELERY_OPTIONS
from django_jobs.celery_names import SCHEDULE_KEYS as CELERY_SCHEDULE_KEYS
from django_jobs.conf import SCHEDULE_KEYS, as_ms, is_delay, nearest, settings
from django_jobs.exceptions import InvalidSchedule, JobsConfigurationError
from django_jobs.schedules import Schedule, as_schedule

PRIORITY_MIN, PRIORITY_MAX = -100, 100
DEFAULT_QUEUE = "default"
#: What a queue's name may be, in words.
QUEUE_NAME = "1 to 64 letters, digits, '_', '.' or '-', the first no '.' or '-'"
_QUEUE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")

Recurrence = Schedule | str | timedelta | datetime | float
Exceptions = type[BaseException] | Sequence[type[BaseException]]


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What a task's author decided. Times: a timedelta or seconds."""

    #: Where its jobs wait.
    queue: str = DEFAULT_QUEUE
    #: The database alias whose open transaction delay() joins; None: ``DJANGO_JOBS["DATABASE"]``.
    using: str | None = None
    #: Does delay() wait for that transaction's commit? None: ``DJANGO_JOBS["ON_COMMIT"]``.
    on_commit: bool | None = None
    #: Is a job kept in the database, by that transaction, until it has ended? None: ``DJANGO_JOBS["OUTBOX"]``.
    outbox: bool | None = None
    #: Are the function's changes in that database and the record of its end one transaction? Only ``def`` tasks.
    atomic: bool = False
    #: -100 to 100; higher runs sooner.
    priority: int = 0

    #: Attempts after the first; None: for ever.
    max_retries: int | None = 3
    #: Before a retry that says no time of its own.
    default_retry_delay: timedelta | float = 180
    #: Exceptions that lead to a retry by themselves, and those among them that do not.
    autoretry_for: Exceptions = ()
    dont_autoretry_for: Exceptions = ()
    #: True: 1, 2, 4, 8 ... seconds; a delay: it, times 2, times 4 ...; False: default_retry_delay.
    retry_backoff: bool | timedelta | float = False
    #: The longest backoff.
    retry_backoff_max: timedelta | float = 600
    #: Take a random moment between now and the backoff, so that jobs that failed together do not come back together.
    retry_jitter: bool = True
    #: A policy of one's own: called with (job, exception), returns the delay, or None to fail. Instead of
    #: autoretry_for.
    retry: Callable[[Any, BaseException], timedelta | float | None] | None = None
    #: Exceptions that are part of the plan: logged without a traceback.
    throws: Exceptions = ()

    #: How long the function may run: then SoftTimeLimitExceeded is raised inside it; None: no limit.
    soft_time_limit: timedelta | float | None = None
    #: How long the function may run before its process is killed; None: no limit. Pool prefork.
    time_limit: timedelta | float | None = None
    #: A job that has not started this long after it was sent (or was due) is revoked; None: never.
    expires: timedelta | float | None = None
    #: How often a job may be running when its process dies, before it fails as WorkerLost.
    max_deliveries: int = 3
    #: What to do when a model instance among the arguments is gone: "fail", or "discard" (revoked, without a failure).
    missing: str = "fail"

    #: Record nothing when a job succeeds.
    ignore_result: bool = False
    #: Record when a job starts.
    track_started: bool = False
    #: How long results are kept; None: ``RESULTS.EXPIRES``, failures ``RESULTS.FAILURES_EXPIRE``.
    result_expires: timedelta | float | None = None
    #: Record failures of a task that ignores its results.
    store_errors_even_if_ignored: bool = True
    #: Names of arguments that are never shown.
    sensitive: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, (accepts, expects) in _RULES.items():
            value = getattr(self, name)
            if not accepts(value):
                raise JobsConfigurationError(f"The option {name} must be {expects}, not {value!r}.")
        if self.retry is not None and (self.autoretry_for or self.retry_backoff is not False):
            raise JobsConfigurationError("retry= decides alone: leave out autoretry_for and retry_backoff.")
        if (self.outbox or self.atomic) and self.using is not None and self.using != settings.database:
            told = (
                "outbox=True keeps jobs" if self.outbox else "atomic=True keeps what a job does together with its end"
            )
            raise JobsConfigurationError(
                f"{told} in the database {settings.database!r} (DJANGO_JOBS['DATABASE']): it cannot be"
                f" written in a transaction of using={self.using!r}."
            )
        soft, hard = self.soft_time_limit, self.time_limit
        if soft is not None and hard is not None and as_ms(soft) >= as_ms(hard):
            raise JobsConfigurationError(
                f"soft_time_limit ({soft}) must be shorter than time_limit ({hard}): a task that is told that its time"
                " is over needs some to end."
            )


def is_queue_name(value: Any) -> bool:
    """Say whether this can be the name of a queue."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 64
        and value[0] not in ".-"  # a name is a directory's, or a word after a flag, somewhere
        and _QUEUE_CHARACTERS.issuperset(value)
    )


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_int(low: int, high: float = float("inf")) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_duration(value: Any) -> bool:
    return is_delay(value) and as_ms(value) >= 0


def _is_limit(value: Any) -> bool:
    return is_delay(value) and as_ms(value) > 0


def _or_none(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or accepts(value)


def _is_exceptions(value: Any) -> bool:
    items = (value,) if isinstance(value, type) else value
    return isinstance(items, list | tuple) and all(isinstance(i, type) and issubclass(i, BaseException) for i in items)


def _is_names(value: Any) -> bool:
    return not isinstance(value, str) and isinstance(value, Sequence) and all(isinstance(item, str) for item in value)


_LIMIT = "a timedelta or a number of seconds, above 0 and at most a century, or None for no limit"
_SECONDS = "a timedelta or a number of seconds, 0 or more and at most a century"
_CLASSES = "an exception class, or a list of them"

_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "queue": (is_queue_name, QUEUE_NAME),
    "using": (_or_none(lambda v: isinstance(v, str)), "an alias of DATABASES"),
    "on_commit": (_or_none(_is_bool), "True, False or None"),
    "outbox": (_or_none(_is_bool), "True, False or None"),
    "atomic": (_is_bool, "True or False"),
    "priority": (
        _is_int(PRIORITY_MIN, PRIORITY_MAX),
        f"a whole number from {PRIORITY_MIN} to {PRIORITY_MAX} (higher runs sooner)",
    ),
    "max_retries": (_or_none(_is_int(0)), "a whole number, 0 or more, or None for ever"),
    "default_retry_delay": (_is_duration, _SECONDS),
    "autoretry_for": (_is_exceptions, _CLASSES),
    "dont_autoretry_for": (_is_exceptions, _CLASSES),
    "retry_backoff": (lambda v: _is_bool(v) or _is_duration(v), f"True, False, {_SECONDS}"),
    "retry_backoff_max": (_is_duration, _SECONDS),
    "retry_jitter": (_is_bool, "True or False"),
    "retry": (
        _or_none(callable),
        "a callable(job, exception) that returns a delay or None (Celery's retry=True has no meaning here)",
    ),
    "throws": (_is_exceptions, _CLASSES),
    "soft_time_limit": (_or_none(_is_limit), _LIMIT),
    "time_limit": (_or_none(_is_limit), _LIMIT),
    "expires": (_or_none(_is_duration), _SECONDS),
    "max_deliveries": (_is_int(1), "a whole number, 1 or more"),
    "missing": (lambda v: v in ("fail", "discard"), "'fail' or 'discard'"),
    "ignore_result": (_is_bool, "True or False"),
    "track_started": (_is_bool, "True or False"),
    "result_expires": (_or_none(_is_duration), _SECONDS),
    "store_errors_even_if_ignored": (_is_bool, "True or False"),
    "sensitive": (_is_names, "a list of argument names"),
}

_OTHER_THAN_RETRY = frozenset({"autoretry_for", "retry_backoff"})

#: Every option, in the order of declaration.
OPTION_NAMES: tuple[str, ...] = tuple(field.name for field in fields(TaskOptions))
#: Those that a single call may override and that travel with its job. The others of a call (queue, priority, expires,
#: using, on_commit) act when it is sent.
TRAVELLING_OPTIONS = frozenset({
    "max_retries", "default_retry_delay", "retry_backoff", "retry_backoff_max", "retry_jitter", "max_deliveries",
    "soft_time_limit", "time_limit", "missing", "ignore_result", "track_started", "result_expires",
    "store_errors_even_if_ignored",
})  # fmt: skip


def check_names(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse an option that does not exist, with what to use instead. Raises JobsConfigurationError."""
    for name in given:
        if name not in known:
            hint = _why_unknown(name) or f"{nearest(name, list(known))} Known options: {', '.join(known)}."
            raise JobsConfigurationError(f"{where} has no option {name!r}.{hint}")


def _why_unknown(name: str) -> str:
    if name in CELERY_OPTIONS:
        return f" {CELERY_OPTIONS[name]}"
    if name in CELERY_CALL_OPTIONS:
        return f" {CELERY_CALL_OPTIONS[name]}"
    if name == "schedule":
        return " It stands in @job itself, or in DJANGO_JOBS['SCHEDULE']."
    if name in OPTION_NAMES:
        return " It is an option of @job and DJANGO_JOBS['TASKS'], not of a call."
    if name in SCHEDULE_KEYS:
        return f" It is a key of a periodic task: DJANGO_JOBS['SCHEDULE'] = {{NAME: {{'task': ..., {name!r}: ...}}}}."
    return f" Of a periodic task: {CELERY_SCHEDULE_KEYS[name]}" if name in CELERY_SCHEDULE_KEYS else ""


def resolve(name: str, declared: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> TaskOptions:
    """
    Combine what the decorator of the task ``name`` says with ``DJANGO_JOBS["TASKS"]``. Raises JobsConfigurationError.
    """
    layers = [tasks[pattern] for pattern in sorted((p for p in tasks if p != name and fnmatchcase(name, p)), key=len)]
    merged: dict[str, Any] = {}
    for layer in (*layers, declared, tasks.get(name, {})):
        # The two ways to retry exclude each other, so the more specific place decides between them, too.
        if "retry" in layer:
            merged = {option: value for option, value in merged.items() if option not in _OTHER_THAN_RETRY}
        elif not _OTHER_THAN_RETRY.isdisjoint(layer):
            merged.pop("retry", None)
        merged |= layer
    where = f"DJANGO_JOBS['TASKS'] for {name}"
    check_names(merged, OPTION_NAMES, where)
    return make_options(merged, where)


def make_options(values: Mapping[str, Any], where: str) -> TaskOptions:
    """Make options; ``where`` names their place in the error. Raises JobsConfigurationError for a wrong value."""
    try:
        return TaskOptions(**values)
    except JobsConfigurationError as error:
        raise JobsConfigurationError(f"{where}: {error}") from None


def make_schedule(given: Recurrence, name: str, signature: Signature) -> Schedule:
    """Return when a task recurs, having seen that it runs without arguments. Raises JobsConfigurationError."""
    try:
        signature.bind()
    except TypeError as error:
        raise JobsConfigurationError(
            f"@job of {name}: schedule= runs it without arguments, and it is {name}{signature}: {error}. Give its"
            " parameters defaults, or declare it in DJANGO_JOBS['SCHEDULE'] with args or kwargs."
        ) from None
    try:
        return as_schedule(given)
    except InvalidSchedule as error:
        raise JobsConfigurationError(f"@job of {name}: schedule= is wrong. {error}") from None


def with_overrides(options: TaskOptions, overrides: Mapping[str, Any]) -> TaskOptions:
    """Return the options of one job: the task's, with what its call said."""
    if not overrides:
        return options
    return TaskOptions(**{**{name: getattr(options, name) for name in OPTION_NAMES}, **overrides})
