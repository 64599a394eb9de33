"""When Redis may have lost what it was told, and when not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.exceptions import BrokerUnavailable
from tests.brokers.kit import messages
from tests.services import RedisServer, binaries, private_redis


@pytest.fixture(params=["redis7", "redis62"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, to be emptied, restarted and demoted."""
    if request.param == "redis7":
        made = private_redis(tmp_path, "--appendonly", "yes")
    else:
        made = RedisServer(binaries.redis62(tmp_path / "binary"), None, tmp_path / "redis", "--appendonly", "yes")
    with made:
        yield made


@pytest.fixture
def broker(server: RedisServer) -> Iterator[RedisBroker]:
    made = RedisBroker(server.url, timeout_ms=20_000)
    yield made
    made.close()


def continuity(broker: RedisBroker) -> str:
    """Ask until the server is back."""
    for _ in range(5):
        try:
            return broker.continuity()
        except BrokerUnavailable:
            continue
    return broker.continuity()


def test_data_that_are_gone(server: RedisServer, broker: RedisBroker) -> None:
    before = broker.continuity()
    server.call("FLUSHALL")
    after = broker.continuity()
    assert after != before
    assert broker.continuity() == after


def test_a_server_that_was_started_again(server: RedisServer, broker: RedisBroker) -> None:
    before, connects = broker.continuity(), broker.connects
    server.kill()
    server.start()
    assert continuity(broker) != before
    assert broker.connects > connects


def test_a_server_that_got_its_data_from_another_one(server: RedisServer, broker: RedisBroker) -> None:
    before = broker.continuity()
    server.call("REPLICAOF", "127.0.0.1", "1")
    server.call("REPLICAOF", "NO", "ONE")
    assert continuity(broker) != before


def test_connections_that_were_cut(server: RedisServer, broker: RedisBroker) -> None:
    before, connects = broker.continuity(), broker.connects
    server.call("CLIENT", "KILL", "TYPE", "normal")
    assert continuity(broker) == before
    assert broker.connects > connects


def test_who_works_on_opens_no_connection(server: RedisServer, broker: RedisBroker) -> None:
    broker.enqueue(messages(1))
    connects = broker.connects
    for _ in range(10):
        broker.enqueue(messages(3))
    assert broker.connects == connects


def test_a_server_that_may_not_be_asked_who_it_is(server: RedisServer) -> None:
    server.call("ACL", "SETUSER", "shy", "on", ">secret", "~*", "&*", "+@all", "-info")
    broker = RedisBroker(server.url.replace("//", "//shy:secret@"), timeout_ms=20_000)
    before = broker.continuity()
    assert broker.continuity() == before
    server.call("FLUSHALL")
    assert broker.continuity() != before
    broker.close()


def test_a_full_server_has_a_name_too(server: RedisServer, broker: RedisBroker) -> None:
    server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        assert broker.continuity() == broker.continuity()
    finally:
        server.call("CONFIG", "SET", "maxmemory", "0")
