"""
What beat asks of the tables of periodic tasks, and writes there.

It has moments aware and in UTC; rows have what ``USE_TZ`` says, and are translated here, both ways.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings as django_settings
from django.db import connections
from django.db.models import F, Field, FloatField, Func, QuerySet
from django.utils import timezone

from django_jobs import transactions
from django_jobs.beat import damage
from django_jobs.models.periodic import PeriodicRun, PeriodicTask

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: Rows of one transaction.
BATCH = 100
#: How long a transaction may be kept waiting by others.
PATIENCE_MS = 5000
#: When the next row has to be looked at that cannot be read, and is not due: until then something may change.
UNKNOWN = timedelta(seconds=1)
#: Old runs are deleted so many at a time.
PRUNE_BATCH = 500

_WRITTEN: Sequence[Field[Any, Any]] = [
    field
    for field in PeriodicTask._meta.concrete_fields
    if field.name
    in (
        "next_run", "last_run", "last_job", "total_runs", "enabled", "planned_enabled",
    )
]  # fmt: skip
#: What the plan was made from, beside ``planned_enabled``. Copied by the database, where the row is locked: of what
#: Python reads otherwise than it stands there (a date that does not exist, say) it would write back something else.
_COPIED = ("schedule", "timezone", "starts", "ends")
#: All that the plan was made from.
PLANNED = frozenset(f"planned_{name}" for name in ("enabled", *_COPIED))
#: What is noted of the last run.
_LAST = frozenset(("last_run", "last_job"))
#: By hand: what the ORM would need to put this together a hundred times a second would cost more than all the rest.
_UPDATE = (
    f"UPDATE {PeriodicTask._meta.db_table} SET "  # noqa: S608
    + ", ".join([*(f"{field.column} = %s" for field in _WRITTEN), *(f"planned_{name} = {name}" for name in _COPIED)])
    + " WHERE id = %s"
)
_MOMENTS = ("created", "starts", "ends", "next_run", "last_run", "planned_starts", "planned_ends")


class DatabaseClock(Func):
    """What time it is, by the only clock that all beats share: seconds since the epoch."""

    output_field = FloatField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return the moment of the statement, not that of the transaction."""
        return self.as_sql(compiler, connection, template="EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())::float8")

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return it whatever the time zone of the session is, and when its clock is set back."""
        since = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"
        return self.as_sql(compiler, connection, template=f"{since} / 1e6")

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return it in milliseconds, which is as fine as SQLite's clock is."""
        return self.as_sql(compiler, connection, template="(julianday('now') - 2440587.5) * 86400.0")


class Outlook(NamedTuple):
    """What there is to do."""

    now: datetime
    #: When the next row has to be looked at; may be long ago.
    wake: datetime

    @property
    def seconds(self) -> float:
        """How long there is nothing to do."""
        return (self.wake - self.now).total_seconds()


def look(alias: str) -> Outlook | None:
    """Return when there is something to do; None: never. One query, answered by the head of an index."""
    rows = PeriodicTask.objects.using(alias).filter(wake__isnull=False).order_by("wake")
    first = rows.values_list("wake", DatabaseClock())[:1]
    try:
        found = transactions.ask(alias, lambda: list(first.all()))
        return Outlook(from_seconds(found[0][1]), aware(found[0][0])) if found else None
    except Exception as error:
        if not damage.is_unreadable(error):
            raise
        return _look_blindly(alias, rows)


def _look_blindly(alias: str, rows: QuerySet[PeriodicTask]) -> Outlook | None:
    """Return when there is something to do where the first moment cannot be read."""
    clock = transactions.ask(alias, lambda: list(rows.values_list(DatabaseClock(), flat=True)[:1]))
    if not clock:
        return None
    now = from_seconds(clock[0])
    return Outlook(now, now if due_keys(alias, now) else now + UNKNOWN)


def due_keys(alias: str, until: datetime) -> list[int]:
    """Return the keys of the rows that have to be looked at, whatever else is in them."""
    due = _due(alias, until).values_list("pk", flat=True)[:BATCH]
    return transactions.ask(alias, lambda: list(due.all()))


def forget_plan(alias: str, pk: int, now: datetime, broken: Collection[str]) -> bool:
    """
    Have a row that is due planned anew, from now on, without what is broken of the last run.

    The database does it: the row may not be readable. False: it is not due any more, for somebody else came first.
    """
    nothing: dict[str, Any] = dict.fromkeys(_LAST & set(broken))
    nothing |= {"planned_schedule": "", "planned_enabled": False, "planned_starts": None, "planned_ends": None}
    return _due(alias, now).filter(pk=pk).order_by().update(next_run=None, **nothing) > 0


def set_aside(alias: str, pk: int, now: datetime, until: datetime) -> bool:
    """
    Look at a row that is due no more before ``until``, unless it is changed; at one that is disabled no more at all.

    The database does it: the row may not be readable. Return whether it is one that is to run.
    """
    planned = {f"planned_{name}": F(name) for name in ("enabled", *_COPIED)}
    row = _due(alias, now).filter(pk=pk).order_by()
    if row.filter(enabled=False).update(next_run=None, **planned):
        return False
    return row.update(next_run=to_column(until), **planned) > 0


def _due(alias: str, until: datetime) -> QuerySet[PeriodicTask]:
    return PeriodicTask.objects.using(alias).filter(wake__lte=to_column(until)).order_by("wake")


def lock_due(alias: str, until: datetime, *, only: int | None = None) -> tuple[datetime, list[PeriodicTask]]:
    """
    Lock rows that have to be looked at, those first that are due the longest; what others have locked is theirs.

    ``only``: the key of the one that is asked about. Return them and what time it is now. Raises whatever reading a
    damaged row raises.
    """
    can_skip = connections[alias].features.has_select_for_update_skip_locked
    due = _due(alias, until) if only is None else _due(alias, until).filter(pk=only)
    rows: list[Any] = list(due.select_for_update(skip_locked=can_skip).annotate(clock=DatabaseClock())[:BATCH])
    for row in rows:
        damage.refuse(row)
        translate(row)
    return from_seconds(rows[0].clock) if rows else until, rows


def lock(alias: str, pk: int) -> tuple[datetime, PeriodicTask]:
    """Lock one row. Return it and what time it is now. Raises PeriodicTask.DoesNotExist."""
    row = PeriodicTask.objects.using(alias).select_for_update().annotate(clock=DatabaseClock()).get(pk=pk)
    translate(row)
    return from_seconds(row.clock), row


def insert_runs(alias: str, runs: Sequence[PeriodicRun]) -> None:
    """Write what became of moments. Raises IntegrityError for one that has been dealt with before."""
    if not django_settings.USE_TZ:
        for run in runs:
            run.due, run.fired = to_column(run.due), to_column(run.fired)
    PeriodicRun.objects.using(alias).bulk_create(runs)


def update(alias: str, rows: Iterable[PeriodicTask]) -> None:
    """Write the plans of rows that are locked, and what became of them last; nothing of it says what is planned."""
    connection = connections[alias]
    values = []
    for row in rows:
        row.planned_schedule, row.planned_timezone, row.planned_enabled = row.schedule, row.timezone, row.enabled
        row.planned_starts, row.planned_ends = row.starts, row.ends
        changed = [_prepared(connection, field, getattr(row, field.attname)) for field in _WRITTEN]
        values.append([*changed, row.pk])
    with connection.cursor() as cursor:
        cursor.executemany(_UPDATE, values)


def update_last(alias: str, row: PeriodicTask) -> None:
    """Write what became last of a row that is locked, and nothing about its plan."""
    PeriodicTask.objects.using(alias).filter(pk=row.pk).update(
        last_run=None if row.last_run is None else to_column(row.last_run),
        last_job=row.last_job,
        total_runs=row.total_runs,
    )


def is_known(alias: str, run: PeriodicRun) -> bool:
    """Say whether something became of this moment before."""
    return PeriodicRun.objects.using(alias).filter(periodic_task=run.periodic_task_id, due=run.due).exists()


def _prepared(connection: BaseDatabaseWrapper, field: Field[Any, Any], value: Any) -> Any:
    if isinstance(value, datetime):
        value = to_column(value)
    return field.get_db_prep_save(value, connection)


def prune(alias: str, older_than: timedelta) -> int:
    """Delete some of the runs that were fired so long ago. Return how many; under PRUNE_BATCH: all."""
    runs = PeriodicRun.objects.using(alias).order_by("fired")
    oldest = transactions.ask(alias, lambda: list(runs.values_list("fired", DatabaseClock())[:1]))
    if not oldest or aware(oldest[0][0]) >= (before := from_seconds(oldest[0][1]) - older_than):
        return 0

    def within() -> int:
        ids = list(runs.filter(fired__lt=to_column(before)).values_list("pk", flat=True)[:PRUNE_BATCH])
        return PeriodicRun.objects.using(alias).filter(pk__in=ids).delete()[0]

    return transactions.run(alias, within, wait_ms=PATIENCE_MS)


def translate(row: PeriodicTask) -> None:
    """Make every moment of a row aware."""
    if not django_settings.USE_TZ:
        for name in _MOMENTS:
            value = getattr(row, name)
            setattr(row, name, None if value is None else aware(value))


def aware(moment: datetime) -> datetime:
    """Return a moment of a row; without USE_TZ it is in the project's time zone."""
    if timezone.is_naive(moment):
        return timezone.make_aware(moment, timezone.get_default_timezone()).astimezone(UTC)
    return moment


def to_column(moment: datetime) -> datetime:
    """Return a moment as rows have it."""
    return (
        moment
        if django_settings.USE_TZ or timezone.is_naive(moment)
        else timezone.make_naive(moment, timezone.get_default_timezone())
    )


def from_seconds(seconds: float) -> datetime:
    """Turn what the database's clock shows into a moment."""
    return datetime.fromtimestamp(seconds, UTC)
