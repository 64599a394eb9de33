"""A periodic task whose task is gone is shown, skipped and counted; nothing stops over it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_jobs.beat.firing import fire_due
from django_jobs.conf import settings
from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.registry import registry
from tests.beat_code.conftest import ADD, NOTHING, declaring, edit, entry, row, synced

Run = Callable[..., Any]
pytestmark = pytest.mark.django_db


def fire() -> dict[str, str]:
    """Be a beat that comes a second after everything was due; return what became of each."""
    PeriodicTask.objects.update(created=timezone.now() - timedelta(seconds=11))
    fire_due(settings.database, timezone.now(), late=timedelta(minutes=1))
    return {run.periodic_task.name: run.outcome for run in PeriodicRun.objects.select_related("periodic_task")}


def test_the_others_go_on(jobs_command: Run):
    synced(good=entry(schedule="every 10 seconds"), gone=entry(schedule="every 10 seconds"))
    edit("gone", task="shop.jobs.gone")
    PeriodicTask.objects.create(name="unfit", task=ADD, args="[1]", schedule="every 10 seconds")
    assert fire() == {"good": "sent", "gone": "refused", "unfit": "refused"}
    assert "No task is called 'shop.jobs.gone'" in PeriodicRun.objects.get(periodic_task__name="gone").detail
    listed = {line.split()[0]: line for line in jobs_command("schedule", "list").out.splitlines()}
    assert "No task is called 'shop.jobs.gone'." in listed["gone"]
    assert "These arguments do not fit" in listed["unfit"]
    assert jobs_command("schedule", "next", "gone").code == 0
    assert jobs_command("schedule", "run", "gone").code == 1
    assert "unknown task" in [found["code"] for found in jobs_command("doctor", "--json").document]


def test_a_task_that_comes_back_under_an_alias_runs_again(monkeypatch: pytest.MonkeyPatch):
    PeriodicTask.objects.create(name="nightly", task="shop.jobs.old", schedule="every 10 seconds")
    monkeypatch.setitem(registry._tasks, "shop.jobs.old", registry[NOTHING])
    assert fire() == {"nightly": "sent"}


def test_code_whose_task_is_gone_is_an_error_of_the_code(jobs_command: Run):
    synced(nightly=entry())
    with declaring(nightly=entry(task="shop.jobs.gone")):
        answer = jobs_command("schedule", "sync")
    assert (answer.code, "No task is called 'shop.jobs.gone'." in answer.err) == (2, True)
    assert row().enabled, "and changes nothing"
