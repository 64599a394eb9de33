"""The row that hits beat."""

from __future__ import annotations

import signal
import subprocess
from collections import defaultdict
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

from tests.chaos.hosts import launch
from tests.chaos.ledger import ACKED, TRIED, Notebook
from tests.chaos.rows.base import DATABASES, REDIS, row
from tests.chaos.trial import Trial
from tests.chaos.verdict import Verdict

BEATS, PERIODIC_TASKS = 3, 10
EVERY = timedelta(seconds=0.25)


@row(4, "kill -9 beat in the loop", modes=(*REDIS, *DATABASES), brief=("redis", "sqlite"), faults=5)
def kill_beat(trial: Trial) -> Verdict:
    """Each moment becomes one job, whichever of the beats dies at which instant; nobody else sends any."""
    trial.jobs_settings["SCHEDULE"] = {
        f"task-{number}": {
            "task": "tests.chaos.site.jobs.work",
            "args": [1],
            "schedule": EVERY.total_seconds(),
            "catch_up": "all",
        }
        for number in range(PERIODIC_TASKS)
    }
    trial.start()
    with ExitStack() as running:
        beats = Beats(trial, running)
        for moment in trial.moments():
            with trial.fault("kill -9 a beat"):
                beats.kill(moment.child % BEATS)
            beats.start()
        trial.wait_started(trial.jobs)
        beats.stop()
    note_what_was_sent(trial)
    return trial.finish(no_run_twice=True)


class Beats:
    """Several ``manage.py runbeat``."""

    def __init__(self, trial: Trial, running: ExitStack) -> None:
        self._trial = trial
        self._processes = [self._launch() for _ in range(BEATS)]
        running.callback(self._destroy)

    def _launch(self) -> subprocess.Popen[bytes]:
        log = self._trial.directory / "beat.log"
        return launch("django", "runbeat", environment=self._trial.environment(), log=log)

    def kill(self, number: int) -> None:
        self._processes[number].kill()
        self._processes.pop(number).wait(30)

    def start(self) -> None:
        self._processes.append(self._launch())

    def stop(self) -> None:
        """End them in the orderly way."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        codes = {process.wait(60) for process in self._processes}
        # One that has only just been started has no answer to the signal yet.
        self._trial.problems += [f"a beat ended with {code}" for code in codes - {0, -signal.SIGTERM}]

    def _destroy(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(30)


def note_what_was_sent(trial: Trial) -> None:
    """Write into the ledger what the tables say was sent, and into the verdict where they have a gap."""
    tried, acked = Notebook(trial.directory / TRIED), Notebook(trial.directory / ACKED)
    moments: dict[int, list[datetime]] = defaultdict(list)
    columns = "periodic_task_id, due, outcome, missed, job_id"
    for task, due, outcome, missed, job_id in trial.rows.ask(
        f"SELECT {columns} FROM django_jobs_periodicrun ORDER BY periodic_task_id, due"
    ):
        if outcome != "sent" or missed:
            trial.problems.append(f"what was due at {due} was {outcome}, with {missed} before it missed")
            continue
        moments[task].append(datetime.fromisoformat(due) if isinstance(due, str) else due)
        for notebook in (tried, acked):
            notebook.write(str(UUID(str(job_id))))
    gaps = [later - sooner for dues in moments.values() for sooner, later in pairwise(dues) if later - sooner != EVERY]
    trial.problems += [f"{len(gaps)} gaps between moments: {gaps[:3]}"] if gaps else []
    if len(moments) != PERIODIC_TASKS:
        trial.problems.append(f"{len(moments)} of {PERIODIC_TASKS} periodic tasks have run")
