"""Projects on every kind of broker, and a worker in the test's own process that runs one job when it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import override_settings

from django_jobs import clock
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import BaseBroker, Claimed, Consumer
from django_jobs.execution import Delivery, execute
from django_jobs.outcome import Outcome
from django_jobs.results import get_store
from django_jobs.worker.settler import Settler
from django_jobs.worker.slots import Finished, read
from tests.services import named_redis, why_missing

LEASE_MS = 600_000


class TinyWorker:
    """Claims, runs and settles through the same parts as a real worker, in the thread that asks for it."""

    def __init__(self) -> None:
        self.consumer = Consumer(id=uuid4().hex, queues=("default", "mail"))
        self.settler = Settler(get_broker(), get_store(), worker="tiny/1")

    @property
    def broker(self) -> BaseBroker:
        return get_broker()

    def listen(self) -> TinyWorker:
        self.broker.register(self.consumer, lease_ms=LEASE_MS)
        return self

    def claim(self, limit: int = 1, queue: str = "default") -> list[Claimed]:
        return self.broker.claim(self.consumer, queue, limit).jobs

    def record_only(self, claimed: Claimed) -> None:
        """Run a job and record its end, and die before the ack."""
        self.settler.settle(self.executed([claimed]))

    def finish(self, jobs: list[Claimed]) -> list[Outcome]:
        batch = self.executed(jobs)
        acks = self.settler.settle(batch)
        if acks:
            self.broker.ack(acks)
        return [finished.outcome for finished in batch]

    def executed(self, jobs: list[Claimed]) -> list[Finished]:
        batch = []
        for claimed in jobs:
            started_ms = clock.now_ms()
            job = read(claimed)
            assert not isinstance(job, Outcome)
            outcome = execute(job, Delivery(deliveries=claimed.deliveries, worker="tiny/1"))
            batch.append(Finished(claimed, job, outcome, started_ms, clock.now_ms()))
        return batch

    def run_soon(self) -> None:
        """Let whoever waits get to it, then run one job, as soon as there is one."""
        time.sleep(0.2)
        deadline = time.monotonic() + 20
        while not self.run() and time.monotonic() < deadline:
            time.sleep(0.01)

    def run(self, limit: int = 1, queue: str = "default") -> list[Outcome]:
        return self.finish(self.claim(limit, queue))


@pytest.fixture(params=["database", "redis"])
def project(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[dict[str, Any]]:
    """The DJANGO_JOBS of this test, on empty queues."""
    given: dict[str, Any] = {"PREFIX": f"t{uuid4().hex[:12]}"}
    if request.param == "redis":
        url = named_redis().get("redis7") or named_redis().get("redis62")
        if url is None:
            pytest.skip(why_missing("redis7"))
        given["BROKER"] = url
    with override_settings(DJANGO_JOBS=given):
        yield given
        get_broker().close()


@pytest.fixture
def on_database(project: dict[str, Any]) -> dict[str, Any]:
    if "BROKER" in project:
        pytest.skip("about the broker that lives in the database")
    return project


@pytest.fixture
def on_redis(project: dict[str, Any]) -> dict[str, Any]:
    if "BROKER" not in project:
        pytest.skip("about a broker that lives elsewhere")
    return project


@pytest.fixture
def worker(project: dict[str, Any]) -> TinyWorker:
    return TinyWorker().listen()


@pytest.fixture
def aside() -> Iterator[Callable[..., threading.Thread]]:
    """Run something in a thread, which has connections of its own."""
    threads: list[threading.Thread] = []

    def start(action: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                action()
            finally:
                connections.close_all()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
