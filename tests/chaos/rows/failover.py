"""Rows in which another Redis takes over."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

from tests.chaos.eyes import RedisEyes
from tests.chaos.hosts import freeze, send
from tests.chaos.laboratory import Missing
from tests.chaos.rows.base import REDIS, row
from tests.chaos.rows.redis_server import Losses, fill
from tests.chaos.trial import Trial
from tests.chaos.verdict import Verdict
from tests.services import RedisSentinelServer, RedisServer, binaries


class Pair:
    """A master, its replica and a Sentinel that watches them."""

    def __init__(self, trial: Trial, running: ExitStack) -> None:
        redis = binaries.redis7()
        if redis is None:
            raise Missing("NOT TESTED: redis-server is not on PATH")
        self.trial = trial
        self.master = running.enter_context(RedisServer(redis, None, trial.directory / "one"))
        follows = ("--replicaof", f"127.0.0.1 {self.master.port}")
        self.replica = running.enter_context(RedisServer(redis, None, trial.directory / "two", *follows))
        watcher = RedisSentinelServer(redis, None, trial.directory / "sentinel", self.master.port)
        self.sentinel = running.enter_context(watcher)
        trial.broker_url = self.sentinel.url
        self.watch(self.master)
        # A replica that is still waiting for its first copy is nobody's successor, whatever the Sentinel knows of it.
        trial.wait_for(lambda: is_copied(self.master), "the replica to have a copy")
        trial.wait_for(lambda: is_known(self.sentinel), "the Sentinel to know the replica")

    def watch(self, server: RedisServer) -> None:
        """Look at this server from now on."""
        self.trial.eyes = RedisEyes(server.port, self.trial.prefix)

    def takes_writes(self, server: RedisServer) -> bool:
        """Say whether this server is, or believes to be, the master."""
        return server.call("SET", "written", "1") == "+OK"


def is_known(sentinel: RedisServer) -> bool:
    """Say whether a Sentinel has found a replica to promote."""
    return sentinel.call("SENTINEL", "REPLICAS", "main") == "*1"


def is_copied(master: RedisServer) -> bool:
    """Say whether a replica has all that its master has."""
    return master.call("WAIT", "1", "100") == ":1"


@row(11, "Sentinel promotes a replica that lags", modes=REDIS, brief=REDIS, faults=1, most=1)
def promotion(trial: Trial) -> Verdict:
    """Everything from a moment on is told to a master that nobody copies any more, and then it dies."""
    losses = Losses(trial)
    with ExitStack() as running:
        pair = Pair(trial, running)
        trial.start()
        trial.produce(backlog=trial.jobs)  # some must be sent while nobody runs any
        for _ in trial.moments():
            assert pair.replica.process is not None
            send([pair.replica.process.pid], signal.SIGSTOP)
            pair.master.call("CLIENT", "KILL", "TYPE", "replica")
            freeze(runners_of(trial))
            fill(trial, trial.ledger.promised() + 60)
            with trial.fault("the master dies with jobs that its replica has not seen") as before:
                pair.master.kill()
                tried = trial.ledger.tried()
                send(runners_of(trial), signal.SIGCONT)
                send([pair.replica.process.pid], signal.SIGCONT)
                trial.wait_for(lambda: pair.takes_writes(pair.replica), "the replica to be promoted")
            at = time.monotonic()
            pair.watch(pair.replica)
            sight = trial.look()
            assert sight is not None
            assert before is not None
            recent = frozenset(run.id for run in trial.ledger.executions()[-20:])
            losses.rolled_back(tried, sight.known, before.in_flight | recent)
            trial.recovery.append(trial.next_run(at))
        return losses.verdict()


@row(11, "Sentinel fails over on purpose", modes=REDIS, faults=1, most=1)
def failover(trial: Trial) -> Verdict:
    """For some seconds there are two masters; what the old one is told meanwhile is forgotten when it is demoted."""
    losses = Losses(trial)
    with ExitStack() as running:
        pair = Pair(trial, running)
        trial.start()
        trial.produce()
        for moment in trial.moments():
            with trial.fault("SENTINEL FAILOVER") as before:
                trial.wait_for(lambda: pair.sentinel.call("SENTINEL", "FAILOVER", "main") == "+OK", "a failover")
                trial.wait_for(lambda: pair.takes_writes(pair.replica), "the replica to be promoted")
                trial.open_gate(moment.after + 60)
                trial.wait_for(lambda: not pair.takes_writes(pair.master), "the old master to be demoted", stall=90)
                tried = trial.ledger.tried()
            at = time.monotonic()
            pair.watch(pair.replica)
            sight = trial.look()
            assert sight is not None
            assert before is not None
            recent = frozenset(run.id for run in trial.ledger.executions()[-100:])
            losses.rolled_back(tried, sight.known, before.in_flight | recent)
            trial.recovery.append(trial.next_run(at))
        return losses.verdict()


def runners_of(trial: Trial) -> list[int]:
    return [pid for host in trial.hosts for pid in host.runners()]
