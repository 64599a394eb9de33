"""Rows that hit the Redis server."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

from django_jobs.brokers.base import BaseBroker
from tests.chaos.eyes import LOOK, RedisEyes, Sight
from tests.chaos.laboratory import AOF
from tests.chaos.rows.base import EVERY_REDIS, REDIS, row
from tests.chaos.schedule import Moment
from tests.chaos.trial import LEASE, SUSPECT, Trial
from tests.chaos.verdict import Verdict
from tests.services import RedisServer

LOOK_AND_FLUSH = LOOK.replace("return {counts", "call('FLUSHALL')\nreturn {counts")


def server_of(trial: Trial) -> RedisServer:
    assert trial.redis is not None
    return trial.redis


def eyes_of(trial: Trial) -> RedisEyes:
    assert isinstance(trial.eyes, RedisEyes)
    return trial.eyes


@row(7, "kill -9 of Redis, AOF", modes=EVERY_REDIS, redis_arguments=AOF)
def kill_redis(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for _ in trial.moments():
        with trial.fault("kill -9 Redis"):
            server_of(trial).kill()
        server_of(trial).start()
        trial.recovery.append(trial.next_run(time.monotonic()))
    return trial.finish(no_run_twice=True)


@row(8, "Redis down, longer than lease and suspicion", modes=REDIS, faults=1, most=3, redis_arguments=AOF)
def redis_down(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for moment in trial.moments():
        stay_down(trial, LEASE + SUSPECT + 1 + 2 * moment.share)
    return trial.finish(no_run_twice=True)


def stay_down(trial: Trial, seconds: float) -> None:
    with trial.fault(f"Redis down for {seconds:.1f} s"):
        server_of(trial).kill()
        trial.pass_time(seconds)
    server_of(trial).start()
    trial.recovery.append(trial.next_run(time.monotonic()))


@row(8, "Redis down for a minute", modes=("redis",), faults=1, most=1, brief=(), redis_arguments=AOF)
def redis_down_for_a_minute(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for _ in trial.moments():
        stay_down(trial, 60)
    return trial.finish(no_run_twice=True)


class Losses:
    """What a Redis that loses data may cost, and which jobs may run again because of it."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.lost: set[str] = set()
        self.again: Counter[str] = Counter()

    def gone(self, known: frozenset[str], running: frozenset[str]) -> None:
        """Redis has forgotten these. The outbox knows them still, and sends them again, those that run included."""
        if self.trial.mode.outbox:
            self.again.update(running)
        else:
            self.lost |= known

    def rolled_back(self, tried: set[str], known: frozenset[str], running: frozenset[str]) -> None:
        """
        Redis has an older state: what came later is unknown to it, and what was acked since is there again.

        ``tried``: what was sent before; with the one job whose promise the producer had yet to write down.
        """
        if not self.trial.mode.outbox:
            self.lost |= tried - known
        if self.trial.mode.outbox or hasattr(BaseBroker, "continuity"):
            self.again.update(running)  # of all others it is known that they have ended
        else:
            self.again.update(known)

    def verdict(self) -> Verdict:
        ended = set(self.trial.rows.results())
        self.trial.notes.append(f"{len(self.lost)} jobs were in Redis only")
        return self.trial.finish(may_be_lost=self.lost - ended, extra_runs=self.again)


@row(9, "FLUSHALL, empty restart", modes=EVERY_REDIS, brief=REDIS, faults=2)
def empty_redis(trial: Trial) -> Verdict:
    losses = Losses(trial)
    trial.start()
    trial.produce()
    for number, _ in enumerate(trial.moments()):
        if number % 2 == 0:
            with trial.fault("FLUSHALL"):
                sight = eyes_of(trial).look(LOOK_AND_FLUSH)
                losses.gone(sight.known, sight.in_flight)
        else:
            with trial.fault("kill -9 and an empty restart") as before:
                acked = trial.ledger.acked()
                server_of(trial).kill()
                assert before is not None
                later = trial.ledger.tried() - acked
                losses.gone(before.known | later, before.in_flight | started_since(trial, before))
            server_of(trial).start()
        trial.next_run(time.monotonic())
    return losses.verdict()


def started_since(trial: Trial, before: Sight) -> frozenset[str]:
    """Return what may have started between the look and the fault that followed at once."""
    return frozenset(run.id for run in trial.ledger.executions()[-20:])


@row(10, "AOF tail cut, as by a power loss", modes=(*REDIS, "redis62"), brief=REDIS, faults=2, redis_arguments=AOF)
def cut_aof(trial: Trial) -> Verdict:
    losses = Losses(trial)
    trial.start()
    trial.produce()
    for moment in trial.moments():
        with trial.fault("kill -9 and a lost tail of the AOF") as before:
            server_of(trial).kill()
            tried = trial.ledger.tried()
            kept = cut_file(aof_of(server_of(trial)), 0.5 + moment.share * 0.45)
        assert before is not None
        server_of(trial).start()
        # Redis keeps a transaction whose end is missing in its file, and mixes it with the next one at the next start.
        eyes_of(trial).ask("BGREWRITEAOF")
        sight = trial.look()
        assert sight is not None
        trial.say(f"{kept:.0%} of the AOF are left, with {len(sight.known)} of {len(tried)} jobs")
        losses.rolled_back(tried, sight.known, before.in_flight | started_since(trial, before))
        trial.next_run(time.monotonic())
    return losses.verdict()


def aof_of(server: RedisServer) -> Path:
    parts = sorted(server.directory.glob("appendonlydir/*.incr.aof")) or [server.directory / "appendonly.aof"]
    return parts[-1]


def cut_file(path: Path, share: float) -> float:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(int(size * share))
    return share


@row(13, "SCRIPT FLUSH", modes=EVERY_REDIS, faults=20)
def flush_scripts(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for _ in trial.moments():
        with trial.fault("SCRIPT FLUSH"):
            eyes_of(trial).ask("SCRIPT", "FLUSH")
    return trial.finish(no_run_twice=True)


@row(14, "maxmemory, noeviction", modes=EVERY_REDIS, faults=1, most=1)
def full_memory(trial: Trial) -> Verdict:
    """Fill a queue, take away all memory, and let workers that start only then drain it."""
    trial.produce(backlog=trial.jobs)
    for moment in trial.moments_planned:
        fill(trial, moment.after)
        with trial.fault("no memory left"):
            eyes_of(trial).ask("CONFIG", "SET", "maxmemory", "1")
            trial.open_gate(trial.jobs)
            try:
                trial.start()
                trial.wait_for(lambda: is_drained(trial), "the queue to be drained without memory")
                refused = "OOM" in (trial.directory / "producer0.log").read_text()
                trial.problems += [] if refused or trial.mode.outbox else ["sending was not refused"]
            finally:
                eyes_of(trial).ask("CONFIG", "SET", "maxmemory", "0")
    return trial.finish(no_run_twice=True)


def fill(trial: Trial, jobs: int) -> None:
    trial.open_gate(jobs)
    trial.wait_for(lambda: trial.ledger.promised() >= jobs, "a queue that is full")


def is_drained(trial: Trial) -> bool:
    sight = trial.look()
    return sight is not None and not sight.known


@row(15, "READONLY, NOREPLICAS, MISCONF, LOADING", modes=(*REDIS, "redis62"), faults=4, most=8, redis_arguments=AOF)
def refusing_redis(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for number, moment in enumerate(trial.moments()):
        (readonly, noreplicas, misconf, loading)[number % 4](trial, moment)
        trial.recovery.append(trial.next_run(time.monotonic()))
    return trial.finish(no_run_twice=True)


def readonly(trial: Trial, moment: Moment) -> None:
    with trial.fault("READONLY: made a replica of nobody, and a master again"):
        eyes_of(trial).ask("REPLICAOF", "127.0.0.1", "1")
        trial.pass_time(1 + 2 * moment.share)
        eyes_of(trial).ask("REPLICAOF", "NO", "ONE")


def noreplicas(trial: Trial, moment: Moment) -> None:
    with trial.fault("NOREPLICAS"):
        eyes_of(trial).ask("CONFIG", "SET", "min-replicas-to-write", "1")
        trial.pass_time(1 + 2 * moment.share)
        eyes_of(trial).ask("CONFIG", "SET", "min-replicas-to-write", "0")


def misconf(trial: Trial, moment: Moment) -> None:
    """A snapshot that cannot be written, here because its name is taken by a directory."""
    ask, obstacle = eyes_of(trial).ask, server_of(trial).directory / "dump.rdb"
    with trial.fault("MISCONF: the disk cannot be written"):
        obstacle.unlink(missing_ok=True)
        obstacle.mkdir()
        (obstacle / "file").touch()
        ask("CONFIG", "SET", "save", "3600 1000000")
        ask("BGSAVE")
        trial.wait_for(lambda: "rdb_last_bgsave_status:err" in info(trial), "a snapshot to fail")
        trial.pass_time(1 + 2 * moment.share)
        ask("CONFIG", "SET", "save", "")
        shutil.rmtree(obstacle)


def info(trial: Trial) -> str:
    answer = eyes_of(trial).ask("INFO", "persistence")
    return "\n".join(f"{key}:{value}" for key, value in answer.items())


def loading(trial: Trial, moment: Moment) -> None:
    """A restart that takes its time to load."""
    server = server_of(trial)
    extra = server.extra_args
    server.extra_args = (*extra, "--key-load-delay", str(100 + int(200 * moment.share)))
    with trial.fault("LOADING: a slow restart"):
        server.kill()
        server.start()
    server.extra_args = extra
    eyes_of(trial).ask("CONFIG", "SET", "key-load-delay", "0")


EXPIRE_ALL = """
    local all = redis.call('ZRANGE', KEYS[1], 0, -1)
    for _, consumer in ipairs(all) do redis.call('ZADD', KEYS[1], ARGV[1], consumer) end
"""


@row(22, "the broker's clock jumps an hour ahead", modes=(*EVERY_REDIS, "postgres", "sqlite", "mariadb"), faults=5)
def clock_jump(trial: Trial) -> Verdict:
    """All leases are over at once. Whoever lives says so again before anybody is given up."""
    trial.start()
    trial.produce()
    for _ in trial.moments():
        with trial.fault("all leases end an hour ago"):
            past = int(time.time() * 1000) - 3_600_000
            if trial.mode.is_redis:
                eyes = eyes_of(trial)
                eyes.ask("EVAL", EXPIRE_ALL, 1, f"{eyes.base}consumers", past)
            else:
                trial.rows.ask(f"UPDATE django_jobs_consumerlease SET expires = {past}")
    return trial.finish(no_run_twice=True)
