"""What ``manage.py check --deploy`` finds out from real servers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.db import connections, transaction
from pytest_django import DjangoDbBlocker, Settings

from django_jobs.brokers.redis.core import RedisCore
from django_jobs.checks import TAG, deploy
from django_jobs.task import Task
from tests.brokers.kit import until
from tests.brokers.silent import SilentServer
from tests.core import tasks
from tests.services import RedisClusterServer, RedisServer, alias_of, binaries, private_redis, why_missing

Found = Callable[..., dict[str, str]]
Start = Callable[..., RedisServer]
Make = Callable[..., Task[..., Any]]
SAFE = ("--appendonly", "yes")
NOWHERE = "redis://127.0.0.1:1/0"
ABOUT_THE_SERVICE = ("W020", "W021", "W022", "W027", "W031", "I003", "I004")


@pytest.fixture(autouse=True)
def databases(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let the checks connect to whatever is configured, outside of any transaction."""
    with django_db_blocker.unblock():
        yield
        connections.close_all()


@pytest.fixture
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What settings alone tell is said without a server; names that do not exist are not looked up."""
    monkeypatch.setattr(RedisCore, "every_server", lambda broker: ())


def number(message: CheckMessage) -> str:
    return str(message.id).partition(".")[2]


@pytest.fixture
def found(settings: Settings) -> Found:
    """Run the checks; return what those with these numbers say, which each of them does once."""

    def check(broker: str, *, about: tuple[str, ...] = ABOUT_THE_SERVICE, is_deploy: bool = True, **given: Any) -> Any:
        settings.DJANGO_JOBS = {"BROKER": broker, "ENQUEUE_TIMEOUT": 1} | given
        messages = run_checks(tags=[TAG], include_deployment_checks=is_deploy)
        said = [(number(one), f"{one.msg} {one.hint or ''}") for one in messages if number(one) in about]
        assert len(dict(said)) == len(said), said
        return dict(said)

    return check


@pytest.fixture(params=["redis7", "redis62"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Start a Redis with these arguments."""
    with ExitStack() as running:

        def make(*arguments: str) -> RedisServer:
            if request.param == "redis7":
                return running.enter_context(private_redis(tmp_path, *arguments))
            binary = binaries.redis62(tmp_path / "binary")
            return running.enter_context(RedisServer(binary, None, tmp_path / "redis", *arguments))

        yield make


# W020, W021, I003, I004: what Redis says of itself


def test_a_redis_that_is_set_up_well(found: Found, start: Start):
    assert found(start(*SAFE).url) == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "throws jobs away when its memory is full"),
        (("--maxmemory-policy", "allkeys-random"), "throws jobs away as soon as maxmemory is set, and reached"),
        (
            ("--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"),
            "throws keys that expire, though no jobs, away when its memory is full",
        ),
    ],
)
def test_eviction(found: Found, start: Start, arguments: tuple[str, ...], says: str):
    server = start(*SAFE, *arguments)
    said = found(server.url)
    assert list(said) == ["W020"]
    assert f"Redis at 127.0.0.1:{server.port} {says}: its maxmemory-policy is {arguments[-1]}." in said["W020"]
    assert "Set maxmemory-policy noeviction" in said["W020"]


def test_no_persistence(found: Found, start: Start):
    server = start()
    said = found(server.url)
    assert list(said) == ["W021"]
    assert f"127.0.0.1:{server.port} writes nothing to disk" in said["W021"]
    server.call("CONFIG", "SET", "save", "3600 1 300 100")
    said = found(server.url)
    assert list(said) == ["I004"]
    assert 'keeps snapshots (save "3600 1 300 100"), but no append-only file' in said["I004"]


def test_a_service_that_forbids_config(found: Found, start: Start):
    server = start("--rename-command", "CONFIG", "")
    said = found(server.url)
    assert list(said) == ["I003"]
    assert "does not say whether it saves snapshots: CONFIG was refused (" in said["I003"]


def test_what_a_user_may_not_ask(found: Found, start: Start):
    server = start()
    server.call("ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@all", "-config")
    url = server.url.replace("//", "//shop:secret@")
    assert "CONFIG was refused (" in found(url)["I003"]
    server.call("ACL", "SETUSER", "shop", "-info")
    said = found(url)
    assert list(said) == ["I003"]
    assert "does not say how it is set up: INFO was refused (" in said["I003"]
    assert "secret" not in said["I003"]


def test_a_cluster(found: Found, tmp_path: Path):
    binary = binaries.redis7() or binaries.redis62(tmp_path / "binary")
    with RedisClusterServer(binary, None, tmp_path / "cluster", "--maxmemory-policy", "allkeys-lfu") as server:
        said = found(server.url)
    assert sorted(said) == ["W020", "W021"]
    assert f"Redis at 127.0.0.1:{server.port} throws jobs away" in said["W020"]


# W031: what does not answer


def test_a_server_that_is_not_there(found: Found):
    said = found(NOWHERE)
    assert list(said) == ["W031"]
    assert "Redis at 127.0.0.1:1 cannot be reached" in said["W031"]
    assert found(NOWHERE, is_deploy=False) == {}


def test_a_server_that_is_silent_or_wants_a_password(found: Found, start: Start):
    with SilentServer() as silent:
        assert "does not answer in time" in found(silent.url)["W031"]
    server = start(*SAFE)
    server.call("CONFIG", "SET", "requirepass", "secret")
    assert "password" in found(server.url)["W031"]


def test_the_command_has_no_traceback(found: Found, capsys: pytest.CaptureFixture[str]):
    found(NOWHERE)
    call_command("check", deploy=True, tags=[TAG])
    said = capsys.readouterr().err
    assert "(django_jobs.W031) Redis at 127.0.0.1:1 cannot be reached" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("vendor", ["postgres", "mariadb"])
def test_a_database_that_is_not_there(found: Found, vendor: str, monkeypatch: pytest.MonkeyPatch):
    alias = alias_of(vendor)
    if alias is None:
        pytest.skip(why_missing(vendor))
    gone = f"gone_{vendor}"
    there = connections[alias].settings_dict
    monkeypatch.setitem(connections.settings, gone, {**there, "HOST": "127.0.0.1", "PORT": 1})
    said = found(f"database://{gone}", DATABASE=gone)
    assert connections[gone].connection is None
    assert list(said) == ["W031"]
    assert f"DATABASES[{gone!r}] cannot be asked" in said["W031"]
    assert "\n" not in said["W031"]


# W022: TLS


@pytest.mark.usefixtures("nobody_is_asked")
@pytest.mark.parametrize(
    ("broker", "is_said"),
    [
        ("redis://:secret@redis.invalid/0", True),
        ("redis://10.255.255.1/0", True),
        ("rediss://redis.invalid/0", False),
        ("redis://127.0.0.1:1/0", False),
        ("redis://127.8.9.10:1/0", False),
        ("redis://[::1]:1/0", False),
        ("redis://localhost:1/0", False),
        ("redis://jobs.localhost:1/0", False),
        ("unix:///nowhere.sock", False),
        ("redis+sentinel://sentinel.invalid/main/0", True),
        ("redis+sentinel://127.0.0.1:1,sentinel.invalid/main/0", True),
        ("redis+sentinel://127.0.0.1:1/main/0", False),
        ("redis+sentinel://sentinel.invalid/main/0?ssl=true", False),
        ("redis+cluster://node.invalid", True),
        ("redis+cluster://node.invalid?ssl=true", False),
    ],
)
def test_encryption(found: Found, broker: str, is_said: bool):
    said = found(broker, about=("W022",))
    assert bool(said) is is_said
    if said:
        assert "travel unencrypted to Redis at" in said["W022"]
        assert "secret" not in said["W022"]


# W027: a cache in the same database

DJANGO = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"
BEHIND_SENTINEL = {
    "CLIENT_CLASS": "django_redis.client.SentinelClient",
    "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
    "SENTINELS": [("a.invalid", 26379), ("b.invalid", 26380)],
}


@pytest.mark.usefixtures("nobody_is_asked")
@pytest.mark.parametrize("backend", [DJANGO, DJANGO_REDIS])
@pytest.mark.parametrize(
    ("broker", "location", "is_said"),
    [
        ("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/0", True),
        ("redis://127.0.0.1:1/0", "redis://:other@localhost:1", True),
        ("redis://127.0.0.1:1", "redis://[::1]:1?db=0", True),
        ("redis://Redis.invalid/3", "rediss://redis.invalid.:6379/3", True),
        ("redis://127.0.0.1:1/0", ["redis://127.0.0.1:2/0", "redis://127.0.0.1:1/0"], True),
        ("redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0,redis://127.0.0.1:1/0", True),
        ("unix:///nowhere.sock?db=2", "unix:///nowhere.sock?db=2", True),
        ("redis+cluster://127.0.0.1:1,127.0.0.1:2", "redis://127.0.0.1:2", True),
        ("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/1", False),
        ("redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0", False),
        ("redis://127.0.0.1:1/0", "redis://other.invalid:1/0", False),
        ("unix:///nowhere.sock", "unix:///elsewhere.sock", False),
        ("redis+sentinel://127.0.0.1:1/main/0", "redis://127.0.0.1:1/0", False),
    ],
    ids=str,
)
def test_a_cache_in_the_database_of_the_broker(
    found: Found, settings: Settings, backend: str, broker: str, location: Any, is_said: bool
) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "127.0.0.1:1"},
        "pages": {"BACKEND": backend, "LOCATION": location},
    }
    said = found(broker, about=("W027",))
    assert bool(said) is is_said
    if said:
        assert "shares its Redis database with CACHES['pages']: clearing one erases every queue." in said["W027"]
        assert "cache.clear() is FLUSHDB" in said["W027"]


@pytest.mark.usefixtures("nobody_is_asked")
@pytest.mark.parametrize(
    ("cache", "is_said"),
    [
        ({"BACKEND": DJANGO, "OPTIONS": {"db": "7"}}, True),
        ({"BACKEND": DJANGO_REDIS, "OPTIONS": {"CONNECTION_POOL_KWARGS": {"db": 7}}}, True),
        ({"BACKEND": DJANGO, "OPTIONS": {"db": "8"}}, False),
    ],
)
def test_the_number_of_a_database_may_be_an_option(
    found: Found, settings: Settings, cache: dict[str, Any], is_said: bool
) -> None:
    settings.CACHES = {"default": {"LOCATION": "redis://127.0.0.1:1", **cache}}
    assert bool(found("redis://127.0.0.1:1/7", about=("W027",))) is is_said


@pytest.mark.usefixtures("nobody_is_asked")
@pytest.mark.parametrize(
    ("broker", "is_said"),
    [
        ("redis+sentinel://b.invalid:26380,c.invalid/main/1", True),
        ("redis+sentinel://c.invalid/main/1", False),
        ("redis+sentinel://a.invalid/other/1", False),
        ("redis+sentinel://a.invalid/main/2", False),
    ],
)
def test_a_cache_behind_the_sentinels_of_the_broker(found: Found, settings: Settings, broker: str, is_said: bool):
    cache = {"BACKEND": DJANGO_REDIS, "LOCATION": "redis://main/1", "OPTIONS": BEHIND_SENTINEL}
    settings.CACHES = {"default": cache}
    assert bool(found(broker, about=("W027",))) is is_said


@pytest.mark.usefixtures("nobody_is_asked")
def test_an_alias_of_its_own_is_what_the_broker_should_have(found: Found, settings: Settings):
    jobs = {"BACKEND": DJANGO_REDIS, "LOCATION": NOWHERE}
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}, "jobs": jobs}
    assert found("cache://jobs", about=("W027",)) == {}
    settings.CACHES = {"default": jobs, "jobs": {**jobs, "LOCATION": "redis://localhost:1"}}
    assert "CACHES['default']: clearing" in found("cache://jobs", about=("W027",))["W027"]
    said = found("cache://default", about=("W027",))["W027"]
    assert "CACHES['default'] and CACHES['jobs']: clearing" in said


def test_clearing_that_cache_erases_the_queues(settings: Settings, start: Start):
    """The danger is real, with both kinds of cache."""
    server = start(*SAFE)
    for backend in (DJANGO, DJANGO_REDIS):
        server.call("SET", "dj:{mail}:jobs", "here")
        settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": server.url, "KEY_PREFIX": "pages"}}
        call_command("shell", command="from django.core.cache import cache; cache.clear(); cache.close()")
        assert server.call("EXISTS", "dj:{mail}:jobs") == ":0"


# W025: retention


def test_results_that_are_gone_before_their_jobs_are_safe(found: Found, task_of: Make):
    look = partial(found, NOWHERE, about=("W025",))
    assert look() == {}
    assert look(RESULTS={"EXPIRES": None, "FAILURES_EXPIRE": None}) == {}
    assert "['EXPIRES'] is 23:00:00, shorter" in look(RESULTS={"EXPIRES": timedelta(hours=23)})["W025"]
    assert "['FAILURES_EXPIRE'] is 1:00:00, shorter" in look(RESULTS={"FAILURES_EXPIRE": 3600})["W025"]
    assert look(RESULTS={"EXPIRES": timedelta(hours=23)}, is_deploy=False) == {}
    long = look(WORKER={"LEASE": timedelta(days=2), "SUSPECT_TIME": 60})["W025"]
    assert "['EXPIRES'] is 1 day, 0:00:00, shorter than jobs may be delivered again (2 days, 0:01:00)" in long
    task_of(tasks.add, result_expires=60)
    assert "The option result_expires of tests.core.tasks.add is 0:01:00" in look()["W025"]


def test_where_end_and_leaving_are_one_commit_retention_is_free(found: Found):
    short = {"EXPIRES": 60}
    assert found("database://default", about=("W025",), RESULTS=short) == {}
    elsewhere = next((alias for alias in connections if alias != "default"), None)
    if elsewhere is None:
        pytest.skip(why_missing("postgres"))
    assert "W025" in found(f"database://{elsewhere}", about=("W025",), RESULTS=short)


# W029: transactions on PostgreSQL


@pytest.fixture
def postgres() -> str:
    alias = alias_of("postgres")
    if alias is None:
        pytest.skip(why_missing("postgres"))
    return alias


@pytest.fixture
def session(postgres: str) -> Iterator[psycopg.Connection]:
    """A connection of somebody else's to the same database."""
    given = connections[postgres].settings_dict
    arguments = {"host": given["HOST"], "port": given["PORT"], "user": given["USER"], "password": given["PASSWORD"]}
    name = connections[postgres].settings_dict["NAME"]
    with contextlib.closing(psycopg.connect(dbname=name, application_name="report", **arguments)) as connection:
        yield connection


def test_a_transaction_that_stays_open(
    found: Found, postgres: str, session: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = partial(found, about=("W029",), DATABASE=postgres)
    session.execute("SELECT 1")
    assert look(NOWHERE) == {}, "a transaction may take a while"
    monkeypatch.setattr(deploy, "LONG_TRANSACTION", timedelta(milliseconds=10))
    until(lambda: bool(look(NOWHERE)))
    said = look(NOWHERE)["W029"]
    assert f"DATABASES[{postgres!r}] has 1 transaction (1 of them idle) open for longer than 0:00:00.01" in said
    assert f"pid {session.info.backend_pid} of report, idle in transaction." in said
    assert "W029" in look(f"database://{postgres}", DATABASE="default")
    assert look(NOWHERE, is_deploy=False) == {}
    if postgres != "default":
        assert look(NOWHERE, DATABASE="default") == {}, "neither jobs nor results are there"
    session.rollback()
    assert look(NOWHERE) == {}


def test_sessions_that_are_not_ours_to_see(found: Found, postgres: str, session: psycopg.Connection) -> None:
    session.execute("SELECT 1")
    with transaction.atomic(postgres), connections[postgres].cursor() as cursor:
        cursor.execute("CREATE ROLE jobs_of_a_test")
        cursor.execute("SET ROLE jobs_of_a_test")
        said = found(f"database://{postgres}", about=("I003",), DATABASE=postgres)
        transaction.set_rollback(True, postgres)
    # One of this test; other tests have theirs at the same time.
    assert re.search(r"the transactions of \d+ connections? of other users\. GRANT pg_read_all_stats", said["I003"])
