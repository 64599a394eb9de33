"""Jobs with atomic=True in real workers that die, or fall silent, at the worst moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from django_jobs import State
from django_jobs.brokers import get_broker
from tests.app import jobs
from tests.worker.conftest import Worker, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Worker]


def starts(ledger: Path) -> list[int]:
    return [int(line.split()[1]) for line in ledger.read_text().splitlines()]


@pytest.mark.parametrize("outbox", [False, True])
def test_a_process_that_dies_before_the_commit_leaves_nothing(
    start_worker: Start, ledger: Path, tmp_path: Path, outbox: bool
) -> None:
    gate = tmp_path / "gate"
    sent = jobs.adds_a_user.apply_async((str(ledger), str(gate), "one"), outbox=outbox)
    start_worker("-c", "1")
    wait_for(lambda: len(starts(ledger)) == 1, what="the first run")
    os.kill(starts(ledger)[-1], signal.SIGKILL)
    wait_for(lambda: len(starts(ledger)) == 2, what="the second run")
    gate.touch()
    assert sent.get(timeout=30) == "one"
    assert User.objects.count() == 1


def test_a_worker_that_is_silent_for_too_long_and_goes_on_changes_nothing_twice(
    start_worker: Start, jobs_settings: dict[str, Any], ledger: Path, tmp_path: Path
) -> None:
    if connection.vendor == "sqlite" and "BROKER" not in jobs_settings:
        pytest.skip("the job holds the one lock that taking it away would need")
    gate = tmp_path / "gate"
    sent = jobs.adds_a_user.delay(str(ledger), str(gate), "one")
    stopped = start_worker("-c", "1", "--name", "stopped")
    wait_for(lambda: starts(ledger), what="the first run")
    holder = holder_of(sent.id)
    family = [stopped.pid, *stopped.children()]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        start_worker("-c", "1", "--name", "other")
        wait_for(lambda: holder_of(sent.id) not in (None, holder), seconds=40, what="the job to be given away")
    finally:
        gate.touch()
        for pid in family:
            os.kill(pid, signal.SIGCONT)
    assert sent.get(timeout=60) == "one"
    wait_for(lambda: get_broker().find(sent.id, "default") is None, what="the end of the second run")
    assert (User.objects.count(), sent.state) == (1, State.SUCCESS)


def holder_of(job_id: str) -> str | None:
    found = get_broker().find(job_id, "default")
    return None if found is None else found.consumer
