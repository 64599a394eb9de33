"""
Every broker on every server, behind one fixture.

A test that takes ``broker`` runs once for each entry of IMPLEMENTATIONS; ``make_broker`` makes further instances on the
same data, as other processes would have them. An entry is a generator that yields that factory, on empty data.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import redis
from django.db import connections
from django.utils.module_loading import import_string

from django_jobs.brokers import backend_of
from django_jobs.brokers.base import BaseBroker
from django_jobs.models import ConsumerLease, KnownQueue, QueuedJob, WorkerStanding
from django_jobs.testing.memory import MemoryBroker
from django_jobs.testing.shelf import Shelf
from tests.services import REDIS_VARIABLES, database_aliases, named_redis, why_missing

pytest.register_assert_rewrite("tests.brokers.contract", "tests.brokers.kit")

BrokerFactory = Callable[[], BaseBroker]
Implementation = Callable[[str, pytest.FixtureRequest], Iterator[BrokerFactory]]


def redis_broker(server: str, request: pytest.FixtureRequest) -> Iterator[BrokerFactory]:
    """A prefix of its own for each test, so that tests may run beside each other on one server."""
    server, _, layout = server.partition(" ")
    url = named_redis().get(server)
    if url is None:
        pytest.skip(why_missing(server))
    prefix = f"t{uuid4().hex[:12]}"
    options = {"SINGLE_SLOT": False} if layout else {}
    yield lambda: import_string(backend_of(url))(url, prefix=prefix, options=options)
    with contextlib.closing(redis.Redis.from_url(url.replace("redis+cluster", "redis"))) as client:
        for key in client.scan_iter(f"*{prefix}*", count=1000):
            client.unlink(key)


def database_broker(server: str, request: pytest.FixtureRequest) -> Iterator[BrokerFactory]:
    """Committed rows in the test database of that server; a transaction around a test would hide what others see."""
    alias = "default" if os.environ.get("DJANGO_JOBS_TEST_DATABASE", "sqlite") == server else server
    if alias not in database_aliases():
        pytest.skip(why_missing(server))
    request.getfixturevalue("django_db_setup")
    with request.getfixturevalue("django_db_blocker").unblock():
        for model in (QueuedJob, ConsumerLease, KnownQueue, WorkerStanding):
            model._default_manager.using(alias).all().delete()
        location = f"database://{alias}"
        yield lambda: import_string(backend_of(location))(location)


def memory_broker(server: str, request: pytest.FixtureRequest) -> Iterator[BrokerFactory]:
    """The broker of the testing kit: what holds with it in a project's tests is to hold with the real ones."""
    shelf = Shelf()
    yield lambda: MemoryBroker(options={"SHELF": shelf})


IMPLEMENTATIONS: dict[str, Implementation] = {
    "memory": memory_broker,
    **dict.fromkeys((*REDIS_VARIABLES, "cluster slots"), redis_broker),
    **dict.fromkeys(("sqlite", "postgres", "mariadb"), database_broker),
}


@pytest.fixture(params=IMPLEMENTATIONS)
def make_broker(request: pytest.FixtureRequest) -> Iterator[BrokerFactory]:
    """Make an instance of the broker under test; all that one test makes work on the same, at first empty, data."""
    made: list[BaseBroker] = []

    def make() -> BaseBroker:
        made.append(factory())
        return made[-1]

    with contextlib.contextmanager(IMPLEMENTATIONS[request.param])(request.param, request) as factory:
        yield make
        for broker in made:
            broker.close()


@pytest.fixture
def broker(make_broker: BrokerFactory) -> BaseBroker:
    return make_broker()


@pytest.fixture
def only_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what every broker has besides being woken: looking again after a while."""
    monkeypatch.setattr("django_jobs.brokers.redis.waits.SLICE", 60.0)
    monkeypatch.setattr("django_jobs.brokers.database.wakeup.POLL_FIRST", 60.0)
    monkeypatch.setattr("django_jobs.brokers.database.wakeup.POLL_LAST", 60.0)


@pytest.fixture
def waiting_broker(broker: BaseBroker, only_woken: None) -> BaseBroker:
    return broker


@pytest.fixture
def ending_broker(broker: BaseBroker, only_woken: None) -> BaseBroker:
    if not broker.supports_wait_end:
        pytest.skip("with this broker the result store is polled")
    return broker


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    size = 4
    everyone = threading.Barrier(size)  # so that each thread takes one of the closing tasks

    def close_connections() -> None:
        connections.close_all()
        everyone.wait(60)

    with ThreadPoolExecutor(max_workers=size) as pool:
        yield pool
        for _ in range(size):
            pool.submit(close_connections)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask for all databases once: pytest-django makes those that some test of the run is marked with."""
    for item in items:
        if "make_broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.django_db(transaction=True, databases="__all__"))
            break
