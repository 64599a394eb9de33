"""What code says of periodic tasks, in ``@job(schedule=...)`` and in ``DJANGO_JOBS["SCHEDULE"]``, as rows have it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.utils import timezone

from django_jobs import clock
from django_jobs.celery_names import SCHEDULE_KEYS as CELERY_KEYS
from django_jobs.conf import SCHEDULE_KEYS, SETTING, Section, as_ms, nearest, settings
from django_jobs.exceptions import EncodeError, InvalidSchedule, JobsConfigurationError
from django_jobs.models import PeriodicTask
from django_jobs.models.periodic import Origin
from django_jobs.models.validation import aware, problems
from django_jobs.registry import RegisteredTask, registry
from django_jobs.schedules import as_schedule, parse
from django_jobs.serializers import dump_packed, load_packed, pack

#: The columns of a row that code may decide, in the order in which people are told of them.
FIELDS: tuple[str, ...] = tuple(SCHEDULE_KEYS)
#: Those that have no default.
NEEDED = ("task", "schedule")
LONGEST_NAME = 191


@dataclass(frozen=True, slots=True)
class Declaration:
    """One periodic task of the code: what it says of every column, as JSON has it."""

    name: str
    values: Mapping[str, Any]

    def columns(self) -> dict[str, Any]:
        """Return the values as a row has them."""
        return {field: to_column(field, value) for field, value in self.values.items()}


def declarations() -> list[Declaration]:
    """Return everything that code declares. Raises JobsConfigurationError that says all that is wrong with it."""
    found, wrong = _read()
    if wrong:
        raise JobsConfigurationError("\n".join(wrong))
    return found


def mistakes() -> list[str]:
    """Say everything that is wrong with what code declares."""
    return _read()[1]


def of_row(row: PeriodicTask) -> dict[str, Any]:
    """Return what a row says of every column that code may decide, as a declaration would."""
    return {field: _of_column(field, getattr(row, field)) for field in FIELDS}


def to_column(field: str, value: Any) -> Any:
    """Turn the value of a declaration into that of a row."""
    if field not in ("starts", "ends") or value is None:
        return value
    moment = datetime.fromisoformat(value)
    return moment if django_settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())


def _of_column(field: str, value: Any) -> Any:
    """Return the one spelling of a value: what means the same is the same, however somebody has typed it."""
    try:
        if isinstance(value, datetime):
            return aware(value).astimezone(UTC).isoformat()
        if field == "schedule":
            return str(parse(value))
        if field in ("args", "kwargs", "headers"):
            return json.dumps(load_packed(value or ("[]" if field == "args" else "{}")))
    except (InvalidSchedule, ValueError, OverflowError):
        pass  # somebody has written nonsense into the row: that is a spelling of its own
    return value.isoformat() if isinstance(value, datetime) else value


def _read() -> tuple[list[Declaration], list[str]]:
    found: list[Declaration] = []
    wrong: list[str] = []
    for name, (where, entry) in _entries().items():
        said = _strangers(where, entry)
        ours = {key: value for key, value in entry.items() if key not in CELERY_KEYS}
        said += Section(where, SCHEDULE_KEYS, ours).problems()
        missing = [f"{where} has no {key!r}: {SCHEDULE_KEYS[key].expects}." for key in NEEDED if key not in entry]
        if len(missing) == len(NEEDED):  # what the settings say of a task's own schedule needs neither
            own = [task.name for task in registry if task.schedule is not None]
            missing[-1] += f" No task of this name has @job(schedule=...).{nearest(name, own)}"
        said += missing
        if not 1 <= len(name) <= LONGEST_NAME:
            said.append(f"{where}: a name has 1 to {LONGEST_NAME} characters.")
        if not said:
            declaration, said = _declaration(where, name, entry)
            found.append(declaration)
        wrong += said
    return found, wrong


def _entries() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return the place and words of each. An entry of the settings has the last word about a task's own schedule."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {
        task.name: (f"@job of {task.name}", _own_entry(task)) for task in registry if task.schedule is not None
    }
    for name, entry in settings.top["SCHEDULE"].items():
        _, own = found.get(name, ("", {}))
        found[name] = (f"{SETTING}['SCHEDULE'][{name!r}]", {**own, **entry})
    return found


def _own_entry(task: RegisteredTask) -> dict[str, Any]:
    document = inspect.getdoc(task.function) or ""
    return {"task": task.name, "schedule": task.schedule, "description": document.partition("\n")[0]}


def _strangers(where: str, entry: Mapping[str, Any]) -> list[str]:
    """Answer the keys that people know from Celery."""
    return [
        f"{where} has no key {key!r}. {CELERY_KEYS[key]} Known: {', '.join(SCHEDULE_KEYS)}."
        for key in entry
        if key in CELERY_KEYS
    ]


def _declaration(where: str, name: str, entry: Mapping[str, Any]) -> tuple[Declaration, list[str]]:
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for field, key in SCHEDULE_KEYS.items():
        try:
            values[field] = _VALUES.get(field, _same)(entry.get(field, key.default))
        except (InvalidSchedule, EncodeError, ValueError, TypeError) as error:
            wrong.append(f"{where}[{field!r}]: {error}")
    declaration = Declaration(name, values)
    if not wrong:
        row = PeriodicTask(name=name, origin=Origin.CODE, **declaration.columns())
        wrong = [f"{where}[{field!r}]: {text}" for field, text in problems(row).items()]
    return declaration, wrong


# From what people write to what a row has


def _same(value: Any) -> Any:
    return value


def _schedule(value: Any) -> str:
    return str(as_schedule(value))


def encoded_args(value: Sequence[Any]) -> str:
    """Return positional arguments as a row has them. Raises EncodeError."""
    return _json([pack(item, f"argument {number}") for number, item in enumerate(value, 1)])


def encoded_kwargs(value: Mapping[Any, Any]) -> str:
    """Return keyword arguments as a row has them. Raises EncodeError, and TypeError for a name that is no text."""
    strangers = [key for key in value if not isinstance(key, str)]
    if strangers:
        raise TypeError(f"The name of an argument is a text, not {strangers[0]!r}.")
    return _json({key: pack(item, f"argument {key!r}") for key, item in value.items()})


def _json(packed: Any) -> str:
    return json.dumps(json.loads(dump_packed(_in_order(packed))))


def _in_order(packed: Any) -> Any:
    """Give the members of sets an order: two processes see them in different ones, and would say different things."""
    if isinstance(packed, list):
        return [_in_order(item) for item in packed]
    if not isinstance(packed, dict):
        return packed
    found = {key: _in_order(item) for key, item in packed.items()}
    if found.get("$") in ("set", "frozenset"):
        found["v"] = sorted(found["v"], key=json.dumps)
    return found


def _whole_seconds(value: timedelta | float | None) -> int | None:
    return None if value is None else as_ms(value) // 1000


def _moment(name: str) -> Callable[[datetime | None], str | None]:
    def encode(value: datetime | None) -> str | None:
        if value is None:
            return None
        clock.aware_ms(name, value)  # raises for a naive one, and for one that no calendar has
        return aware(value).astimezone(UTC).isoformat()

    return encode


_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "schedule": _schedule,
    "args": encoded_args,
    "kwargs": encoded_kwargs,
    "headers": encoded_kwargs,
    "expires": _whole_seconds,
    "start_deadline": _whole_seconds,
    "jitter": _whole_seconds,
    "starts": _moment("starts"),
    "ends": _moment("ends"),
}

#: What a declaration says of a column of which the code says nothing.
DEFAULTS: Mapping[str, Any] = {
    field: _VALUES.get(field, _same)(key.default) for field, key in SCHEDULE_KEYS.items() if field not in NEEDED
}
