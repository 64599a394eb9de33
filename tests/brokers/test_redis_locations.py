"""From a URL to connections: what is accepted, what is refused in which words, and that nothing is opened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from django_jobs.brokers import make_broker
from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.brokers.redis.locations import EXPECTED, locate
from django_jobs.exceptions import BrokerUnavailable, JobsConfigurationError
from tests.brokers.kit import claim, consumer, ids, message, messages
from tests.services import RedisServer, private_redis


def arguments_of(url: str) -> tuple[type, dict[str, Any]]:
    (endpoint,) = locate(url, 2000).endpoints
    connection = endpoint.connection()
    return type(connection), endpoint.arguments


class TestAccepted:
    def test_redis(self):
        kind, arguments = arguments_of("redis://me:s%40crt@redis.example:6380/3")
        assert kind is Connection
        wanted = {"host": "redis.example", "port": 6380, "db": 3, "username": "me", "password": "s@crt"}
        assert arguments.items() >= wanted.items()

    def test_tls(self):
        kind, arguments = arguments_of("rediss://redis.example?ssl_cert_reqs=none")
        assert kind is SSLConnection
        assert arguments["ssl_cert_reqs"] == "none"

    def test_unix(self):
        kind, arguments = arguments_of("unix:///run/redis.sock?db=2")
        assert kind is UnixDomainSocketConnection
        assert (arguments["path"], arguments["db"]) == ("/run/redis.sock", 2)

    def test_sentinel(self):
        kind, arguments = arguments_of("redis+sentinel://:pw@one:1,two:2,[::1]/main/4?sentinel_password=other")
        pool = arguments["connection_pool"]
        assert kind is SentinelManagedConnection
        assert (pool.service_name, arguments["db"], arguments["password"]) == ("main", 4, "pw")
        asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
        assert [(one["host"], one["port"]) for one in asked] == [("one", 1), ("two", 2), ("::1", 26379)]
        assert {one["password"] for one in asked} == {"other"}
        assert sum(one["socket_timeout"] for one in asked) + arguments["socket_connect_timeout"] < 2

    def test_sentinel_with_tls(self):
        assert arguments_of("redis+sentinel://one/main?ssl=true")[0] is SentinelManagedSSLConnection

    def test_cluster(self):
        location = locate("redis+cluster://me:pw@one:1,two", 2000)
        assert location.is_cluster
        assert [(one.arguments["host"], one.arguments["port"]) for one in location.endpoints] == [
            ("one", 1),
            ("two", 6379),
        ]
        assert {one.arguments["password"] for one in location.endpoints} == {"pw"}
        assert RedisBroker("redis+cluster://one").single_slot
        assert not RedisBroker("redis+cluster://one", options={"SINGLE_SLOT": False}).single_slot
        assert not RedisBroker("redis://one").single_slot

    @pytest.mark.parametrize(
        "url", ["redis://h", "rediss://h", "unix:///s", "redis+sentinel://h/s", "redis+cluster://h"]
    )
    def test_no_retry_and_a_bound_on_every_wait(self, url: str):
        """redis-py retries ten times by default, and would send a claim again whose answer was lost."""
        _, arguments = arguments_of(url)
        connection: Any = locate(url, 2000).endpoints[0].connection()
        assert connection.retry._retries == 0
        assert connection.retry_on_error == []
        assert 0 < arguments["socket_timeout"] <= 2
        assert 0 < arguments["socket_connect_timeout"] <= 1
        assert connection.health_check_interval == 0
        assert connection.protocol == 2

    def test_making_a_broker_connects_to_nothing(self):
        for url in ("redis://no.such.host", "redis+cluster://no.such.host", "redis+sentinel://no.such.host/main"):
            make_broker(url).close()


WRONG = {
    "redis://": "names no host",
    "redis://host/mail": "'mail' is not the number of a database",
    "redis://host:port": "ort",
    "redis://host?colour=red": "colour",
    "unix://": "names no socket",
    "redis+sentinel://host:26379": "names no service",
    "redis+sentinel://host/main/mail": "'mail' is not the number of a database",
    "redis+sentinel:///main": "names no host",
    "redis+cluster://host/1": "a cluster has one database",
    "redis+cluster://one,,two": "is not a host",
    "http://host": "scheme is not known",
}


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_answered_with_what_is_expected(url: str):
    with pytest.raises(JobsConfigurationError) as raised:
        RedisBroker(url)
    assert WRONG[url] in str(raised.value)
    assert EXPECTED.get(url.partition("://")[0], "redis+cluster://") in str(raised.value)


def test_an_error_shows_no_password():
    with pytest.raises(JobsConfigurationError) as raised:
        RedisBroker("redis://me:s3cret@host/mail")
    assert "s3cret" not in str(raised.value)
    with pytest.raises(JobsConfigurationError) as raised:
        RedisBroker("redis+sentinel://:s3cret@host?sentinel_password=s3cret")
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in RedisBroker("redis+sentinel://:s3cret@host/main?sentinel_password=s3cret").describe()


def test_sentinels_that_are_not_there_are_told_of_in_a_sentence():
    with pytest.raises(BrokerUnavailable) as raised:
        RedisBroker("redis+sentinel://127.0.0.1:1,127.0.0.1:2/main/0").ping()
    assert str(raised.value) == (
        "Redis at the master of 'main' cannot be reached: no Sentinel that answers names one that is up"
        " (others: ConnectionError)."
    )


def test_an_option_that_is_not_there():
    with pytest.raises(JobsConfigurationError, match=r"no option SINGLE_SLOTS\. Expected: SINGLE_SLOT"):
        RedisBroker("redis://host", options={"SINGLE_SLOTS": True})


@pytest.mark.parametrize("prefix", ["", "a{b}", "}"])
def test_a_prefix_that_would_break_the_hash_tag(prefix: str):
    with pytest.raises(JobsConfigurationError, match="without braces"):
        RedisBroker("redis://host", prefix=prefix)


@pytest.mark.parametrize("name", ["", "a b", "{a}", "é", "x" * 65, "a\n"])
def test_a_name_that_no_queue_can_have(redis7_url: str, name: str):
    broker = RedisBroker(redis7_url)
    for verb in (
        lambda: broker.enqueue([message(queue=name)]),
        lambda: broker.enqueue([message(queue=name), message()]),
        lambda: broker.pause(name),
        lambda: broker.counts([name]),
    ):
        with pytest.raises(ValueError, match=r"is not the name of a queue\. Expected"):
            verb()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"id": "42"}, "UUID"),
        ({"id": "0" * 31 + "g"}, "hex"),
        ({"priority": 101}, "from -100 to 100"),
        ({"priority": -101}, "from -100 to 100"),
        ({"eta_ms": -1}, "milliseconds"),
        ({"eta_ms": 2**44}, "milliseconds"),
    ],
)
def test_a_message_that_cannot_be_kept(redis7_url: str, wrong: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        RedisBroker(redis7_url).enqueue([message()._replace(**wrong)])


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory = tmp_path_factory.mktemp("r")
    with private_redis(directory, "--unixsocket", str(directory / "s")) as made:
        made.call("CONFIG", "SET", "requirepass", "secret")
        yield made


@pytest.fixture
def socket_path(server: RedisServer) -> Path:
    return Path(server.extra_args[1])


def assert_works(broker: RedisBroker) -> None:
    sent = messages(2)
    assert broker.enqueue(sent) == [True, True]
    assert broker.wait(["alpha", "beta"], 1000) == "alpha"
    held = claim(broker, consumer(broker))
    assert ids(held) == ids(sent)
    assert broker.ack(held) == []
    broker.close()


def test_over_a_unix_socket(socket_path: Path):
    assert_works(RedisBroker(f"unix://:secret@{socket_path}?db=1"))


class TestCache:
    @pytest.fixture
    def with_caches(self) -> Iterator[Callable[..., None]]:
        """Replace CACHES for the length of a test."""
        used: list[override_settings] = []

        def use(**settings: dict[str, Any]) -> None:
            used.append(override_settings(CACHES=settings))
            used[-1].enable()

        yield use
        for override in used:
            caches.close_all()
            override.disable()

    def test_it_takes_the_server_of_the_cache(self, with_caches: Callable[..., None], server: RedisServer):
        with_caches(
            default={"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            jobs={
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": server.url.replace("/0", "/5"),
                "OPTIONS": {
                    "PASSWORD": "secret",
                    "SOCKET_TIMEOUT": 77,
                    "CONNECTION_POOL_KWARGS": {"max_connections": 50, "retry_on_timeout": True, "client_name": "jobs"},
                },
            },
        )
        broker = RedisBroker("cache://jobs", timeout_ms=1500)
        endpoint = locate("cache://jobs", 1500).endpoints[0]
        assert (endpoint.arguments["db"], endpoint.arguments["socket_timeout"]) == (5, 1.5)
        connection: Any = endpoint.connection()
        assert connection.retry._retries == 0
        assert_works(broker)
        assert "cache" not in broker._servers.link(0).where

    def test_sentinel_settings_of_the_cache(self, with_caches: Callable[..., None]):
        with_caches(
            jobs={
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": "redis://main/0",
                "OPTIONS": {
                    "CLIENT_CLASS": "django_redis.client.SentinelClient",
                    "SENTINELS": [("one", 26379), ("two", 26379)],
                    "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                    "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
                },
            }
        )
        endpoint = locate("cache://jobs", 2000).endpoints[0]
        assert isinstance(endpoint.connection(), SentinelManagedConnection)
        assert endpoint.arguments["connection_pool"].service_name == "main"

    def test_another_kind_of_cache(self, with_caches: Callable[..., None]):
        with_caches(jobs={"BACKEND": "django.core.cache.backends.locmem.LocMemCache"})
        with pytest.raises(JobsConfigurationError, match=r"LocMemCache. Expected django_redis\.cache\.RedisCache"):
            RedisBroker("cache://jobs")

    def test_django_s_own_redis_cache(self, with_caches: Callable[..., None]):
        with_caches(jobs={"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://host"})
        with pytest.raises(JobsConfigurationError, match=r"Expected django_redis\.cache\.RedisCache"):
            RedisBroker("cache://jobs")

    def test_an_alias_that_is_not_there(self, with_caches: Callable[..., None]):
        with_caches(default={"BACKEND": "django.core.cache.backends.locmem.LocMemCache"})
        with pytest.raises(JobsConfigurationError, match="cache://jobs"):
            RedisBroker("cache://jobs")

    def test_a_client_that_spreads_keys(self, with_caches: Callable[..., None]):
        with_caches(
            jobs={
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": ["redis://one", "redis://two"],
                "OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"},
            }
        )
        with pytest.raises(JobsConfigurationError, match="spreads keys over several servers"):
            RedisBroker("cache://jobs")


WITHOUT_HIREDIS = """
import sys, uuid
sys.modules["hiredis"] = None
from django.conf import settings
settings.configure()
from redis.connection import DefaultParser
assert "hiredis" not in DefaultParser.__name__.lower(), DefaultParser
from django_jobs.brokers.base import Consumer, Message
from django_jobs.brokers.redis.broker import RedisBroker
broker = RedisBroker(sys.argv[1], prefix="t" + uuid.uuid4().hex[:8])
sent = [Message(str(uuid.uuid4()), "alpha", bytes(range(256)) * 40) for _ in range(700)]
assert broker.enqueue(sent) == [True] * 700
worker = Consumer(id=uuid.uuid4().hex, queues=("alpha",))
broker.register(worker, lease_ms=60000)
assert broker.wait(["alpha"], 1000) == "alpha"
settled, done = [], 0
while jobs := (answer := broker.claim(worker, "alpha", 100, settled=settled)).jobs:
    assert all(job.body == sent[0].body for job in jobs)
    settled, done = jobs, done + len(jobs)
assert (done, list(answer.lost), broker.counts(["alpha"])[0].in_flight) == (700, [], 0)
print("done")
"""


def test_without_hiredis(redis7_url: str):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_HIREDIS, redis7_url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("done\n", "")
