"""Rows in which the jobs themselves are the fault."""

from __future__ import annotations

from collections import Counter

from tests.chaos.hosts import launch
from tests.chaos.rows.base import DATABASES, EVERY_REDIS, REDIS, row
from tests.chaos.trial import LEASE, SUSPECT, Trial
from tests.chaos.verdict import Verdict

#: A job that has ended, but whose result was not committed when its process died, ended at most so long before.
UNRECORDED_SECONDS = 1.0


@row(23, "poison jobs: killed, segmentation fault, exit", modes=(*EVERY_REDIS, *DATABASES), faults=3, most=12, jobs=300)
def poison(trial: Trial) -> Verdict:
    """Three crashes each, then it fails; what ran beside it runs once more at most, after the first crash."""
    kinds = [("killed", "segfault", "exit")[number % 3] for number in range(trial.faults)]
    trial.produce(backlog=trial.jobs)
    for kind in kinds:
        trial.produce(jobs=1, task="die", arguments=[kind])
        trial.applied.append(kind)
    trial.start()
    trial.wait_for(lambda: len(poisoned(trial)) == len(kinds), "the poison jobs to fail")
    ids = poisoned(trial)
    allowed = mates_of(trial, ids)
    for job in ids:
        allowed[job] = 2
    verdict = trial.finish(extra_runs=allowed, expected=dict.fromkeys(ids, "FAILURE"))
    results, runs = trial.rows.results(), trial.ledger.by_job()
    for job in ids:
        if len(runs[job]) != 3 or not results[job].exception_type.endswith("WorkerLost"):
            verdict.problems.append(f"{job} ran {len(runs[job])} times and ended as {results[job].exception_type}")
    return verdict


def poisoned(trial: Trial) -> list[str]:
    return [job for job, row in trial.rows.results().items() if row.task.endswith(".die") and row.state == "FAILURE"]


def mates_of(trial: Trial, ids: list[str]) -> Counter[str]:
    """
    Count the runs in the same process right before a poison job: their ends may not have been recorded. One job may
    have been beside several.
    """
    runs = trial.ledger.executions()
    crashes = [run for run in runs if run.id in ids]
    return Counter(
        run.id
        for run in runs
        if run.id not in ids
        and any(run.pid == crash.pid and 0 <= crash.at - run.at < UNRECORDED_SECONDS for crash in crashes)
    )


@row(
    24,
    "the interpreter held for longer than lease and suspicion",
    modes=(*REDIS, *DATABASES),
    brief=("redis",),
    faults=1,
    most=4,
    jobs=300,
)
def held_interpreter(trial: Trial) -> Verdict:
    """A C extension that lets go of nothing: its lease is renewed, and it runs once."""
    trial.start()
    trial.produce()
    for _ in range(trial.faults):
        trial.applied.append("held")
        trial.produce(jobs=1, task="hold_the_interpreter", arguments=[LEASE + SUSPECT + 1.5])
    return trial.finish(no_run_twice=True)


@row(
    24,
    "the interpreter held for a minute, against a time limit",
    modes=(*REDIS, "postgres"),
    brief=("redis",),
    faults=1,
    most=6,
    jobs=300,
    needs=("time_limit",),
)
def held_interpreter_with_limit(trial: Trial) -> Verdict:
    """The parent kills the process: the job ends, and what only waited beside it is not charged for it."""
    trial.start()
    trial.produce()
    for _ in range(trial.faults):
        trial.applied.append("held against a limit")
        trial.produce(jobs=1, task="hold_the_interpreter", arguments=[60], time_limit=2)
    trial.wait_for(lambda: len(limited(trial)) == trial.faults, "the limit to be enforced")
    ids = limited(trial)
    verdict = trial.finish(extra_runs=mates_of(trial, ids), expected=dict.fromkeys(ids, "FAILURE"))
    results = trial.rows.results()
    for job in ids:
        if not results[job].exception_type.endswith("TimeLimitExceeded"):
            verdict.problems.append(f"{job} ended as {results[job].exception_type}")
    return verdict


def limited(trial: Trial) -> list[str]:
    return [job for job, row in trial.rows.results().items() if row.task.endswith("_interpreter")]


@row(25, "unreadable, unknown, too new and too large messages", modes=(*REDIS, *DATABASES), faults=4, most=4, jobs=300)
def misfits(trial: Trial) -> Verdict:
    """None of them stops a worker, and each comes to an end that says why."""
    trial.jobs_settings["UNKNOWN_TASK_TTL"] = 0.001
    trial.start()
    trial.produce()
    log = trial.directory / "misfits.log"
    trial.producers.append(
        launch("tests.chaos.misfits", str(trial.directory), environment=trial.environment(), log=log)
    )
    kinds = ["unreadable", "unknown task", "too new", "too large"]
    trial.applied += kinds
    trial.wait_for(lambda: len(misfitting(trial)) == 3, "what cannot run to fail")
    failed = misfitting(trial)
    verdict = trial.finish(no_run_twice=True, expected=dict.fromkeys(failed, "FAILURE"))
    if "PayloadTooLarge" not in log.read_text():
        verdict.problems.append("a message of 10 MB was not refused")
    return verdict


def misfitting(trial: Trial) -> list[str]:
    return [job for job, row in trial.rows.results().items() if row.state == "FAILURE"]
