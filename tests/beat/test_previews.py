"""What is shown of the times to come is what then fires, over a year of clock changes."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from django_jobs.beat.due import plan, upcoming
from django_jobs.models.periodic import Outcome, PeriodicTask
from django_jobs.schedules import parse
from django_jobs.schedules.preview import coming
from tests.beat.test_due import keep

BEGIN, END = datetime(2026, 1, 1, 7, 23, tzinfo=UTC), datetime(2027, 1, 1, 7, 23, tzinfo=UTC)
LATE, SHOWN = timedelta(seconds=60), 5
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata")
SCHEDULES = (
    "30 2 * * *",
    "0,15,45 1-3 * * sun",
    "*/40 1-3 * * sat,sun",
    "0 */5 * * *",
    "5 * 1,29 * *",
    "@weekly",
    "0 9 * * mon-fri",
    "every 7 hours",
    "sunset 52.52 13.4",
)


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("text", SCHEDULES)
def test_a_year_of_previews(text: str, name: str) -> None:
    zone, schedule = ZoneInfo(name), parse(text)
    row = PeriodicTask(name="row", task="t", schedule=text, timezone=name, created=BEGIN)
    promised: deque[datetime] = deque()
    now, fired = BEGIN, 0
    while now < END:
        made = plan(row, schedule, zone, now, unfinished=False, late=LATE)
        for run in made.runs:
            assert run.outcome is Outcome.SENT
            assert run.due == promised.popleft()
            fired += 1
        keep(row, made)
        shown = [moment for moment, _remark in coming(schedule, zone, now, BEGIN, SHOWN)]
        assert shown[: len(promised)] == list(promised)
        promised = deque(shown)
        assert row.next_run == shown[0] == next(upcoming(row, schedule, zone, now))
        now = row.next_run + timedelta(seconds=0.3)  # as late as beat may be
    assert fired >= 50
