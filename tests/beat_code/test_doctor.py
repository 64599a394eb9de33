"""doctor says what keeps periodic tasks from running, and makes rows follow the code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_jobs import doctor
from django_jobs.models import PeriodicTask
from tests.beat_code.conftest import NOTHING, declaring, entry, row, synced

Run = Callable[..., Any]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "hazards_of", lambda broker: [])


def found(answer: Any) -> list[tuple[str, str]]:
    return [(finding["code"], finding["level"]) for finding in answer.document]


def test_nobody_fires(jobs_command: Run):
    PeriodicTask.objects.create(
        name="nightly", task=NOTHING, schedule="@daily", created=timezone.now() - timedelta(hours=2)
    )
    answer = jobs_command("doctor", "--json")
    assert (answer.code, found(answer)) == (1, [("overdue", "error")])
    assert "manage.py runbeat" in answer.document[0]["hint"]


def test_a_task_is_gone(jobs_command: Run):
    PeriodicTask.objects.create(name="nightly", task="gone", schedule="@daily")
    answer = jobs_command("doctor")
    assert answer.code == 1
    assert (
        "ERROR    unknown task: One periodic task is enabled, and there is no such task: 'nightly' (gone)" in answer.out
    )


def test_arguments_do_not_fit_and_a_moment_has_passed(jobs_command: Run):
    PeriodicTask.objects.create(name="nightly", task=NOTHING, schedule="@daily", kwargs={"x": 1})
    assert synced(past=entry(schedule="at 2020-01-01 00:00")) == ["past: created"]
    with declaring(past=entry(schedule="at 2020-01-01 00:00")):
        answer = jobs_command("doctor", "--json")
    assert (answer.code, found(answer)) == (1, [("refused", "error"), ("over", "warning")])


def test_rows_are_made_to_follow_the_code(jobs_command: Run):
    with declaring(nightly=entry()):
        answer = jobs_command("doctor", "--json")
        assert (answer.code, found(answer)) == (0, [("unsynced", "warning")])
        assert jobs_command("doctor", "--fix", "--yes").out.endswith("unsynced: 1 made to follow the code.\n")
        assert row().schedule == "30 2 * * *"
        assert jobs_command("doctor", "--json").document == []


def test_a_name_that_the_admin_has(jobs_command: Run):
    PeriodicTask.objects.create(name="nightly", task=NOTHING, schedule="@daily")
    with declaring(nightly=entry()):
        assert found(jobs_command("doctor", "--json")) == [("taken", "warning")]
