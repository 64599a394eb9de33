"""Rows that hit the connections between workers and their servers."""

from __future__ import annotations

import time
from contextlib import ExitStack
from urllib.parse import urlsplit, urlunsplit

from django_jobs.brokers.redis.scripts import script
from tests.brokers.proxy import Proxy
from tests.chaos.eyes import RedisEyes
from tests.chaos.hosts import freeze
from tests.chaos.rows.base import ATOMIC, EVERY_REDIS, REDIS, row
from tests.chaos.rows.processes import given_away
from tests.chaos.schedule import Moment
from tests.chaos.trial import LEASE, SUSPECT, Trial
from tests.chaos.verdict import Verdict


def with_proxy(trial: Trial, opened: ExitStack) -> Proxy:
    """Put a proxy before the server of the broker."""
    if trial.mode.is_redis:
        proxy = opened.enter_context(Proxy(urlsplit(trial.broker_url).port or 0))
        trial.broker_url = proxy.url
    else:
        proxy = before_database(trial, opened)
    return proxy


def before_database(trial: Trial, opened: ExitStack) -> Proxy:
    """Put a proxy before the server of the database."""
    parts = urlsplit(trial.database_url)
    proxy = opened.enter_context(Proxy(parts.port or 0))
    address = f"{parts.username}@127.0.0.1:{proxy.port}"
    trial.database_url = urlunsplit(parts._replace(netloc=address))
    return proxy


@row(12, "CLIENT KILL of every connection", modes=EVERY_REDIS, faults=5)
def kill_clients(trial: Trial) -> Verdict:
    assert isinstance(trial.eyes, RedisEyes)
    trial.start()
    trial.produce()
    for _ in trial.moments():
        with trial.fault("CLIENT KILL"):
            killed = trial.eyes.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        trial.say(f"{killed} connections killed")
    return trial.finish(no_run_twice=True)


@row(17, "TCP cut, answers black-holed, +20 ms each way", modes=(*REDIS, "postgres", "mariadb"), faults=4)
def bad_network(trial: Trial) -> Verdict:
    with ExitStack() as opened:
        proxy = with_proxy(trial, opened)
        trial.start()
        trial.produce()
        for number, moment in enumerate(trial.moments()):
            (cut, black_hole_answers, delay, black_hole_questions)[number % 4](trial, proxy, moment)
        return trial.finish(no_run_twice=True)


def cut(trial: Trial, proxy: Proxy, moment: Moment) -> None:
    with trial.fault("TCP cut"):
        trial.say(f"{proxy.cut()} connections cut")


def black_hole_answers(trial: Trial, proxy: Proxy, moment: Moment) -> None:
    with trial.fault("answers disappear for a while, then the connections break"):
        proxy.swallow_answers = True
        trial.pass_time(1 + moment.share)
        proxy.swallow_answers = False
        proxy.cut()


def black_hole_questions(trial: Trial, proxy: Proxy, moment: Moment) -> None:
    with trial.fault("questions disappear for a while, then the connections break"):
        proxy.swallow_questions = True
        trial.pass_time(1 + moment.share)
        proxy.swallow_questions = False
        proxy.cut()


def delay(trial: Trial, proxy: Proxy, moment: Moment) -> None:
    with trial.fault("everything is late by 20 ms each way for 2 s"):
        proxy.delay = 0.02
        trial.pass_time(2)
        proxy.delay = 0.0


class Every:
    """Says yes to every so-manieth of what has one of these in it, and counts."""

    def __init__(self, number: int, *wanted: bytes) -> None:
        self.number, self.wanted = number, wanted
        self.seen = self.hits = 0

    def __call__(self, data: bytes) -> bool:
        if not any(word in data for word in self.wanted):
            return False
        self.seen += 1
        hit = self.seen % self.number == 0
        self.hits += hit
        return hit


def lose_answers(trial: Trial, proxy: Proxy, which: Every) -> Verdict:
    # A worker that cannot be sure of its database when it starts says so and ends.
    trial.wait_for(trial.is_complete, "the workers to be there")
    trial.produce()
    proxy.lose_answer_to = which
    found = trial.finish(no_run_twice=True)
    found.faults = which.hits
    if not which.hits:
        found.problems.append(f"no answer was lost: {which.wanted} was never said")
    return found


@row(18, "every 9th answer to a claim lost", modes=(*REDIS, "postgres"), faults=0)
def lost_claims(trial: Trial) -> Verdict:
    with ExitStack() as opened:
        proxy = with_proxy(trial, opened)
        trial.start()
        return lose_answers(trial, proxy, Every(9, script("claim").sha, b"taken AS"))


@row(21, "outcome of a commit unknown: cut at every 7th", modes=(*REDIS, "postgres"), faults=0)
def lost_commits(trial: Trial) -> Verdict:
    with ExitStack() as opened:
        direct = trial.database_url
        proxy = before_database(trial, opened)
        trial.start()
        trial.database_url = direct  # what the producer was promised is to be known
        return lose_answers(trial, proxy, Every(7, b"COMMIT", b"INSERT INTO django_jobs_jobresult"))


@row(
    3,
    "a worker's machine vanishes in the middle of a commit",
    modes=("redis+outbox", "postgres", "mariadb", *ATOMIC),
    brief=("postgres",),
    faults=0,
)
def vanish_in_commit(trial: Trial) -> Verdict:
    """
    Its transaction stays open, with the rows that it has locked: nothing tells the database that nobody is there.

    Until the server's TCP finds out, later than its lease is over: 25 seconds after it has vanished on PostgreSQL, as a
    worker asks for. The proxy does not wait for so long.
    """
    with ExitStack() as opened:
        direct = trial.database_url
        proxy = before_database(trial, opened)
        trial.start(hosts=1)
        trial.database_url = direct
        trial.produce()
        trial.open_gate(trial.jobs // 2)
        trial.wait_started(trial.jobs // 4)
        trial.add_host()
        trial.wait_for(trial.is_complete, "the workers to be there")
        proxy.vanish_at = lambda data: b"COMMIT" in data
        trial.open_gate(trial.jobs)
        trial.wait_for(lambda: proxy.has_vanished, "a commit")
        host = trial.hosts.pop(0)
        freeze([host.pid, *host.family()])
        with trial.fault(f"{host.name} vanishes") as before:
            at = time.monotonic()
            host.kill()
        trial.pass_time(LEASE + SUSPECT + 1)
        trial.say(f"the database notices: {proxy.cut()} connections are closed")
        trial.wait_for(lambda: given_away(trial, before, at), "what the vanished held to be given to others")
        trial.recovery.append(time.monotonic() - at)
        return trial.finish()
