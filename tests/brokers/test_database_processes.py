"""The database broker in several processes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.db import connections

from django_jobs.brokers.base import Consumer
from django_jobs.brokers.database import listening, wakeup
from django_jobs.brokers.database.broker import DatabaseBroker
from tests.brokers.database_kit import SERVERS, alias_or_skip, database_broker
from tests.brokers.kit import claim, consumer, messages, until

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

BUSY = """
import json, sys, time
import django
django.setup()
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone
from django_jobs.brokers.database.broker import DatabaseBroker
from tests.brokers.kit import consumer, messages

alias, part = sys.argv[1:]
broker = DatabaseBroker(f"database://{alias}", timeout_ms=30_000)
me = consumer(broker)
sent, taken = [], []
for number in range(40):
    for batch in (messages(1), messages(10)):
        assert all(broker.enqueue(batch))
        sent += [job.id for job in batch]
    with transaction.atomic(alias):
        Session.objects.using(alias).create(session_key=f"{part} {number}", session_data="", expire_date=timezone.now())
        (job,) = messages(1)
        broker.enqueue([job])
        sent.append(job.id)
    held = broker.claim(me, "alpha", 5).jobs
    assert broker.heartbeat([me], lease_ms=60_000)[0].alive
    taken += [job.id for job in held]
    assert broker.ack(held) == []
broker.unregister(me)
print(json.dumps([sent, taken]))
"""

SEND = """
import sys
import django
django.setup()
from django_jobs.brokers.database.broker import DatabaseBroker
from tests.brokers.kit import messages
DatabaseBroker(f"database://{sys.argv[1]}").enqueue(messages(1))
"""

Environment = Callable[..., dict[str, str]]


@pytest.fixture(params=SERVERS)
def alias(request: pytest.FixtureRequest) -> str:
    return alias_or_skip(request.param)


@pytest.fixture
def broker(alias: str):
    with database_broker(alias) as made:
        yield made


def test_busy_processes_are_not_in_each_others_way(broker: DatabaseBroker, alias: str, child_environment: Environment):
    """On SQLite these are the settings that startproject writes: a rollback journal, and no options."""
    options = connections[alias].settings_dict["OPTIONS"]
    assert connections[alias].vendor != "sqlite" or not options
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BUSY, alias, str(part)],
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in range(4)
    ]
    sent: list[str] = []
    taken: list[str] = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        its_sent, its_taken = json.loads(out)
        sent += its_sent
        taken += its_taken
    worker = consumer(broker)
    while held := claim(broker, worker):
        taken += [job.id for job in held]
        broker.ack(held)
    assert Counter(taken) == Counter(sent)
    assert set(Counter(sent).values()) == {1}
    assert Session.objects.using(alias).count() == 160


def test_keeper_and_child_may_open_a_lease_at_the_same_moment(broker: DatabaseBroker, alias: str, threads):
    for _ in range(30):
        worker = Consumer(id=uuid4().hex, queues=("alpha", "beta"))
        both = threading.Barrier(2)

        def register(worker: Consumer = worker, both: threading.Barrier = both) -> None:
            both.wait(20)
            broker.register(worker, lease_ms=60_000)

        for future in [threads.submit(register) for _ in range(2)]:
            future.result(20)
        assert broker.heartbeat([worker], lease_ms=60_000)[0].alive


def test_a_forked_process_opens_a_connection_of_its_own(broker: DatabaseBroker, alias: str):
    connection = connections[alias]
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no server")
    broker.enqueue(messages(1))
    before = session_of(alias)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            broker.enqueue(messages(1))
            os.write(writer, str(session_of(alias)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100).decode() not in {"", str(before)}
    os.close(reader)
    os.close(writer)
    assert len(claim(broker, consumer(broker))) == 2
    assert session_of(alias) == before


def session_of(alias: str) -> int:
    vendor = connections[alias].vendor
    with connections[alias].cursor() as cursor:
        cursor.execute({"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}[vendor])
        return int(cursor.fetchone()[0])


class TestListen:
    @pytest.fixture
    def alias(self) -> str:
        return alias_or_skip("postgres")

    @pytest.fixture(autouse=True)
    def _never_poll(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wakeup, "POLL_FIRST", 60)
        monkeypatch.setattr(wakeup, "POLL_LAST", 60)
        monkeypatch.setattr(listening, "RECONNECT_AFTER", 0.05)

    def send(self, alias: str, environment: dict[str, str]) -> None:
        subprocess.run([sys.executable, "-c", SEND, alias], env=environment, check=True, timeout=60)

    def test_another_process_wakes_us(
        self, broker: DatabaseBroker, alias: str, child_environment: Environment, threads
    ):
        future = threads.submit(broker.wait, ["alpha"], 50_000)
        until(lambda: listening_sessions(alias))
        self.send(alias, child_environment())
        assert future.result(5) == "alpha"

    def test_it_listens_again_after_its_connection_died(
        self, broker: DatabaseBroker, alias: str, child_environment: Environment, threads
    ):
        future = threads.submit(broker.wait, ["alpha"], 50_000)
        until(lambda: listening_sessions(alias))
        (first,) = listening_sessions(alias)
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [first])
        until(lambda: set(listening_sessions(alias)) - {first})
        self.send(alias, child_environment())
        assert future.result(5) == "alpha"

    def test_close_ends_it(self, broker: DatabaseBroker, alias: str):
        broker.wait(["alpha"], 1)
        until(lambda: listening_sessions(alias))
        broker.close()
        until(lambda: not listening_sessions(alias))

    def test_it_can_be_switched_off(self, alias: str):
        with database_broker(alias, LISTEN=False) as quiet:
            quiet.wait(["alpha"], 1)
            assert quiet._notifications is None
        assert listening_sessions(alias) == []

    def test_a_busy_sender_notifies_seldom(self, broker: DatabaseBroker, alias: str):
        sent: list[str] = []

        def note(execute, sql, params, many, context):
            sent.append(sql)
            return execute(sql, params, many, context)

        with connections[alias].execute_wrapper(note):
            for _ in range(50):
                broker.enqueue(messages(1))
        notified = sum("pg_notify" in sql for sql in sent)
        assert 1 <= notified < 50


def listening_sessions(alias: str) -> list[int]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %%' AND datname = current_database()")
        return [row[0] for row in cursor.fetchall()]
