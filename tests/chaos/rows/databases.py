"""Rows that hit the database: of the results, and of the broker where it lives there."""

from __future__ import annotations

import time
from collections import Counter

from tests.chaos.rows.base import ATOMIC, REDIS, row
from tests.chaos.trial import LEASE, SUSPECT, Trial
from tests.chaos.verdict import Verdict
from tests.services import Server


def server_of(trial: Trial) -> Server:
    return trial.laboratory.database_server(trial.mode.database)


@row(
    19,
    "kill -9 of the database, immediate restart",
    modes=(*REDIS, "postgres", "mariadb"),
    faults=2,
    most=8,
)
def kill_database(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for _ in trial.moments():
        server = server_of(trial)
        with trial.fault(f"kill -9 {server.name}"):
            server.kill()
        server.start()
        trial.recovery.append(trial.next_run(time.monotonic()))
    return trial.finish(no_run_twice=True)


@row(19, "kill -9 of the database under atomic jobs", modes=ATOMIC, brief=ATOMIC, faults=3, most=8)
def kill_database_under_atomic_jobs(trial: Trial) -> Verdict:
    """What ran is undone, and runs again."""
    again: Counter[str] = Counter()
    trial.start()
    trial.produce(arguments=[40])
    for _ in trial.moments():
        server = server_of(trial)
        with trial.fault(f"kill -9 {server.name}") as before:
            server.kill()
        server.start()
        again.update(before.in_flight if before else ())
        trial.recovery.append(trial.next_run(time.monotonic()))
        # With Redis jobs go on being claimed while the database is away, and none of them can begin.
        again.update(run.id for run in trial.ledger.executions()[-50:])
    return trial.finish(extra_runs=again)


@row(
    20, "database down, longer than lease and suspicion", modes=(*REDIS, "postgres"), brief=("redis",), faults=1, most=3
)
def database_down(trial: Trial) -> Verdict:
    trial.start()
    trial.produce()
    for moment in trial.moments():
        server = server_of(trial)
        seconds = LEASE + SUSPECT + 1 + 2 * moment.share
        with trial.fault(f"{server.name} down for {seconds:.1f} s"):
            server.kill()
            trial.pass_time(seconds)
        server.start()
        trial.recovery.append(trial.next_run(time.monotonic()))
    return trial.finish(no_run_twice=True)
