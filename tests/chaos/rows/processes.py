"""Rows that hit processes of the workers."""

from __future__ import annotations

import os
import signal
import time

from tests.chaos.eyes import Sight
from tests.chaos.hosts import Host, freeze, send, state_of
from tests.chaos.rows.base import ATOMIC, DATABASES, EVERYWHERE, REDIS, row
from tests.chaos.schedule import Moment
from tests.chaos.trial import LEASE, SUSPECT, Trial
from tests.chaos.verdict import Verdict

BOTH = (*REDIS, "postgres", "sqlite", "mariadb", *ATOMIC)


@row(1, "none", modes=EVERYWHERE, brief=("redis+outbox", "redis62", "cluster"), faults=0)
def nothing(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    return trial.finish(no_run_twice=True)


@row(2, "kill -9 a child", modes=(*EVERYWHERE, *ATOMIC), brief=("redis", "cluster", *DATABASES, *ATOMIC))
def kill_child(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for moment in trial.moments():
        strike_child(trial, moment)
    return trial.finish()


def strike_child(trial: Trial, moment: Moment) -> None:
    """Kill the child that a moment chooses, frozen first, so that what it held is known exactly."""
    pid = trial.candidate(moment)
    freeze([pid])
    with trial.fault(f"kill -9 child {pid}"):
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
    note_rerun(trial, pid, at)


def note_rerun(trial: Trial, pid: int, at: float) -> None:
    """Note how long it took until what the process was running ran again."""
    ran = [run.id for run in trial.ledger.executions() if run.pid == pid]
    ended = trial.rows.results() if ran else {}
    was_running = [job for job in ran[-1:] if job not in ended]
    if not was_running:
        return

    def again() -> list[float]:
        return [run.at for run in trial.ledger.executions() if run.id in was_running and run.at > at]

    trial.wait_for(again, "the job of a killed process to run again")
    trial.recovery.append(min(again()) - at)


@row(3, "kill -9 a whole worker", modes=BOTH, faults=2, most=4)
def kill_host(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for moment in trial.moments():
        kill_one_host(trial, trial.host(moment))
        trial.add_host()
    return trial.finish()


def kill_one_host(trial: Trial, host: Host) -> None:
    freeze([host.pid, *host.family()])
    trial.hosts.remove(host)
    with trial.fault(f"kill -9 {host.name}") as before:
        at = time.monotonic()
        host.kill()
    trial.wait_for(lambda: given_away(trial, before, at), "what the dead held to be given to others")
    trial.recovery.append(time.monotonic() - at)


def given_away(trial: Trial, before: Sight | None, since: float) -> bool:
    """
    Say whether those of the consumers that there were have been reaped who have been silent since that moment.

    How many they are nobody knows: a process that runs may be one that has lost its lease, or has none yet.
    """
    sight = trial.look()
    has_run_out = time.monotonic() - since > LEASE + 0.1
    return before is None or (has_run_out and sight is not None and not before.consumers & sight.silent)


@row(5, "SIGSTOP a child, longer than the lease", modes=BOTH, brief=("redis",), faults=1, most=3)
def freeze_child(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for moment in trial.moments():
        pid = trial.candidate(moment)
        with trial.fault(f"SIGSTOP child {pid} for {LEASE + SUSPECT + 1:.1f} s"):
            freeze([pid])
            trial.pass_time(LEASE + SUSPECT + 1)
            assert state_of(pid) == "T"
            os.kill(pid, signal.SIGCONT)
    return trial.finish(no_run_twice=True)


@row(6, "SIGSTOP a whole worker, longer than lease and suspicion", modes=BOTH, faults=1, most=3)
def freeze_host(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for moment in trial.moments():
        freeze_one_host(trial, trial.host(moment))
    return trial.finish()


def freeze_one_host(trial: Trial, host: Host) -> None:
    runners = host.runners()
    family = [host.pid, *host.family()]
    freeze(family)
    with trial.fault(f"SIGSTOP {host.name} until its jobs are given away") as before:
        at = time.monotonic()
        trial.wait_for(lambda: given_away(trial, before, at), "what the frozen held to be given to others")
        trial.recovery.append(time.monotonic() - at)
        trial.pass_time(1.0)
        send(family, signal.SIGCONT)
    # They find that they were taken for dead, end what they run, and are replaced.
    trial.wait_for(lambda: not set(host.runners()) & set(runners), "the fenced to be replaced")
