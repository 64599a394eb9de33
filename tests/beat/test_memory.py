"""Periodic tasks in the tests of a project: the broker of the testing kit, and real rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings

from django_jobs.beat import firing
from django_jobs.models import PeriodicTask
from django_jobs.testing import capture_jobs
from tests.beat.conftest import MakeRow, fire


@pytest.mark.parametrize("alias", ["sqlite"], indirect=True)
def test_jobs_go_to_the_broker_of_the_kit(alias: str, make_row: MakeRow) -> None:
    with override_settings(DJANGO_JOBS={"DATABASE": alias}), capture_jobs() as jobs:
        row = make_row(due=20, overlap="skip")
        (run,) = fire(alias).runs
        assert [job.id for job in jobs] == [str(run.job_id)]
        again = datetime.now(UTC) - timedelta(seconds=5)
        PeriodicTask.objects.using(alias).filter(pk=row.pk).update(next_run=again)
        assert [run.outcome for run in fire(alias).runs] == ["skipped"]
        jobs.drain()
        PeriodicTask.objects.using(alias).filter(pk=row.pk).update(next_run=again + timedelta(seconds=1))
        assert [run.outcome for run in fire(alias).runs] == ["sent"]
        assert firing.fire_now(row).outcome == "sent"
        assert len(jobs) == 3
