"""What a worker says of itself, and what it can be told."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_jobs.brokers import get_broker
from tests.app import jobs
from tests.worker.conftest import Worker, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Worker]
POOLS = [("-c", "2"), ("--pool", "threads")]


def report_of(name: str) -> Any:
    said = get_broker().workers().get(name)
    return None if said is None else json.loads(said)


@pytest.mark.parametrize("flags", POOLS, ids=" ".join)
def test_a_worker_says_how_it_stands_and_what_runs(
    start_worker: Start, ledger: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("--name", "w1", *flags)

    def ids() -> list[str]:
        report = report_of("w1")
        return [job["id"] for child in report["children"] for job in child["running"]] if report else []

    wait_for(lambda: ids() == [running.id], what="the report with the job")
    report = report_of("w1")
    assert report["pid"] == worker.pid
    assert report["queues"] == ["default"]
    assert len(report["children"]) == (2 if "-c" in flags else 1)
    gate.touch()
    wait_for(lambda: ids() == [], what="the report without it")
    assert worker.stop() == 0
    assert report_of("w1") is None  # who leaves in order is not listed until its time is over


@pytest.mark.parametrize("flags", POOLS, ids=" ".join)
def test_it_does_what_it_is_told(start_worker: Start, ledger: Path, flags: tuple[str, ...]) -> None:
    worker = start_worker("--name", "w1", *flags)
    wait_for(lambda: report_of("w1"), what="the first report")
    assert get_broker().command("w1", b'{"do": "nonsense"}')
    assert get_broker().command("w1", b'{"do": "quiet"}')
    wait_for(lambda: report_of("w1")["quiet"], what="the report that it is quiet")
    waits = jobs.written.delay(str(ledger), "word")
    assert get_broker().command("w1", b'{"do": "dump"}')
    wait_for(lambda: "most recent call first" in worker.output(), what="the stacks of its threads")
    assert "does not know" in worker.output()
    assert get_broker().command("w1", b'{"do": "stop"}')
    assert worker.process.wait(20) == 0
    assert not waits.ready()


def test_ttin_shows_what_every_process_does(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("-c", "1")
    wait_for(ledger.read_text)
    worker.process.send_signal(signal.SIGTTIN)
    wait_for(lambda: "in held" in worker.output(), what="the line of the task that runs")
    wait_for(lambda: "keeper.py" in worker.output(), what="the keeper's stack")
    assert "supervisor.py" in worker.output()
    gate.touch()
