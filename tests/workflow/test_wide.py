"""Canvases so wide that one transaction with them takes longer than a transaction of ours may be silent."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import connections

from django_jobs import AsyncResult, State, bounds, chain, dispatch, group
from django_jobs.conf import settings
from django_jobs.models.workflow import WorkflowStep
from django_jobs.results.workflows import codec
from django_jobs.workflow import checking
from django_jobs.workflow import jobs as making
from tests.workflow.conftest import Stage, sent
from tests.workflow.tasks import add, fails, replaced

#: What the server allows here. What is slowed down takes longer than that for all members together.
ALLOWED_MS, WIDE, SECONDS_EACH = 1000, 600, 0.0025

pytestmark = pytest.mark.parametrize("stage", ["postgres", "redis-postgres", "redis-mariadb"], indirect=True)


@pytest.fixture(autouse=True)
def _short(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SILENCE_MS", ALLOWED_MS)


def slow(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Let a part of what is done for each member take so long that it cannot be done for all of them in silence."""
    real = getattr(module, name)

    def slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(SECONDS_EACH)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, slowly)


def opened() -> int:
    return WorkflowStep._default_manager.using(settings.database).filter(opened__isnull=False).count()


@pytest.mark.parametrize("part", [(making, "job_of"), (dispatch, "to_message")], ids=lambda part: part[1])
def test_a_wide_group_after_a_task(stage: Stage, monkeypatch: pytest.MonkeyPatch, part: tuple[Any, str]):
    sent(chain(add.s(1, 1), group(add.s(number) for number in range(WIDE))))
    slow(monkeypatch, *part)
    stage.work_once()
    assert opened() == 1 + WIDE


@pytest.mark.parametrize(
    "part", [(checking, "dump_packed"), (codec, "step_row"), (making, "job_of")], ids=lambda part: part[1]
)
def test_a_wide_group_in_the_place_of_a_step(stage: Stage, monkeypatch: pytest.MonkeyPatch, part: tuple[Any, str]):
    sent(chain(replaced.s(group(add.s(number, 1) for number in range(WIDE))), add.s([])))
    slow(monkeypatch, *part)
    stage.work_once()
    assert opened() == 1 + WIDE


@pytest.mark.parametrize("part", [(codec, "step_row"), (making, "job_of")], ids=lambda part: part[1])
def test_a_wide_group_is_sent(stage: Stage, monkeypatch: pytest.MonkeyPatch, part: tuple[Any, str]):
    slow(monkeypatch, *part)
    sent(group(add.s(number, 1) for number in range(WIDE)))
    assert opened() == WIDE
    assert not connections[settings.database].in_atomic_block


def test_a_wide_group_that_can_run_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    after = sent(chain(fails.s(), group(add.s(number) for number in range(WIDE))))
    slow(monkeypatch, making, "record_of_unsent")
    stage.work_once()
    assert AsyncResult[Any](after.results[-1].id).state == State.REVOKED


def test_a_wide_workflow_is_revoked(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    after = sent(chain(add.s(1, 1), group(add.s(number) for number in range(WIDE))))
    slow(monkeypatch, making, "record_of_unsent")
    assert after.workflow.revoke().done == 1 + WIDE
