"""
The producer of a trial: sends jobs, writes down each one it was promised, and goes on after every error.

An error leaves the outcome open: such a job may run or not, and is not counted as promised.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import django
from django.db import connection, connections, transaction

from django_jobs.identifiers import new_id
from tests.chaos.ledger import ACKED, GATE, TRIED, Ledger, Notebook


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--backlog", type=int, required=True, help="how many may wait before sending pauses")
    parser.add_argument("--task", default="work")
    parser.add_argument("--in-transaction", action="store_true")
    parser.add_argument("--arguments", type=json.loads, help="of the job; null: some milliseconds of work")
    parser.add_argument("--options", type=json.loads, default={})
    arguments = parser.parse_args()
    django.setup()
    Producer(arguments).run()


class Producer:
    """Sends until enough was promised."""

    def __init__(self, arguments: Any) -> None:
        from tests.chaos.site import jobs

        self._task = getattr(jobs, arguments.task)
        self._given = arguments
        self._ledger = Ledger(arguments.directory)
        self._tried = Notebook(arguments.directory / TRIED)
        self._acked = Notebook(arguments.directory / ACKED)
        self._random = random.Random(arguments.seed)

    def run(self) -> None:
        promised = 0
        while promised < self._given.jobs:
            if promised >= self._gate() or promised - self._ledger.started() >= self._given.backlog:
                time.sleep(0.01)
                continue
            job_id = new_id()
            self._tried.write(job_id)
            try:
                self._send(job_id)
            except Exception as error:
                print(f"{type(error).__name__}: {error}", flush=True)
                connections.close_all()
                time.sleep(0.05)
            else:
                self._acked.write(job_id)
                promised += 1

    def _gate(self) -> int:
        return int((self._given.directory / GATE).read_text())

    def _send(self, job_id: str) -> None:
        with transaction.atomic() if self._given.in_transaction else nullcontext():
            if self._given.task == "count":
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO chaos_counter (id, value) VALUES (%s, 0)", [job_id])
            arguments = self._given.arguments or (self._milliseconds(),)
            self._task.apply_async(arguments, job_id=job_id, **self._given.options)

    def _milliseconds(self) -> float:
        """Most jobs are short, so that some are claimed ahead; a few are not."""
        kind = self._random.random()
        low, high = (0, 3) if kind < 0.7 else (5, 15) if kind < 0.95 else (30, 60)
        return round(self._random.uniform(low, high), 2)


if __name__ == "__main__":
    main()
