"""
Beats that are killed all the time, and the ledger of what they have done.

``python -m tests.beat.storm 5 0.25`` keeps five beats, kills one of them every quarter of a second, and ends at TERM.
The beats are forks of one process that has loaded everything: a new interpreter would be killed while it starts.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import django
from django.apps import apps
from django.db import connections

if not apps.ready:  # run as a program
    django.setup()

from django_jobs.beat.beat import Beat
from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.models.outbox import OutboxJob
from django_jobs.models.queue import QueuedJob
from django_jobs.worker import process

SECOND = timedelta(seconds=1)


def main(count: int, pause: float) -> None:
    """Keep so many beats and kill one of them after each pause; 0: kill none."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    beats = [fork() for _ in range(count)]
    print("ready", flush=True)
    while not stopped:
        time.sleep(pause or 0.05)
        if pause and not stopped:
            victim = random.randrange(count)
            os.kill(beats[victim], signal.SIGKILL)
            os.waitpid(beats[victim], 0)
            beats[victim] = fork()
    for pid in beats:
        os.kill(pid, signal.SIGTERM)
    for pid in beats:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def fork() -> int:
    """Start a beat."""
    parent = os.getpid()

    def body() -> int:
        process.die_with_parent(parent)
        connections.close_all()
        random.seed()
        beat = Beat()
        beat.answer_signals()
        process.admit_signals()
        return beat.run()

    return process.fork(body)


@dataclass(frozen=True, slots=True)
class Storm:
    """Rows whose moments are evenly spread, so that so many are due in each second; and what is expected of them."""

    alias: str
    per_second: int
    seconds: int
    #: Every row is due so often, in seconds.
    every: int
    start: datetime

    @classmethod
    def prepare(cls, alias: str, *, per_second: int, seconds: int, every: int = 1, lead: float = 2.0) -> Storm:
        """Insert the rows; their first moments come after ``lead`` seconds, and their last after ``seconds`` more."""
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=lead)
        storm = cls(alias, per_second, seconds, every, start)
        PeriodicTask.objects.using(alias).bulk_create(
            (
                PeriodicTask(
                    name=f"row {number}",
                    task="tests.app.jobs.nothing",
                    schedule=f"every {every} seconds",
                    catch_up="all",
                    created=start - SECOND,
                    starts=storm.first(number),
                    ends=start + seconds * SECOND - timedelta(microseconds=1),
                )
                for number in range(per_second * every)
            ),
            batch_size=500,
        )
        return storm

    def first(self, number: int) -> datetime:
        """Return the first moment of a row."""
        return self.start + number * SECOND / self.per_second

    def expected(self) -> set[tuple[str, datetime]]:
        """Return every moment, with the name of its row."""
        return {
            (f"row {number}", moment)
            for number in range(self.per_second * self.every)
            for turn in range(0, self.seconds, self.every)
            if (moment := self.first(number) + turn * SECOND) < self.start + self.seconds * SECOND
        }

    def is_over(self) -> bool:
        """Say whether no row has anything left to do."""

        return not PeriodicTask.objects.using(self.alias).filter(wake__isnull=False).exists()

    def mistakes(self) -> list[str]:
        """Say what is missing, doubled or otherwise wrong. Every moment must have one run, and every run one job."""

        runs = list(PeriodicRun.objects.using(self.alias).select_related("periodic_task"))
        wrong = [f"{run}: {run.outcome}, {run.missed} missed" for run in runs if run.outcome != "sent" or run.missed]
        found = [(run.periodic_task.name, run.due) for run in runs]
        expected = self.expected()
        wrong += [f"{name} {due}: {times} times" for (name, due), times in Counter(found).items() if times > 1]
        wrong += [f"{name} {due}: missing" for name, due in sorted(expected - set(found))]
        wrong += [f"{name} {due}: never due" for name, due in sorted(set(found) - expected)]
        jobs = [str(run.job_id) for run in runs]
        kept = [str(job.pk) for model in (OutboxJob, QueuedJob) for job in model.objects.using(self.alias).only("pk")]
        if sorted(jobs) != sorted(kept):
            wrong.append(f"{len(jobs)} runs, {len(kept)} jobs")
        return wrong

    def lateness(self) -> list[float]:
        """Return how late each run was, in seconds, in order."""

        values = PeriodicRun.objects.using(self.alias).values_list("lateness", flat=True)
        return sorted(value.total_seconds() for value in values)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
