"""Every key of ``DJANGO_JOBS``, once: its default, and what it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of a dictionary of settings."""

    default: Any
    #: What it may be, in words for an error message.
    expects: str
    accepts: Callable[[Any], bool]
    help: str


#: A century in seconds. What is added to a moment must leave one that every calendar and every column has.
LONGEST = 36_525 * 24 * 60 * 60


def is_delay(value: Any) -> bool:
    """Say whether this is a timedelta or a number of seconds, and a century at most."""
    if isinstance(value, bool) or not isinstance(value, timedelta | int | float):
        return False
    return abs(value.total_seconds() if isinstance(value, timedelta) else value) <= LONGEST


def _is_duration(value: Any) -> bool:
    return is_delay(value) and as_ms(value) > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_given(value: Any) -> bool:
    return value is not None and value != ""


def _is_seconds(value: Any) -> bool:
    return is_delay(value) and as_ms(value) >= 0 and not as_ms(value) % 1000


def _is_age(value: Any) -> bool:
    return _is_seconds(value) and as_ms(value) > 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_moment(value: Any) -> bool:
    return isinstance(value, datetime)


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_optional(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or accepts(value)


def as_ms(value: timedelta | float) -> int:
    """Turn a timedelta, or a number of seconds, into milliseconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return round(seconds * 1000)


_DURATION = "a timedelta or a number of seconds, above 0 and at most a century"

KEYS: Mapping[str, Key] = {
    "BROKER": Key(
        default="database://default",
        expects="a URL (redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, cache://, database://) or a"
        " dictionary with BACKEND, LOCATION and OPTIONS",
        accepts=lambda v: _is_text(v) or (_is_mapping(v) and _is_text(v.get("BACKEND"))),
        help="Where jobs wait.",
    ),
    "PREFIX": Key(
        default="dj",
        expects="letters, digits, '_', '-' or '.', at most 32",
        accepts=lambda v: (
            _is_text(v) and len(v) <= 32 and v.replace("_", "").replace("-", "").replace(".", "").isalnum()
        ),
        help="What every key in Redis starts with; two projects on one Redis need two.",
    ),
    "DATABASE": Key(
        default="default",
        expects="an alias of DATABASES",
        accepts=_is_text,
        help="Where our tables live, but for a broker's own.",
    ),
    "QUEUES": Key(
        default={},
        expects="a dictionary of queue name to options",
        accepts=lambda v: _is_mapping(v) and all(_is_text(k) and _is_mapping(o) for k, o in v.items()),
        help="The queues that a worker listens to by default. One that is not listed works too.",
    ),
    "TASKS": Key(
        default={},
        expects="a dictionary of task name, or glob, to options of @job",
        accepts=lambda v: _is_mapping(v) and all(_is_text(k) and _is_mapping(o) for k, o in v.items()),
        help="Option defaults and routes by name or glob; the most specific pattern wins, option by option.",
    ),
    "AUTODISCOVER": Key(
        default=["jobs"],
        expects="a list of module names or dotted paths",
        accepts=_is_text_list,
        help="Modules that are imported from every installed app; a dotted path is imported as it is.",
    ),
    "MIDDLEWARE": Key(
        default=[],
        expects="a list of dotted paths",
        accepts=_is_text_list,
        help="Callables around enqueue and run, outermost first.",
    ),
    "RESULTS": Key(default={}, expects="a dictionary", accepts=_is_mapping, help="How outcomes are kept."),
    "ON_COMMIT": Key(
        default=True, expects="True or False", accepts=_is_bool, help="Does delay() wait for the open transaction?"
    ),
    "OUTBOX": Key(
        default=False,
        expects="True or False",
        accepts=_is_bool,
        help="Are jobs kept in the outbox when neither the task nor the call says?",
    ),
    "OUTBOX_RESEND": Key(
        default=60,
        expects=_DURATION,
        accepts=_is_duration,
        help="How long after it was handed to the broker a job in the outbox that has not ended is handed over again.",
    ),
    "MAX_PAYLOAD": Key(
        default=1024 * 1024,
        expects="a number of bytes above 0",
        accepts=_is_count,
        help="The largest message of a job, in bytes.",
    ),
    "ENQUEUE_TIMEOUT": Key(
        default=2,
        expects=_DURATION,
        accepts=_is_duration,
        help="How long delay() may take when the broker does not answer.",
    ),
    "UNKNOWN_TASK_TTL": Key(
        default=timedelta(hours=1),
        expects=_DURATION,
        accepts=_is_duration,
        help="How long a job whose task no worker knows is kept for one that does, before it is recorded as failed.",
    ),
    "SINGLE_SLOT": Key(
        default=None,
        expects="True, False or None",
        accepts=_is_optional(_is_bool),
        help="Are all queues kept in one slot of a Redis Cluster? None: yes with redis+cluster://, else no.",
    ),
    "WORKER": Key(default={}, expects="a dictionary", accepts=_is_mapping, help="Defaults of runworker."),
    "SCHEDULE": Key(
        default={},
        expects="a dictionary of name to {'task': ..., 'schedule': ...}",
        accepts=lambda v: _is_mapping(v) and all(_is_text(k) and _is_mapping(o) for k, o in v.items()),
        help="Periodic tasks that the project declares, by name.",
    ),
    "BEAT": Key(default={}, expects="a dictionary", accepts=_is_mapping, help="How periodic tasks are fired."),
    "ADMIN": Key(default={}, expects="a dictionary", accepts=_is_mapping, help="How the admin pages look."),
}

RESULTS_KEYS: Mapping[str, Key] = {
    "STORE": Key(
        default="django_jobs.results.store.DatabaseStore",
        expects="a dotted path",
        accepts=_is_text,
        help="The result store.",
    ),
    "OPTIONS": Key(default={}, expects="a dictionary", accepts=_is_mapping, help="What the result store is given."),
    "EXPIRES": Key(
        default=timedelta(days=1),
        expects=_DURATION + ", or None for ever",
        accepts=_is_optional(_is_duration),
        help="How long the result of a job that succeeded or was revoked is kept.",
    ),
    "FAILURES_EXPIRE": Key(
        default=timedelta(days=30),
        expects=_DURATION + ", or None for ever",
        accepts=_is_optional(_is_duration),
        help="How long the record of a failed job is kept.",
    ),
}

WORKER_KEYS: Mapping[str, Key] = {
    "CONCURRENCY": Key(
        default=None,
        expects="a number above 0, or None for one per usable CPU core",
        accepts=_is_optional(_is_count),
        help="Processes of a worker.",
    ),
    "THREADS": Key(
        default=1, expects="a number above 0", accepts=_is_count, help="Threads of each process that run jobs."
    ),
    "HEARTBEAT": Key(default=5, expects=_DURATION, accepts=_is_duration, help="How often leases are renewed."),
    "LEASE": Key(
        default=20,
        expects=_DURATION,
        accepts=_is_duration,
        help="How long a worker may be silent before it is suspected.",
    ),
    "SUSPECT_TIME": Key(
        default=10,
        expects=_DURATION,
        accepts=_is_duration,
        help="How long a suspected worker has to come back before its jobs are given away.",
    ),
    "GRACE": Key(
        default=30,
        expects="a timedelta or a number of seconds, 0 or more and at most a century",
        accepts=lambda v: is_delay(v) and as_ms(v) >= 0,
        help="How long running jobs may take to end at a shutdown.",
    ),
}

BEAT_KEYS: Mapping[str, Key] = {
    "LATE": Key(
        default=60,
        expects=_DURATION,
        accepts=_is_duration,
        help="A run that is fired later than this is missed (see catch_up), and beat is said to be late.",
    ),
    "RUNS_EXPIRE": Key(
        default=timedelta(days=30),
        expects=_DURATION + ", or None for ever",
        accepts=_is_optional(_is_duration),
        help="How long is kept what became of each run.",
    ),
}

ADMIN_KEYS: Mapping[str, Key] = {
    "AUTOREGISTER": Key(
        default=True, expects="True or False", accepts=_is_bool, help="Register our pages in the default admin site?"
    ),
    "MODEL_ADMIN": Key(
        default="django.contrib.admin.ModelAdmin",
        expects="a dotted path",
        accepts=_is_text,
        help="The base class of our pages, for admin themes that bring their own.",
    ),
}

#: What ``QUEUES[name]`` may hold.
QUEUE_KEYS: Mapping[str, Key] = {
    "weight": Key(
        default=1,
        expects="a whole number above 0",
        accepts=_is_count,
        help="The queue's share of a worker that serves every queue, among those that have jobs.",
    ),
}

_AGE = "a timedelta or a number of whole seconds, above 0, or None"

#: What ``SCHEDULE[name]`` may hold: the columns of a periodic task that are not beat's own.
SCHEDULE_KEYS: Mapping[str, Key] = {
    "task": Key(default=None, expects="the name of a task", accepts=_is_text, help="What recurs."),
    "schedule": Key(
        default=None,
        expects="crontab(...), a text such as 'every 15 minutes', a timedelta, a datetime or seconds",
        accepts=_is_given,
        help="When it recurs.",
    ),
    "args": Key(default=(), expects="a list", accepts=_is_list, help="Its arguments."),
    "kwargs": Key(default={}, expects="a dictionary", accepts=_is_mapping, help="Its keyword arguments."),
    "queue": Key(default="", expects="the name of a queue, or ''", accepts=_is_string, help="Empty: the task's."),
    "priority": Key(
        default=None,
        expects="a whole number, or None",
        accepts=_is_optional(lambda v: isinstance(v, int) and not isinstance(v, bool)),
        help="None: the task's.",
    ),
    "headers": Key(default={}, expects="a dictionary of texts", accepts=_is_mapping, help="Headers of its jobs."),
    "expires": Key(
        default=None,
        expects=_AGE,
        accepts=_is_optional(_is_age),
        help="How long after its moment a job that has not started is revoked.",
    ),
    "timezone": Key(
        default="",
        expects="an IANA time zone such as 'Europe/Berlin', or ''",
        accepts=_is_string,
        help="Where the wall clock hangs.",
    ),
    "enabled": Key(default=True, expects="True or False", accepts=_is_bool, help="Does it run?"),
    "one_off": Key(default=False, expects="True or False", accepts=_is_bool, help="Disable it after its first run."),
    "starts": Key(default=None, expects="a datetime, or None", accepts=_is_optional(_is_moment), help="No run before."),
    "ends": Key(default=None, expects="a datetime, or None", accepts=_is_optional(_is_moment), help="No run after."),
    "catch_up": Key(
        default="one",
        expects="'one', 'skip' or 'all'",
        accepts=lambda v: v in ("one", "skip", "all"),
        help="What becomes of moments at which no beat was there.",
    ),
    "start_deadline": Key(
        default=None,
        expects=_AGE,
        accepts=_is_optional(_is_age),
        help="How late a run that was missed is made up for.",
    ),
    "overlap": Key(
        default="allow",
        expects="'allow' or 'skip'",
        accepts=lambda v: v in ("allow", "skip"),
        help="What becomes of a moment at which the run before has not ended.",
    ),
    "jitter": Key(
        default=0,
        expects="a timedelta or a number of whole seconds, 0 or more",
        accepts=_is_seconds,
        help="Within how many seconds each run starts, at random.",
    ),
    "description": Key(default="", expects="a text", accepts=_is_string, help="For people."),
}

SECTIONS: Mapping[str, Mapping[str, Key]] = {
    "RESULTS": RESULTS_KEYS,
    "WORKER": WORKER_KEYS,
    "BEAT": BEAT_KEYS,
    "ADMIN": ADMIN_KEYS,
}
