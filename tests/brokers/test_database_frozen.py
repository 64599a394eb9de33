"""Processes that are frozen in the middle of a transaction of ours: the others go on, and nothing happens twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pytest
from django.db import connections

from django_jobs.brokers.base import Claimed, Consumer
from django_jobs.brokers.database.broker import DatabaseBroker
from django_jobs.states import Place
from django_jobs.testing.store import MemoryStore
from django_jobs.worker.channel import Channel
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.keeper import Keeper
from tests.brokers.database_kit import alias_or_skip, database_broker
from tests.brokers.kit import LONG_MS, claim, consumer, ids, messages, place, places, silent_consumer, until
from tests.chaos.hosts import state_of

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

#: Does one verb, and stops itself after the statement that has the words in it. Says how the verb has ended.
FROZEN = """
import json, os, signal, sys
import django
django.setup()
from django.db import connections
from django_jobs import bounds
from django_jobs.brokers.base import Claimed, Consumer
from django_jobs.brokers.database.broker import DatabaseBroker
from django_jobs.exceptions import BrokerUnavailable

alias, verb, words, silence_ms, given = sys.argv[1:]
bounds.SILENCE_MS = int(silence_ms)
me, held = json.loads(given)
me, held = Consumer(id=me, queues=("alpha",)), [Claimed(*job[:2], job[2].encode(), *job[3:]) for job in held]
broker = DatabaseBroker(f"database://{alias}", options={"LISTEN": False})
broker.ping()
stops = [1]

def stop(execute, sql, params, many, context):
    answer = execute(sql, params, many, context)
    if words in str(sql) and stops:
        stops.clear()
        os.kill(os.getpid(), signal.SIGSTOP)
    return answer

verbs = {
    "claim": lambda: [job.id for job in broker.claim(me, "alpha", 2, settled=held[:1]).jobs],
    "release": lambda: broker.release(held[:2], delay_ms=60_000, started=True),
    "heartbeat": lambda: [beat.alive for beat in broker.heartbeat([me], lease_ms=600_000)],
    "reap": lambda: broker.reap("alpha", me.id, suspect_ms=0).verdict,
}
with connections[alias].execute_wrapper(stop):
    try:
        print(json.dumps(verbs[verb]()))
    except BrokerUnavailable as error:
        print(json.dumps("unavailable"))
"""


@pytest.fixture(params=["postgres", "mariadb"])
def alias(request: pytest.FixtureRequest) -> str:
    return alias_or_skip(request.param)


@pytest.fixture
def broker(alias: str) -> Iterator[DatabaseBroker]:
    with database_broker(alias, LISTEN=False) as made:
        yield made


T = TypeVar("T")
Freeze = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def freeze(alias: str, child_environment: Callable[..., dict[str, str]]) -> Iterator[Freeze]:
    """Return a function that has a process freeze in the middle of a verb, and waits until it has."""
    started: list[subprocess.Popen[str]] = []

    def start(
        verb: str, words: str, me: Consumer, held: Sequence[Claimed], *, silence_ms: int = 1000
    ) -> subprocess.Popen[str]:
        given = json.dumps([me.id, [[*job[:2], job.body.decode(), *job[3:]] for job in held]])
        process = subprocess.Popen(
            [sys.executable, "-c", FROZEN, alias, verb, words, str(silence_ms), given],
            env=child_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        until(lambda: state_of(process.pid) == "T" or process.poll() is not None)
        assert process.poll() is None
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def reap_until_all(broker: DatabaseBroker, silent: Consumer) -> list[str]:
    """Reap as keepers do, at each heartbeat, until nothing is left. Return what has been given back."""
    moved: list[str] = []

    def is_all() -> bool:
        answer = promptly(lambda: broker.reap("alpha", silent.id, suspect_ms=0))
        moved.extend(answer.moved)
        return answer.verdict == "reaped"

    until(is_all, timeout=15)
    return moved


def promptly(action: Callable[[], T]) -> T:
    """Do what must not wait for a lock that somebody else holds."""
    began = time.monotonic()
    answer = action()
    assert time.monotonic() - began < 2.0
    return answer


def thawed(process: subprocess.Popen[str]) -> str:
    os.kill(process.pid, signal.SIGCONT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return said.strip()


def test_one_that_is_frozen_while_it_settles(broker: DatabaseBroker, freeze: Freeze):
    broker.enqueue(messages(4))
    silent, held = silent_consumer(broker)
    frozen = freeze("release", "FOR UPDATE", silent, held)
    assert broker.reap("alpha", silent.id, suspect_ms=0).verdict == "suspected"
    answer = promptly(lambda: broker.reap("alpha", silent.id, suspect_ms=0))
    assert (answer.verdict, sorted(answer.moved)) == ("locked", sorted(ids(held[2:])))
    assert [info.id for info in broker.consumers(["alpha"])] == [silent.id], "jobs without a lease would be nobody's"
    assert sorted(reap_until_all(broker, silent)) == sorted(ids(held[:2]))
    assert state_of(frozen.pid) == "T"
    assert places(broker, held) == {Place.READY}
    other = consumer(broker)
    again = [job for _ in held for job in claim(broker, other)]
    assert json.loads(thawed(frozen)) == ids(held[:2])
    assert [(job.id, job.deliveries) for job in again] == [(job.id, 1) for job in held]
    assert broker.ack(again) == []


def test_one_that_is_frozen_while_it_claims(broker: DatabaseBroker, alias: str, freeze: Freeze):
    broker.enqueue(messages(1))
    silent, held = silent_consumer(broker)
    sent = messages(4)
    broker.enqueue(sent)
    words = {"postgresql": "mine AS MATERIALIZED", "mysql": "SET state = 2"}[connections[alias].vendor]
    frozen = freeze("claim", words, silent, held)
    other = consumer(broker)
    assert ids(promptly(lambda: claim(broker, other))) == ids(sent[2:])
    assert promptly(lambda: broker.reap("alpha", silent.id, suspect_ms=0)).verdict == "locked"
    assert reap_until_all(broker, silent) == ids(held)
    assert state_of(frozen.pid) == "T"
    assert places(broker, [*held, *sent[:2]]) == {Place.READY}
    assert thawed(frozen) == '"unavailable"'
    assert places(broker, [*held, *sent[:2]]) == {Place.READY}


def test_one_that_is_frozen_while_it_renews_its_lease(broker: DatabaseBroker, freeze: Freeze):
    broker.enqueue(messages(2))
    silent, held = silent_consumer(broker)
    frozen = freeze("heartbeat", "suspected = NULL", silent, held)
    assert promptly(lambda: broker.reap("alpha", silent.id, suspect_ms=0)).verdict == "locked"
    assert sorted(reap_until_all(broker, silent)) == sorted(ids(held))
    assert state_of(frozen.pid) == "T"
    assert thawed(frozen) == "[false]"
    assert broker.consumers(["alpha"]) == []


def test_one_that_is_frozen_while_it_reaps(broker: DatabaseBroker, freeze: Freeze):
    broker.enqueue(messages(2))
    silent, held = silent_consumer(broker)
    broker.reap("alpha", silent.id, suspect_ms=0)
    frozen = freeze("reap", "SELECT expires, suspected", silent, held)
    assert sorted(reap_until_all(broker, silent)) == sorted(ids(held))
    assert state_of(frozen.pid) == "T"
    assert thawed(frozen) == '"unknown"'
    again = claim(broker, consumer(broker))
    assert [job.deliveries for job in again] == [1]


def test_a_server_that_ends_nothing_holds_no_heartbeat_up(broker: DatabaseBroker, freeze: Freeze):
    """As on MySQL: who is frozen has locked the lease of one that lives, in the middle of looking at it."""
    mine, other = consumer(broker, lease_ms=1000), consumer(broker, lease_ms=1000)
    frozen = freeze("reap", "SELECT expires, suspected", mine, [], silence_ms=LONG_MS)
    began = time.monotonic()
    beats = broker.heartbeat([mine, other], lease_ms=LONG_MS)
    assert time.monotonic() - began < 4.0
    assert [beat.alive for beat in beats] == [True, True]
    left = {info.id: info.lease_ms for info in broker.consumers(["alpha"])}
    assert left[mine.id] <= 1000 < left[other.id]
    frozen.kill()
    until(lambda: broker.heartbeat([mine], lease_ms=LONG_MS) and not broker.expired(["alpha"]))


def test_a_keeper_goes_on_while_others_hold_what_it_is_to_give_back(broker: DatabaseBroker, freeze: Freeze, threads):
    """Even where the server does not end the transaction of the frozen."""
    broker.enqueue(messages(4))
    silent, held = silent_consumer(broker)
    dead = consumer(broker, "beta")
    broker.enqueue(messages(2, queue="beta"))
    left = claim(broker, dead)
    freeze("release", "FOR UPDATE", silent, held, silence_ms=LONG_MS)
    freeze("release", "FOR UPDATE", dead, left[:1], silence_ms=LONG_MS)
    mine = consumer(broker)
    config = WorkerConfig(name="w", queues=(("alpha", 1), ("beta", 1)), heartbeat_ms=100, lease_ms=3000, suspect_ms=500)
    supervisor, own = Channel.pair()
    keeper = Keeper(broker, MemoryStore(), config, own)
    supervisor.send(what="lives", consumer=mine.id, queues=mine.queues)
    supervisor.send(what="died", consumer=dead.id, queues=dead.queues, running=[], ended={}, where="")
    kept = threads.submit(keeper.run)
    silences: list[float] = []
    until(lambda: place(broker, held[3]) is Place.READY and place(broker, left[1].id, "beta") is Place.READY, 10)
    began = heard = time.monotonic()
    while time.monotonic() - began < 3.0:
        if any(message["what"] == "alive" for message in supervisor.receive(0.1)):
            silences.append(time.monotonic() - heard)
            heard = time.monotonic()
    assert len(silences) > 5
    assert max(silences) < 2.0
    assert mine.id not in {holder for _, holder in broker.expired(["alpha"])}
    assert places(broker, held[:2]) == {place(broker, left[0].id, "beta")} == {Place.IN_FLIGHT}
    supervisor.send(what="stop")
    kept.result(20)
    supervisor.close()
    own.close()
