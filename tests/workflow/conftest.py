"""Canvases on every database, with the broker in it and with Redis, and in the testing kit's eager mode."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connections
from django.test import override_settings

from django_jobs import clock, relay
from django_jobs.async_result import AsyncResult, GroupResult
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Claimed, Consumer
from django_jobs.canvas import Expression
from django_jobs.envelope import Job
from django_jobs.execution import Delivery, execute
from django_jobs.results import get_store
from django_jobs.states import Place
from django_jobs.testing import eager
from django_jobs.worker.atomic import Atomic
from django_jobs.worker.settler import Settler
from django_jobs.worker.slots import Finished, read
from django_jobs.workflow.growing import grow
from django_jobs.workflow.inputs import inputs_of
from tests.services import alias_of, named_redis, why_missing
from tests.workflow.actors import Ledger

QUEUES = ("default", "mail")
DATABASES = ("sqlite", "postgres", "mariadb")
WORLDS = [
    "memory", "eager", "sqlite", "postgres", "mariadb", "redis-sqlite", "redis-postgres", "redis-mariadb",
]  # fmt: skip


class Stage:
    """Where canvases run in a test."""

    #: Does sending wait for a worker?
    is_eager = False

    def work(self, rng: random.Random | None = None) -> None:
        """Run all there is to run."""

    def work_once(self) -> None:
        """Run what is ready now, and nothing that follows."""

    def take(self) -> list[Claimed]:
        """Claim what is ready now."""
        return []

    def run(self, jobs: list[Claimed]) -> None:
        """Run what was claimed."""


class Eager(Stage):
    is_eager = True


class TinyWorker(Stage):
    """A worker in the test's thread: it claims, runs and settles as a real one does, in any order and batches."""

    def __init__(self) -> None:
        self.consumer = Consumer(id=uuid4().hex, queues=QUEUES)
        self.settler = Settler(get_broker(), get_store(), worker="stage")
        self.atomic = Atomic(get_store(), worker="stage")
        get_broker().register(self.consumer, lease_ms=600_000)

    def work(self, rng: random.Random | None = None) -> None:
        rng = rng or random.Random(1)
        broker = get_broker()
        while True:
            relay.finish(10.0)
            claimed = [one for queue in QUEUES for one in broker.claim(self.consumer, queue, rng.randint(1, 8)).jobs]
            claimed = self.settler.check_redelivered(claimed) if claimed else []
            if not claimed:
                if not self._has_work():
                    return
                continue
            rng.shuffle(claimed)
            self._run(claimed, lambda batch: rng.randint(0, len(batch)))

    def work_once(self) -> None:
        self.run(self.take())

    def take(self) -> list[Claimed]:
        relay.finish(10.0)
        return [one for queue in QUEUES for one in get_broker().claim(self.consumer, queue, 100).jobs]

    def run(self, jobs: list[Claimed]) -> None:
        self._run(jobs, len)

    def _run(self, claimed: list[Claimed], cut: Callable[[list[Finished]], int]) -> None:
        """Run jobs, and settle them in two parts."""
        batch = []
        for one in claimed:
            job = read(one)
            assert isinstance(job, Job), job
            started_ms = clock.now_ms()
            delivery = Delivery(deliveries=one.deliveries, inputs=inputs_of, grow=grow, atomic=self.atomic)
            batch.append(Finished(one, job, execute(job, delivery), started_ms, clock.now_ms()))
        at = cut(batch)
        for part in (batch[:at], batch[at:]):
            if part:
                acks = self.settler.settle(part)
                if acks:
                    get_broker().ack(acks)

    @staticmethod
    def _has_work() -> bool:
        """A retry without a delay is scheduled for this very millisecond."""
        broker, now_ms = get_broker(), clock.now_ms()
        heads = [found for queue in QUEUES for found in broker.peek(queue, Place.SCHEDULED, limit=1)]
        waiting = any(broker.peek(queue, Place.READY, limit=1) for queue in QUEUES)
        return waiting or any(found.moment_ms <= now_ms + 1000 for found in heads)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        # Without the database, the testing kit keeps everything in memory.
        if item.path.is_relative_to(here) and "memory" not in item.name:
            # Only those that are used: emptying all of them takes longer than most tests.
            world = getattr(item, "callspec", None) and item.callspec.params.get("stage", "")  # type: ignore[attr-defined]
            named = {alias_of(name) for name in DATABASES if name in (world or item.name)}
            databases = ["default", *(alias for alias in named if alias not in ("default", None))]
            item.add_marker(pytest.mark.django_db(transaction=True, databases=databases))


@pytest.fixture(params=WORLDS)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Where canvases run: everywhere."""
    if request.param in ("memory", "eager"):
        with eager(propagate=False):
            yield Eager()
        return
    where, _, database = request.param.rpartition("-")
    alias = alias_of(database)
    if alias is None:
        pytest.skip(why_missing(database))
    given: dict[str, Any] = {
        "PREFIX": f"t{uuid4().hex[:12]}", "DATABASE": alias, "BROKER": f"database://{alias}"
    }  # fmt: skip
    if where == "redis":
        url = named_redis().get("redis7") or named_redis().get("redis62")
        if url is None:
            pytest.skip(why_missing("redis7"))
        given["BROKER"] = url
    request.getfixturevalue("django_db_setup")
    with request.getfixturevalue("django_db_blocker").unblock(), override_settings(DJANGO_JOBS=given):
        empty(alias)
        yield TinyWorker()
        relay.finish(5.0)
        get_broker().close()
        empty(alias)
        connections[alias].close()


def empty(alias: str) -> None:
    for model in apps.get_app_config("django_jobs").get_models():
        model._default_manager.using(alias).all()._raw_delete(alias)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def sent(canvas: Expression) -> Any:
    """Send a canvas, and return its handle, whichever it is."""
    handle = canvas.delay()
    assert isinstance(handle, AsyncResult | GroupResult)
    return handle
