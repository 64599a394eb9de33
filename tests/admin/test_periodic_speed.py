"""What the pages read of a long history: what they show, and not what they leave out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client, override_settings

from django_jobs import clock
from django_jobs.admin import counting
from django_jobs.admin.periodic_history import SHOWN, recent
from django_jobs.identifiers import new_ids
from django_jobs.models import PeriodicRun, PeriodicTask
from tests.admin import tasks
from tests.effort import effort
from tests.services import database_aliases

TABLE = PeriodicRun._meta.db_table
TASKS, RUNS = 5, 5000
ANALYZE = {"postgresql": f"ANALYZE {TABLE}", "mysql": f"ANALYZE TABLE {TABLE}", "sqlite": f"ANALYZE {TABLE}"}
#: How much of what it takes to read all runs once a page may take.
SHARE = 0.2


def insert_runs(alias: str) -> list[int]:
    """Write tasks with a long history, and return their ids."""
    rows = [PeriodicTask(name=f"row {n}", task=tasks.keep_on.name, schedule="* * * * *") for n in range(TASKS)]
    PeriodicTask.objects.using(alias).bulk_create(rows)
    names = list(PeriodicTask.objects.using(alias).order_by("name"))
    now = clock.now()
    runs = (
        PeriodicRun(periodic_task=row, due=due, fired=due, lateness=timedelta(0), outcome="sent", job_id=job_id)
        for n, job_id in enumerate(new_ids(RUNS))
        for row in names
        for due in [now - timedelta(minutes=n)]
    )
    PeriodicRun.objects.using(alias).bulk_create(runs, batch_size=5000)
    with connections[alias].cursor() as cursor:
        cursor.execute(ANALYZE[connections[alias].vendor])
        cursor.fetchall() if cursor.description else None
    return [row.pk for row in names]


def vendors() -> list[Any]:
    return [pytest.param(alias, id=connections[alias].vendor) for alias in database_aliases()]


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", vendors())
def test_no_page_reads_a_history_that_it_does_not_show(alias, monkeypatch):
    monkeypatch.setattr(counting.capped, "__defaults__", (100,))  # of 10,000 there are not enough
    ids = insert_runs(alias)
    rows = PeriodicRun.objects.using(alias)
    limit = SHARE * effort(alias, TABLE, rows.filter(detail="nothing").count)
    assert limit > SHARE * TASKS * RUNS * 0.9
    assert {len(runs) for runs in recent(ids, alias).values()} == {SHOWN}
    client = Client()
    client.force_login(User.objects.create_superuser("ana"))
    pages = ["periodictask/", f"periodictask/{ids[0]}/change/", f"periodicrun/?periodic_task={ids[0]}", "periodicrun/"]

    def get(page: str) -> None:
        assert client.get(f"/admin/django_jobs/{page}").status_code == 200

    efforts = {"recent": effort(alias, TABLE, lambda: recent(ids, alias))}
    with override_settings(DJANGO_JOBS={"DATABASE": alias}):
        for page in pages:
            efforts[page] = effort(alias, TABLE, lambda page=page: get(page))  # type: ignore[misc]
    assert {name: read for name, read in efforts.items() if read > limit} == {}
