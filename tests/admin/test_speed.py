"""A list of a million rows: what its pages read, in the databases that are there."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client, override_settings

from django_jobs.admin import bulk
from django_jobs.models import JobResult
from tests.admin import tasks
from tests.admin.million import WORKFLOW, insert_results
from tests.effort import effort
from tests.services import database_aliases

TABLE = JobResult._meta.db_table
ROWS = 1_000_000
#: How much of what it takes to read all rows once a page may take.
SHARE = {"postgresql": 0.6, "sqlite": 0.1}
#: SQLite knows no better way than to walk through everything of these days.
EXEMPT = {("sqlite", "a rare queue, 7 days")}
PAGES = {
    "jobs": "jobresult/",
    "failed": "failedjob/",
    "failed, by state": "jobresult/?state=FAILURE",
    "one task": "jobresult/?task=shop.jobs.task_3",
    "a failed task": "failedjob/?task=shop.jobs.task_3",
    "nothing": f"failedjob/?task={tasks.export_csv.name}",
    "last 15 minutes": "jobresult/?within=15m",
    "last 7 days, failed": "jobresult/?within=7d&state=FAILURE",
    "a busy queue": "jobresult/?queue=mail",
    "a rare queue": "jobresult/?queue=rare",
    "a rare queue, failed": "failedjob/?queue=rare",
    "a rare queue, 7 days": "jobresult/?within=7d&queue=rare",
    "steps of a workflow": f"jobresult/?workflow_id={WORKFLOW}",
    "failed steps of a workflow": f"jobresult/?workflow_id={WORKFLOW}&state=FAILURE&task=shop.jobs.task_3",
    "search an id": "jobresult/?q={middle}",
    "search a task": "jobresult/?q=shop.jobs.task_3",
    "page in the middle": "jobresult/?before={middle}",
    "page at the end": "jobresult/?before={oldest}",
    "newer than the middle": "jobresult/?after={middle}",
}


def vendors() -> list[Any]:
    wanted = [alias for alias in database_aliases() if connections[alias].vendor in SHARE]
    return [pytest.param(alias, id=connections[alias].vendor) for alias in wanted]


@pytest.mark.slow
@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", vendors())
def test_no_page_and_no_operation_reads_them_all(alias):
    insert_results(alias, ROWS)
    rows = JobResult.objects.using(alias)
    middle, oldest = rows.order_by("pk").values_list("pk", flat=True)[ROWS // 2], rows.order_by("pk")[40].pk
    vendor = connections[alias].vendor
    limit = SHARE[vendor] * effort(alias, TABLE, rows.filter(worker="nobody").count)
    assert limit > SHARE[vendor] * ROWS * 0.9
    client = Client()
    client.force_login(User.objects.create_superuser("ana"))

    def get(page: str) -> None:
        url = "/admin/django_jobs/" + page.format(middle=middle, oldest=oldest)
        assert client.get(url).status_code == 200

    with override_settings(DJANGO_JOBS={"DATABASE": alias}):
        efforts = {name: effort(alias, TABLE, partial(get, page)) for name, page in PAGES.items()}
        assert {name: read for name, read in efforts.items() if read > limit and (vendor, name) not in EXEMPT} == {}
        tally = bulk.run(bulk.DELETE, rows.filter(state="FAILURE"), by="ana", seconds=1)
    assert tally.done > 0
    assert tally.done % bulk.CHUNK == 0
    assert tally.left.number > 0
