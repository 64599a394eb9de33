"""Canvases under every fault: each goes through all of its steps, and does what it means."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from tests.chaos import verdict as judge
from tests.chaos.eyes import DatabaseEyes
from tests.chaos.hosts import ROOT, Stalled, freeze, launch, send
from tests.chaos.laboratory import AOF
from tests.chaos.rows.base import row
from tests.chaos.rows.databases import server_of as database_of
from tests.chaos.rows.processes import given_away, kill_one_host
from tests.chaos.rows.redis_server import LOOK_AND_FLUSH, eyes_of, server_of
from tests.chaos.schedule import Moment
from tests.chaos.tables import Unreadable
from tests.chaos.trial import STALL_SECONDS, Trial
from tests.chaos.verdict import Verdict

#: A message is as long as the signature of its step and this, whatever is around it.
ENVELOPE = 300
ATOMIC = "tests.workflow.atomic_act"
FLAGS = ("--threads", "3")

#: What must be empty in the end.
UNFINISHED = {
    "workflows that have not ended": "FROM django_jobs_workflow WHERE finished_at IS NULL OR remaining <> 0",
    "barriers that are open": "FROM django_jobs_workflowbarrier WHERE resolved IS NULL",
    "steps that have neither run nor a cause": "FROM django_jobs_workflowstep WHERE opened IS NULL AND cause IS NULL",
    "steps without an end": """FROM django_jobs_workflowstep s WHERE NOT EXISTS (SELECT 1 FROM django_jobs_jobresult r
        WHERE r.id = s.id AND r.state IN ('SUCCESS', 'FAILURE', 'REVOKED'))""",
    "members whose barrier is not there": """FROM django_jobs_workflowmember m WHERE NOT EXISTS
        (SELECT 1 FROM django_jobs_workflowbarrier b WHERE b.id = m.barrier)""",
    "jobs in the outbox": "FROM django_jobs_outboxjob",
    "jobs in the queue": "FROM django_jobs_queuedjob",
}
WIDTHS = """
    SELECT MAX(LENGTH(j.{column}) - LENGTH(s.signature)) FROM {table} j JOIN django_jobs_workflowstep s ON s.id = j.id
"""


class Canvases:
    """A trial whose jobs are those of random canvases."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        #: What may run again besides what dead processes held.
        self.again: Counter[str] = Counter()
        #: What an atomic job had done when the database died is undone, and runs again.
        self.undone: set[str] = set()
        self.widest = 0
        if isinstance(trial.eyes, DatabaseEyes):
            trial.eyes.together = False  # some are atomic: they commit their end, and leave the queue a moment later
        trial.jobs_settings["MIDDLEWARE"] = ["tests.chaos.site.layers.WritesDown"]
        self.margin = max(5, trial.jobs // 10)

    def start(self) -> None:
        trial = self.trial
        trial.start(flags=FLAGS)
        trial.open_gate(trial.moments_planned[0].after + self.margin if trial.moments_planned else sys.maxsize)
        flags = [str(trial.directory), f"--canvases={trial.jobs}", f"--seed={trial.seed}"]
        log = trial.directory / "producer0.log"
        trial.producers.append(launch("tests.chaos.compose", *flags, environment=trial.environment(), log=log))

    def moments(self) -> Iterator[Moment]:
        """Yield each moment when so many canvases were sent; a few are under way all the time."""
        for moment in self.trial.moments_planned:
            self.trial.wait_for(self.trial.is_complete, "the workers to be there")
            self.trial.open_gate(moment.after + self.margin)
            self.wait_sent(moment.after)
            self.measure()
            yield moment

    def wait_sent(self, count: int) -> None:
        self.trial.wait_for(lambda: self.trial.ledger.promised() >= count, f"{count} canvases to be sent")

    def measure(self) -> None:
        """Note how much longer than their signatures messages are."""
        for table, column in (("django_jobs_outboxjob", "message"), ("django_jobs_queuedjob", "body")):
            with suppress(Unreadable):
                ((found,),) = self.trial.rows.ask(WIDTHS.format(table=table, column=column))
                self.widest = max(self.widest, found or 0)

    # Faults

    def kill_child(self, moment: Moment) -> None:
        pid = self.trial.candidate(moment)
        freeze([pid])
        with self.trial.fault(f"kill -9 child {pid}"):
            os.kill(pid, signal.SIGKILL)

    def kill_host(self, moment: Moment) -> None:
        kill_one_host(self.trial, self.trial.host(moment))
        self.trial.add_host(2, *FLAGS)

    def freeze_host(self, moment: Moment) -> None:
        """Freeze a worker until its jobs are given away. Whoever had some finds that when it tells of their end."""
        trial, host = self.trial, self.trial.host(moment)
        family = [host.pid, *host.family()]
        freeze(family)
        trial.pass_time(0.3)  # what was on its way to the server when they were frozen is claimed by them, too
        with trial.fault(f"SIGSTOP {host.name} until its jobs are given away") as before:
            at = time.monotonic()
            trial.wait_for(lambda: given_away(trial, before, at), "what the frozen held to be given to others")
            trial.pass_time(1.0)
            send(family, signal.SIGCONT)

    def flush_redis(self, moment: Moment) -> None:
        with self.trial.fault("FLUSHALL"):
            self.again.update(eyes_of(self.trial).look(LOOK_AND_FLUSH).in_flight)

    def kill_redis(self, moment: Moment) -> None:
        with self.trial.fault("kill -9 Redis"):
            server_of(self.trial).kill()
            self.trial.pass_time(moment.share)
        server_of(self.trial).start()

    def kill_database(self, moment: Moment) -> None:
        server, began = database_of(self.trial), time.monotonic()
        with self.trial.fault(f"kill -9 {server.name}") as before:
            server.kill()
            self.trial.pass_time(moment.share)
        server.start()
        if before is not None:
            self.undone |= before.in_flight
        self.trial.next_run(time.monotonic())
        self.undone.update(run.id for run in self.trial.ledger.executions() if run.at >= began)

    # The end

    def finish(self) -> Verdict:
        trial = self.trial
        trial.open_gate(sys.maxsize)
        self._wait_for_ends()
        survivors = trial.wait_for_quiet()
        trial.stop_hosts()
        compared = self._compare()
        again = Counter(compared["again"])
        atomic = {job for job, result in trial.rows.results().items() if result.task == ATOMIC}
        allowed = judge.allowance(trial.hit, survivors) + self.again + Counter(self.undone & atomic)
        problems = [*trial.problems, *self.unfinished(), *compared["problems"][:10]]
        runs = trial.ledger.by_job()
        problems += [
            f"{job} ran {count} times more than explained: {runs[job]}" for job, count in (again - allowed).items()
        ]
        problems += [f"written over, or done again: {found}" for found in trial.rows.overwritten()[:5]]
        if self.widest > ENVELOPE:
            problems.append(f"a message is {self.widest} bytes longer than its signature")
        ((steps,),) = trial.rows.ask("SELECT COUNT(*) FROM django_jobs_workflowstep")
        found = Verdict(
            row=trial.row,
            fault=trial.name,
            mode=trial.mode.name,
            seed=trial.seed,
            jobs=steps,
            faults=len(trial.applied),
            lost=0,
            twice=len(again),
            bound=sum(allowed.values()),
            recovery=trial.recovery,
            seconds=time.monotonic() - trial.begun,
            problems=problems,
        )
        trial.say(f"{found}; {trial.ledger.promised()} canvases, messages at most {self.widest} bytes longer")
        if not found.ok:
            trial.show_logs()
        return found

    def _wait_for_ends(self) -> None:
        trial = self.trial

        def is_over() -> bool:
            with suppress(Unreadable):
                return all(producer.poll() is not None for producer in trial.producers) and not self.unfinished()
            return False

        try:
            trial.wait_for(is_over, "all canvases to end", stall=2 * STALL_SECONDS)
        except Stalled as error:
            trial.problems.append(str(error))
        trial.problems += [f"the producer ended with {one.returncode}" for one in trial.producers if one.poll()]

    def unfinished(self) -> list[str]:
        """Say what has not come to its end."""
        found = []
        for what, where in UNFINISHED.items():
            ((count,),) = self.trial.rows.ask(f"SELECT COUNT(*) {where}")
            found += [f"{count} {what}"] if count else []
        return found

    def _compare(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.chaos.compose", str(self.trial.directory), "--compare"]
        done = subprocess.run(
            command, env=self.trial.environment(), cwd=ROOT, check=False, text=True, capture_output=True
        )
        if done.returncode:
            return {"problems": [f"the canvases could not be compared: {done.stderr[-2000:]}"], "again": {}}
        compared: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return compared


def faults_of(canvases: Canvases) -> list[Callable[[Moment], None]]:
    """Return the faults of a mode, in turn."""
    found: list[Callable[[Moment], None]] = [canvases.kill_child, canvases.kill_host]
    if canvases.trial.mode.is_redis:
        found[1:1] = [canvases.flush_redis, canvases.kill_redis]
    if canvases.trial.mode.database != "sqlite":
        found[2:2] = [canvases.kill_database]
        found += [canvases.freeze_host]  # one that is frozen with SQLite's one lock keeps everybody from writing
    return found


@row(
    31,
    "canvases, while everything is killed in turn",
    modes=("redis", "postgres", "sqlite", "mariadb"),
    brief=("redis", "postgres", "sqlite"),
    jobs=30,
    faults=5,
    most=60,
    redis_arguments=AOF,
    needs=(".workflow",),
)
def canvases_under_fire(trial: Trial) -> Verdict:
    canvases = Canvases(trial)
    canvases.start()
    faults = faults_of(canvases)
    try:
        for number, moment in enumerate(canvases.moments()):
            faults[number % len(faults)](moment)
            canvases.measure()
    except Stalled as error:  # what is right for single jobs says nothing of canvases
        trial.problems.append(str(error))
        trial.thaw()
    return canvases.finish()
