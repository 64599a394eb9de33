"""Jobs in the outbox and real workers: senders that die, and a Redis that loses everything."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from django_jobs.brokers import get_broker
from django_jobs.models import JobResult
from django_jobs.models.outbox import OutboxJob
from tests.app import jobs
from tests.worker.conftest import Worker, wait_for

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("jobs_settings", ["redis"], indirect=True),
]
Start = Callable[..., Worker]

SEND_AND_DIE = """
import os, sys, django; django.setup()
from django.db import transaction
from django_jobs import relay
from tests.app import jobs
relay.soon = lambda ids: os._exit(9)
with transaction.atomic():
    print(jobs.written.apply_async((sys.argv[1], "sent"), outbox=True).id, flush=True)
"""


def lose_everything(settings: dict[str, Any]) -> None:
    """Do what FLUSHALL does, to the keys of this test alone."""
    with contextlib.closing(redis.Redis.from_url(settings["BROKER"])) as client:
        for key in client.scan_iter(f"*{settings['PREFIX']}*", count=10_000):
            client.unlink(key)


def words(ledger: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in ledger.read_text().splitlines())


def test_a_sender_that_dies_after_its_commit_loses_nothing(
    start_worker: Start,
    jobs_settings: dict[str, Any],
    ledger: Path,
    child_environment: Callable[..., dict[str, str]],
) -> None:
    environment = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps(jobs_settings))
    command = [sys.executable, "-c", SEND_AND_DIE, str(ledger)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 9, done.stderr
    assert OutboxJob.objects.count() == 1
    start_worker("-c", "1")
    wait_for(lambda: words(ledger) == {"sent": 1}, what="the job of a sender that died")
    wait_for(lambda: not OutboxJob.objects.exists(), what="the end of its row")


def test_nothing_is_lost_with_all_that_redis_has(
    start_worker: Start, jobs_settings: dict[str, Any], ledger: Path
) -> None:
    changed = {"OUTBOX_RESEND": 2}
    start_worker("-c", "2", **changed)
    count, sent = 400, []
    for number in range(count):
        sent.append(jobs.slow.apply_async((str(ledger), f"job{number}", 0.01), outbox=True))
        if number in (100, 250):
            wait_for(lambda: words(ledger)["end"] > 20, what="some jobs to end")
            lose_everything(jobs_settings)
    wait_for(lambda: not OutboxJob.objects.exists(), seconds=90, what="an empty outbox")
    assert JobResult.objects.filter(id__in=[handle.id for handle in sent], state="SUCCESS").count() == count
    starts = Counter(line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("start"))
    assert len(starts) == count
    # Those that ran at that moment, in each of two processes, and twice.
    assert sum(times - 1 for times in starts.values()) <= 2 * 2
    wait_for(lambda: sum(getattr(get_broker().counts(["default"])[0], place) for place in PLACES) == 0)


PLACES = ("ready", "scheduled", "in_flight", "dead")
