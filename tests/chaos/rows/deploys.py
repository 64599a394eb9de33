"""Rows about what operators do: deploy, share a Redis, configure it badly."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import uuid4

from tests.chaos.eyes import RedisEyes
from tests.chaos.hosts import ROOT, Host, launch
from tests.chaos.rows.base import DATABASES, EVERY_REDIS, REDIS, row
from tests.chaos.trial import Trial
from tests.chaos.verdict import Verdict


@row(27, "rolling deploy under load: TERM, and TERM twice", modes=(*REDIS, *DATABASES), faults=3, most=9)
def deploy(trial: Trial) -> Verdict:
    """Within the grace nothing runs twice; a second signal hands back what runs, and only that runs again."""
    again: Counter[str] = Counter()
    trial.start()
    trial.produce()
    for number, moment in enumerate(trial.moments()):
        host = trial.host(moment)
        trial.hosts.remove(host)
        trial.add_host()
        with trial.fault("TERM" if number % 3 < 2 else "TERM, and TERM again") as before:
            host.terminate()
            if number % 3 == 2:
                os.kill(host.pid, signal.SIGTERM)
                again.update(before.in_flight if before else ())
                again.update(run.id for run in trial.ledger.executions()[-20:])
            code = host.wait()
            trial.problems += [f"{host.name} ended with {code}"] if code and number % 3 < 2 else []
    return trial.finish(extra_runs=again)


@row(26, "old and new code and messages at once", modes=(*REDIS, *DATABASES), brief=("postgres",), faults=0)
def two_releases(trial: Trial) -> Verdict:
    """An old worker gives a new task back, for the new worker that comes; a message of the first release runs."""
    old = trial.start_old()
    trial.produce()
    trial.produce(jobs=5, task="newcomer")
    log = trial.directory / "old_message.log"
    trial.producers.append(
        launch("tests.chaos.old_message", str(trial.directory), environment=trial.environment(), log=log)
    )
    trial.wait_for(lambda: parked(trial) == 5, "the new task's jobs to be given back")
    trial.applied += ["a new task and an old worker", "an old message and a new worker"]
    trial.add_host()
    trial.hosts.remove(old)
    old.terminate()
    trial.problems += [f"the old worker ended with {code}" for code in [old.wait()] if code]
    return trial.finish(no_run_twice=True)


def parked(trial: Trial) -> int:
    sight = trial.look()
    return sight.counts["sched"] if sight else 0


@row(28, "two projects with one Redis and the same queues", modes=("redis", "cluster"), brief=("redis",), faults=0)
def two_prefixes(trial: Trial) -> Verdict:
    """Workers of one run nothing of the other, and lose nothing to it."""
    trial.start(hosts=1)
    trial.produce(jobs=trial.jobs // 2, backlog=trial.jobs)
    first, ours = trial.eyes, trial.prefix
    assert isinstance(first, RedisEyes)
    trial.jobs_settings["PREFIX"] = trial.prefix = f"c{uuid4().hex[:8]}"
    second = RedisEyes(first.port, trial.prefix, single_slot=first.single_slot)
    half = trial.jobs // 2
    trial.produce(jobs=half, backlog=trial.jobs)
    trial.wait_for(lambda: trial.rows.ended() == half and len(second.look().known) == half, "one of two to be done")
    if trial.ledger.started() != half:
        trial.problems.append(f"{trial.ledger.started()} jobs of {half} have run")
    trial.start(hosts=1)
    trial.eyes = second
    ghosts = first.look().left()
    trial.problems += [f"left under the prefix {ours}: {ghosts}"] if ghosts else []
    # The leases of the first project's worker are under its own prefix.
    trial.hosts[0].terminate()
    trial.hosts.pop(0).wait()
    trial.applied.append("two prefixes")
    return trial.finish(no_run_twice=True)


@row(16, "an eviction policy that throws jobs away", modes=("redis",), faults=0, jobs=10)
def eviction(trial: Trial) -> Verdict:
    """Nothing can help then, so the checks say it before."""
    assert isinstance(trial.eyes, RedisEyes)
    trial.eyes.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "django", "check", "--deploy"],
            env=trial.environment(),
            cwd=ROOT,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    finally:
        trial.eyes.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    if "allkeys-lru" not in done.stdout:
        trial.problems.append(f"the check says nothing: {done.stdout[-500:]}")
    trial.applied.append("allkeys-lru")
    trial.start(hosts=1)
    trial.produce()
    return trial.finish(no_run_twice=True)


@row(
    30, "forked processes share no connection", modes=(*EVERY_REDIS, "postgres", "mariadb"), brief=("redis",), faults=0
)
def own_connections(trial: Trial) -> Verdict:
    trial.start(concurrency=3)
    trial.produce()
    for share in (4, 2):
        trial.wait_started(trial.jobs // share)
        trial.applied.append("looked at the sockets")
        for host in trial.hosts:
            trial.problems += shared_sockets(host)
    return trial.finish(no_run_twice=True)


def shared_sockets(host: Host) -> list[str]:
    """Say which processes of a family have the same TCP connection open."""
    pids = [host.pid, *host.family()]
    tcp = {line.split()[9] for pid in pids for line in lines_of(f"/proc/{pid}/net/tcp")[1:]}
    open_here = {pid: {inode for inode in inodes_of(pid) if inode in tcp} for pid in pids}
    return [
        f"{one} and {other} of {host.name} share {open_here[one] & open_here[other]}"
        for one, other in itertools.combinations(pids, 2)
        if open_here[one] & open_here[other]
    ]


def lines_of(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def inodes_of(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass  # it has ended meanwhile
    return found
