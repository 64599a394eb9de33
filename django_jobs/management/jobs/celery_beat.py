"""
schedule import-celery-beat: periodic tasks from the tables of django-celery-beat.

They are read as they are, with whatever columns the installed version has had; the package itself is not needed.
Nothing of them is changed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_jobs import transactions
from django_jobs.beat.declared import LONGEST_NAME, declarations, encoded_args, encoded_kwargs
from django_jobs.beat.sync import PATIENCE_MS
from django_jobs.beat.validation import problems
from django_jobs.conf import nearest, settings
from django_jobs.exceptions import EncodeError, InvalidSchedule
from django_jobs.management.jobs.screen import USAGE, Screen
from django_jobs.models import PeriodicTask
from django_jobs.models.validation import aware
from django_jobs.registry import registry
from django_jobs.schedules import Interval, parse

PREFIX = "django_celery_beat_"
TABLE = f"{PREFIX}periodictask"
#: The column that names a schedule, and the table that has it.
SCHEDULES = {kind: f"{PREFIX}{kind}schedule" for kind in ("interval", "crontab", "solar", "clocked")}
PERIODS = ("days", "hours", "minutes", "seconds", "microseconds")
EVENTS = {
    "dawn_civil": "dawn",
    "sunrise": "sunrise",
    "solar_noon": "noon",
    "sunset": "sunset",
    "dusk_civil": "dusk",
}
#: Its own housekeeping, which workers do here: it is left out.
CLEANUP = "celery.backend_cleanup"

Row = Mapping[str, Any]


class _Unmapped(Exception):
    """There is nothing here that would mean the same."""


@dataclass(slots=True)
class Imported:
    """What becomes of one row of theirs."""

    name: str
    #: Ours, not saved yet; None: it cannot be mapped, or is there already.
    row: PeriodicTask | None = None
    #: Why it cannot be mapped.
    refused: str = ""
    #: What is different here.
    notes: list[str] = field(default_factory=list)


def import_celery_beat(screen: Screen, options: dict[str, Any]) -> int:
    """Make periodic tasks of those that django-celery-beat has in its tables. 1: some cannot be mapped."""
    theirs = _Tables(_alias(options["database"]))
    found = [_imported(row, theirs) for row in theirs.rows if row["task"] != CLEANUP]
    known = dict.fromkeys(PeriodicTask.objects.using(settings.database).values_list("name", flat=True), "there already")
    known |= {declaration.name: "declared in code" for declaration in declarations()}
    new = [one.row for one in found if one.row is not None and one.name not in known]
    if not options["dry_run"]:
        _save(new)
    made = {row.name for row in new}
    if screen.as_json:
        screen.document({
            "imported": {one.name: one.notes for one in found if one.name in made},
            "present": [one.name for one in found if one.name in known],
            "refused": {one.name: one.refused for one in found if one.refused},
        })  # fmt: skip
    else:
        _show(screen, found, known, dry_run=options["dry_run"])
    return int(any(one.refused for one in found if one.name not in known))


def _alias(given: str | None) -> str:
    if given is not None and given not in connections.settings:
        known = list(connections.settings)
        raise CommandError(
            f"DATABASES has no alias {given!r}.{nearest(given, known)} Known: {', '.join(known)}.", returncode=USAGE
        )
    return given or settings.database


def _save(rows: list[PeriodicTask]) -> None:
    def save() -> None:
        for row in rows:
            row.pk = None
            row.save(using=settings.database, force_insert=True)

    transactions.run(settings.database, save, wait_ms=PATIENCE_MS)


def _show(screen: Screen, found: list[Imported], known: Mapping[str, str], *, dry_run: bool) -> None:
    counts = Counter[str]()
    for one in found:
        if one.name in known:
            counts["left alone"] += 1
            screen.say(f"{one.name}: {known[one.name]}, left alone")
        elif one.row is None:
            counts["refused"] += 1
            screen.say(f"{one.name}: NOT IMPORTED: {one.refused}")
        else:
            counts["made"] += 1
            screen.say(f"{one.name}: {', '.join(_told(one.row))}")
            for note in one.notes:
                screen.say(f"    {note}")
    screen.say(
        f"{counts['made']} {'would be imported' if dry_run else 'imported'}, {counts['left alone']} left alone,"
        f" {counts['refused']} cannot be mapped."
    )


def _told(row: PeriodicTask) -> Iterator[str]:
    """Say what a row that is new is like, as far as it says something."""
    yield f"{row.schedule} ({row.timezone})" if row.timezone else row.schedule
    yield row.task
    if row.queue:
        yield f"queue {row.queue}"
    if row.expires is not None:
        yield f"expires after {row.expires} s"
    for name, moment in (("starts", row.starts), ("ends", row.ends)):
        if moment is not None:
            yield f"{name} {aware(moment).astimezone(timezone.get_default_timezone()).isoformat(' ', 'seconds')}"
    if row.one_off:
        yield "one-off"
    if not row.enabled:
        yield "disabled"


class _Tables:
    """What they have, read once."""

    def __init__(self, alias: str) -> None:
        self._connection = connections[alias]
        with self._connection.cursor() as cursor:
            tables = set(self._connection.introspection.table_names(cursor))
        if TABLE not in tables:
            raise CommandError(
                f"DATABASES[{alias!r}] has no table {TABLE}: django-celery-beat was never migrated there. --database"
                " names another one.",
                returncode=USAGE,
            )
        self.rows = sorted(self._read(TABLE), key=lambda row: str(row["name"]))
        self._schedules = {
            kind: {row["id"]: row for row in self._read(table)} for kind, table in SCHEDULES.items() if table in tables
        }

    def _read(self, table: str) -> list[Row]:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {self._connection.ops.quote_name(table)}")  # noqa: S608 - a name of ours
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    def schedule_of(self, row: Row) -> tuple[str, Row]:
        """Return which kind of schedule a row has, and the schedule. Raises _Unmapped when it has none."""
        for kind, found in self._schedules.items():
            if row.get(f"{kind}_id") is not None:
                return kind, found[row[f"{kind}_id"]]
        raise _Unmapped("It has no schedule.")

    def moment(self, value: Any) -> datetime | None:
        """Return a moment as our rows have it."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment, _zone_of(self._connection))
        return moment if django_settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())


def _zone_of(connection: BaseDatabaseWrapper) -> Any:
    return connection.timezone or timezone.get_default_timezone()


def _imported(theirs: Row, tables: _Tables) -> Imported:
    one = Imported(str(theirs["name"]))
    try:
        row = _row(one, theirs, tables)
    except (_Unmapped, InvalidSchedule, EncodeError, ValueError, TypeError, OverflowError) as error:
        one.refused = str(error)
        return one
    one.refused = "; ".join(f"{name}: {text}" for name, text in problems(row).items())
    if not one.refused:
        one.row = row
    return one


def _row(one: Imported, theirs: Row, tables: _Tables) -> PeriodicTask:
    if len(one.name) > LONGEST_NAME:
        raise _Unmapped(f"Its name is longer than {LONGEST_NAME} characters.")
    kind, schedule = tables.schedule_of(theirs)
    for name in ("exchange", "routing_key"):
        if theirs.get(name):
            one.notes.append(f"{name}={theirs[name]!r} is left out: there is none here, name a queue.")
    return PeriodicTask(
        name=one.name,
        task=_task(str(theirs["task"])),
        schedule=_schedule(kind, schedule, tables),
        timezone=str(schedule.get("timezone") or "UTC") if kind == "crontab" else "",
        args=encoded_args(_json(theirs["args"], list)),
        kwargs=encoded_kwargs(_json(theirs["kwargs"], dict)),
        queue=theirs.get("queue") or "",
        priority=_priority(one, theirs.get("priority")),
        headers=_headers(one, theirs.get("headers")),
        expires=theirs.get("expire_seconds"),
        starts=tables.moment(theirs.get("start_time")),
        ends=tables.moment(theirs.get("expires")),
        one_off=bool(theirs.get("one_off")),
        enabled=bool(theirs["enabled"]),
        description=theirs.get("description") or "",
    )


def _task(name: str) -> str:
    task = registry.get(name)
    if task is None:
        raise _Unmapped(
            f"No task is called {name!r}.{nearest(name, registry.names())} Give the one that it is now"
            f" @job(aliases=[{name!r}]), and import it again."
        )
    return task.name


def _schedule(kind: str, schedule: Row, tables: _Tables) -> str:
    if kind == "interval":
        return _interval(schedule)
    if kind == "crontab":
        return _crontab(schedule)
    if kind == "solar":
        event = EVENTS.get(schedule["event"])
        if event is None:
            raise _Unmapped(f"There is no {schedule['event']!r} here: {', '.join(EVENTS.values())}.")
        return str(parse(f"{event} {schedule['latitude']} {schedule['longitude']}"))
    moment = tables.moment(schedule["clocked_time"])
    assert moment is not None
    return str(parse(f"at {moment.isoformat(sep=' ')}"))


def _interval(schedule: Row) -> str:
    every, period = schedule["every"], schedule["period"]
    if period not in PERIODS:
        raise _Unmapped(f"{period!r} is none of {', '.join(PERIODS)}.")
    return str(Interval(timedelta(**{period: every})))


def _crontab(schedule: Row) -> str:
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    fields = ["".join(str(schedule[name]).split()) or "*" for name in names]
    days, weekdays = fields[2], fields[4]
    if not days.startswith("*") and not weekdays.startswith("*"):
        raise _Unmapped(
            f"Celery runs it on days that are both {days!r} of the month and {weekdays!r} of the week; a crontab means"
            " days that are one of the two. Say one of them, and check the other one in the task."
        )
    return str(parse(" ".join(fields)))


def _json(text: str | None, kind: type) -> Any:
    value = json.loads(text) if text else kind()
    if not isinstance(value, kind):
        raise _Unmapped(f"Its arguments {text} are no JSON {'list' if kind is list else 'object'}.")
    return value


def _headers(one: Imported, text: str | None) -> str:
    headers = _json(text, dict)
    for name, value in headers.items():
        if not isinstance(value, str):
            one.notes.append(f"The header {name!r} is the text {json.dumps(value)!r} now.")
    return encoded_kwargs({
        name: value if isinstance(value, str) else json.dumps(value) for name, value in headers.items()
    })  # fmt: skip


def _priority(one: Imported, priority: int | None) -> int | None:
    """Higher runs sooner here; with RabbitMQ, too, and on Redis it is the other way round."""
    if priority is None:
        return None
    url = str(getattr(django_settings, "CELERY_BROKER_URL", None) or "redis://")
    if url.startswith(("amqp", "pyamqp")):
        one.notes.append(f"priority={priority} of RabbitMQ is {priority} here.")
        return priority
    one.notes.append(f"priority={priority} of Celery on Redis, where 0 runs first, is {-priority} here.")
    return -priority
