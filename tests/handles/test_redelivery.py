"""A process that dies between recording the end of a job and acknowledging it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from django_jobs import State
from django_jobs.brokers import get_broker
from tests.app import jobs
from tests.handles.conftest import TinyWorker


@pytest.mark.parametrize("how", ["killed", "handed back"])
def test_a_job_whose_end_was_recorded_is_only_acknowledged(
    on_redis: dict[str, Any], worker: TinyWorker, tmp_path: Path, how: str
) -> None:
    ledger = tmp_path / "ledger"
    sent = jobs.written.delay(str(ledger), "once")
    (claimed,) = worker.claim()
    worker.record_only(claimed)
    if how == "killed":
        get_broker().reap("default", worker.consumer.id, suspect_ms=0, force=True)
    else:
        get_broker().release([claimed], started=True)
    other = TinyWorker().listen()
    (again,) = other.claim()
    assert again.id == sent.id
    other.finish(other.settler.check_redelivered([again]))
    assert len(ledger.read_text().splitlines()) == 1
    assert sent.state == State.SUCCESS
    assert get_broker().find(sent.id) is None
