"""One clean place per sample: an empty Redis, fresh databases, an empty stamp file."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.contenders import WORKER_COMMANDS
from benchmarks.contenders.base import script
from benchmarks.processes import LOG_TAIL, MeasurementError, Worker, wait_until
from benchmarks.scenario import ROOT, Contender, Scenario, Variant
from benchmarks.servers import Servers
from benchmarks.stamps import StampReader

CLIENT_SECONDS = 600
# Where the contenders that keep results in the ORM put a finished job.
RESULT_TABLES = {
    "django_jobs": "SELECT count(*) FROM django_jobs_jobresult WHERE state = 'SUCCESS'",
    "celery": "SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'SUCCESS'",
}


class Laboratory:
    """Prepares scenarios, and runs clients and workers in them."""

    def __init__(self, servers: Servers, directory: Path) -> None:
        self.servers = servers
        self._directory = directory
        # In memory where there is such a place, so that a stamp costs a system call and no more.
        shared_memory = Path("/dev/shm")
        self._stamps_path = (shared_memory if shared_memory.is_dir() else directory) / f"{directory.name}.stamps"
        self._sqlite_path = directory / "benchmarks.sqlite3"
        self.stamps = StampReader(self._stamps_path)

    def create_tables(self, contenders: set[Contender]) -> None:
        """Migrate the templates from which the database of each sample is made."""
        self.stamps.clear()
        for contender in sorted(contenders & RESULT_TABLES.keys()):
            for broker in ("redis", "database"):
                variant = Variant(contender=contender, label="tables", broker=broker)
                self._run([sys.executable, "-m", "django", "migrate", "-v", "0"], self._template_scenario(variant))
        if "procrastinate" in contenders:
            variant = Variant(contender="procrastinate", label="tables", broker="database")
            command = [script("procrastinate"), "--app", "benchmarks.apps.procrastinate_app.app", "schema", "--apply"]
            self._run(command, self._template_scenario(variant))

    def _template_scenario(self, variant: Variant) -> Scenario:
        return Scenario(
            variant=variant,
            redis_url=self.servers.redis.url,
            postgresql=self.servers.postgresql.template,
            sqlite_path=str(self._sqlite_template),
            stamps_path=str(self._stamps_path),
        )

    @property
    def _sqlite_template(self) -> Path:
        return self._directory / "template.sqlite3"

    def prepare(self, variant: Variant) -> Scenario:
        """Wipe what the last sample left, and return where the next one takes place."""
        self.servers.redis.clear()
        self.stamps.clear()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._sqlite_path}{suffix}").unlink(missing_ok=True)
        if self._sqlite_template.exists():
            shutil.copy(self._sqlite_template, self._sqlite_path)
        return Scenario(
            variant=variant,
            redis_url=self.servers.redis.url,
            postgresql=self.servers.postgresql.fresh_database() if variant.needs_postgresql else None,
            sqlite_path=str(self._sqlite_path),
            stamps_path=str(self._stamps_path),
        )

    def client(self, scenario: Scenario, action: str, **options: Any) -> Any:
        """Run an action of ``benchmarks.client`` in a process of its own and return its answer."""
        command = [sys.executable, "-m", "benchmarks.client", action, json.dumps(options)]
        return json.loads(self._run(command, scenario).splitlines()[-1])

    def _run(self, command: list[str], scenario: Scenario) -> str:
        done = subprocess.run(
            command,
            env=scenario.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise MeasurementError(f"{' '.join(command[:6])} ended with {done.returncode}: {done.stderr[-LOG_TAIL:]}")
        return done.stdout

    def worker(self, scenario: Scenario) -> Worker:
        """Start the contender's worker."""
        command = WORKER_COMMANDS[scenario.variant.contender](scenario.variant)
        return Worker(command, environment=scenario.environment(), log=self._directory / "worker.log")

    def wait_for_stamps(self, worker: Worker, count: int, *, seconds: float) -> None:
        """Wait until ``count`` jobs have run."""

        def all_ran() -> bool:
            worker.check_alive()
            return self.stamps.count() >= count

        try:
            wait_until(all_ran, seconds=seconds, what=f"{count} jobs")
        except MeasurementError as error:
            raise MeasurementError(f"{error}; {self.stamps.count()} ran; {worker.log_tail()}") from error

    def count_results(self, scenario: Scenario) -> int:
        """Return how many result rows the contender has written."""
        query = RESULT_TABLES[scenario.variant.contender]
        if scenario.variant.needs_postgresql:
            with psycopg.connect(scenario.require_postgresql().dsn) as connection:
                row = connection.execute(query).fetchone()
        else:
            with closing(sqlite3.connect(scenario.sqlite_path)) as database:
                row = database.execute(query).fetchone()
        return int(row[0]) if row else 0

    def clean(self) -> None:
        self._stamps_path.unlink(missing_ok=True)
