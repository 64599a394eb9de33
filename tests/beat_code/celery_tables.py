"""The tables of django-celery-beat 2.9, as its migrations make them, and rows in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.utils import timezone


def table(name: str, /, **columns: models.Field[Any, Any]) -> type[models.Model]:
    """Make a model of a table that is theirs, in no app of ours."""
    meta = type("Meta", (), {"app_label": "celery_tables", "db_table": f"django_celery_beat_{name.lower()}"})
    made: type[models.Model] = type(name, (models.Model,), {"Meta": meta, "__module__": __name__, **columns})
    return made


def text(length: int = 200, **given: Any) -> models.CharField[Any, Any]:
    return models.CharField(max_length=length, **given)


Interval = table(
    "IntervalSchedule", id=models.AutoField(primary_key=True), every=models.IntegerField(), period=text(24)
)
Crontab = table(
    "CrontabSchedule",
    id=models.AutoField(primary_key=True),
    minute=text(240, default="*"),
    hour=text(96, default="*"),
    day_of_month=text(124, default="*"),
    month_of_year=text(64, default="*"),
    day_of_week=text(64, default="*"),
    timezone=text(63, default="UTC"),
)
Solar = table(
    "SolarSchedule",
    id=models.AutoField(primary_key=True),
    event=text(24),
    latitude=models.DecimalField(max_digits=9, decimal_places=6),
    longitude=models.DecimalField(max_digits=9, decimal_places=6),
)
Clocked = table("ClockedSchedule", id=models.AutoField(primary_key=True), clocked_time=models.DateTimeField())
PeriodicTask = table(
    "PeriodicTask",
    id=models.AutoField(primary_key=True),
    name=text(unique=True),
    task=text(),
    interval_id=models.IntegerField(null=True),
    crontab_id=models.IntegerField(null=True),
    solar_id=models.IntegerField(null=True),
    clocked_id=models.IntegerField(null=True),
    args=models.TextField(default="[]"),
    kwargs=models.TextField(default="{}"),
    queue=text(null=True),
    exchange=text(null=True),
    routing_key=text(null=True),
    headers=models.TextField(default="{}", null=True),
    priority=models.PositiveIntegerField(null=True),
    expires=models.DateTimeField(null=True),
    expire_seconds=models.PositiveIntegerField(null=True),
    one_off=models.BooleanField(default=False),
    start_time=models.DateTimeField(null=True),
    enabled=models.BooleanField(default=True),
    last_run_at=models.DateTimeField(null=True),
    total_run_count=models.PositiveIntegerField(default=0),
    date_changed=models.DateTimeField(default=timezone.now),
    description=models.TextField(default=""),
)
TABLES = (Interval, Crontab, Solar, Clocked, PeriodicTask)


@contextmanager
def celery_tables(alias: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Have the tables, empty, until the end of the block."""
    with connections[alias].schema_editor() as editor:
        for model in TABLES:
            editor.create_model(model)
    try:
        yield
    finally:
        with connections[alias].schema_editor() as editor:
            for model in TABLES:
                editor.delete_model(model)


def theirs(name: str, schedule: models.Model, task: str = "tests.app.jobs.nothing", **columns: Any) -> None:
    """Make a periodic task of theirs."""
    schedule.save()
    kind = type(schedule).__name__.removesuffix("Schedule").lower()
    PeriodicTask._default_manager.create(**{"name": name, "task": task, f"{kind}_id": schedule.pk, **columns})


LATER = datetime(2035, 1, 2, 3, 4, 5, tzinfo=UTC)
