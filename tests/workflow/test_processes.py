"""Random canvases in workers of several processes and threads, hundreds of them under way at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import override_settings

from django_jobs import relay
from django_jobs.brokers import get_broker
from django_jobs.models import JobResult, Workflow, WorkflowBarrier, WorkflowStep
from django_jobs.models.outbox import OutboxJob
from django_jobs.models.queue import QueuedJob
from tests.services import alias_of, named_redis, why_missing
from tests.worker.conftest import TIMES, Worker, launch, wait_for
from tests.workflow.actors import WAYS
from tests.workflow.cases import Case
from tests.workflow.conftest import empty

#: Of each setting. DJANGO_JOBS_TEST_FLYING_CANVASES=5000 script/test tests/workflow/test_processes.py
CASES = int(os.environ.get("DJANGO_JOBS_TEST_FLYING_CANVASES", "50"))
SEED = int(os.environ.get("DJANGO_JOBS_TEST_SEED", "0"))
#: A busy machine is waited for.
PATIENCE = 60 + CASES


@pytest.fixture(params=["redis-postgres", "postgres", "sqlite"])
def jobs_settings(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[dict[str, Any]]:
    """The DJANGO_JOBS of this test and of its worker."""
    where, _, database = request.param.rpartition("-")
    alias = alias_of(database)
    if alias is None:
        pytest.skip(why_missing(database))
    given: dict[str, Any] = {
        "PREFIX": f"t{uuid4().hex[:12]}", "DATABASE": alias, "BROKER": f"database://{alias}", "WORKER": TIMES
    }  # fmt: skip
    if where == "redis":
        url = named_redis().get("redis7") or named_redis().get("redis62")
        if url is None:
            pytest.skip(why_missing("redis7"))
        given["BROKER"] = url
    with override_settings(DJANGO_JOBS=given):
        empty(alias)
        yield given
        relay.finish(5.0)
        get_broker().close()
        empty(alias)
        connections[alias].close()


@pytest.fixture
def worker(
    jobs_settings: dict[str, Any], child_environment: Callable[..., dict[str, str]], tmp_path: Path
) -> Iterator[Worker]:
    """A worker of two processes with three threads each."""
    environment = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps(jobs_settings))
    started = launch(("-c", "2", "--threads", "3", "--loglevel", "ERROR"), environment, tmp_path / "worker.log")
    yield started
    started.kill_all()
    print(started.output())


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_canvases_that_are_under_way_together_do_what_they_mean(
    jobs_settings: dict[str, Any], worker: Worker, tmp_path: Path
):
    cases = [Case(SEED * 1_000_000 + number, tmp_path / str(number), ways=WAYS) for number in range(CASES)]
    handles = [case.canvas.delay() for case in cases]
    wait_for(lambda: all(handle is None or handle.ready() for handle in handles), seconds=PATIENCE, what="the handles")
    alias = jobs_settings["DATABASE"]
    under_way = Workflow.objects.using(alias).filter(finished_at=None)
    wait_for(lambda: not under_way.exists(), seconds=PATIENCE, what="the workflows")
    assert [one for case, handle in zip(cases, handles, strict=True) for one in case.problems(handle)] == []
    assert_is_over(alias)
    assert worker.stop() == 0
    assert "Traceback" not in worker.output()


def assert_is_over(alias: str) -> None:
    """Nothing waits, and what every row says has ended."""
    assert not Workflow.objects.using(alias).exclude(remaining=0).exists()
    assert not WorkflowBarrier.objects.using(alias).filter(resolved=None).exists()
    assert not WorkflowStep.objects.using(alias).filter(opened=None, cause=None).exists()
    ended = JobResult.objects.using(alias).filter(state__in=("SUCCESS", "FAILURE", "REVOKED"))
    steps = WorkflowStep.objects.using(alias)
    assert set(steps.values_list("pk", flat=True)) <= set(ended.values_list("pk", flat=True))
    wait_for(lambda: not OutboxJob.objects.using(alias).exists(), what="an empty outbox")
    wait_for(lambda: not QueuedJob.objects.using(alias).exists(), what="an empty queue")
    (counts,) = get_broker().counts(["default"])
    assert (counts.ready, counts.scheduled, counts.in_flight, counts.dead) == (0, 0, 0, 0)
