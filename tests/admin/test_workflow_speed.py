"""Many workflows, and large ones: what their pages read, and how long they take."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from django_jobs.models import JobResult, Workflow, WorkflowStep
from tests.admin import workflows as w
from tests.admin.workflows import WORKFLOWS
from tests.effort import effort
from tests.services import database_aliases

TABLE = Workflow._meta.db_table
ROWS = 100_000
MEMBERS = 10_000
#: How much of what it takes to read all rows once a page may take.
SHARE = {"postgresql": 0.5, "sqlite": 0.5, "mysql": 0.5}
PAGES = {
    "all": "",
    "running": "?state=running",
    "failed": "?state=failed",
    "nothing": "?state=revoked",
    "search": "?q=nothing+is+called+so",
    "search an id": "?q={middle}",
    "last hour": "?within=1h",
    "page in the middle": "?before={middle}",
    "failed, from the middle": "?state=failed&before={middle}",
}


def vendors() -> list[Any]:
    return [pytest.param(alias, id=connections[alias].vendor) for alias in database_aliases()]


def log_in() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ana"))
    return client


@pytest.mark.slow
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", vendors())
def test_no_list_reads_them_all(alias):
    w.make_many(ROWS, using=alias)
    rows = Workflow.objects.using(alias)
    middle = rows.order_by("pk").values_list("pk", flat=True)[ROWS // 2]
    limit = SHARE[connections[alias].vendor] * effort(alias, TABLE, rows.filter(size=-1).count)
    client = log_in()

    def get(page: str) -> None:
        assert client.get(WORKFLOWS + page.format(middle=middle)).status_code == 200

    with override_settings(DJANGO_JOBS={"DATABASE": alias}):
        efforts = {name: effort(alias, TABLE, partial(get, page)) for name, page in PAGES.items()}
    assert {name: read for name, read in efforts.items() if read > limit} == {}


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", vendors())
def test_the_page_of_a_large_group_is_there_in_a_second(alias):
    workflow = w.make_large_chord(MEMBERS, using=alias, failed=20, succeeded=4000)
    w.analyze(alias, WorkflowStep._meta.db_table, JobResult._meta.db_table)
    client = log_in()
    url = f"{WORKFLOWS}{workflow.pk}/change/"
    with override_settings(DJANGO_JOBS={"DATABASE": alias}):
        client.get(url)
        times = []
        for _ in range(3):  # the machine may be busy with something else
            started = time.monotonic()
            with CaptureQueriesContext(connections[alias]) as queries:
                response = client.get(url)
            times.append(time.monotonic() - started)
    assert response.status_code == 200
    assert len(response.content) < 150_000
    assert len(queries) < 15
    assert min(times) < 1, times
