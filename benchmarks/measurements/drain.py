"""How fast a worker empties a queue that was full before it started.

The clock runs from the first job to the last, so neither the start of the worker nor its imports count.
With results in the ORM it runs until the last row can be read by others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.apps.client import TaskName
from benchmarks.laboratory import Laboratory
from benchmarks.measurements.base import (
    JOBS_SECONDS,
    NANOSECONDS,
    Effort,
    Measurement,
    Metric,
    check_each_ran_once,
)
from benchmarks.processes import wait_until
from benchmarks.scenario import Broker, Contender, Results, Variant

# About two seconds' work of one process each, so that nobody is measured on a handful of jobs.
JOBS: Mapping[tuple[Contender, Broker, Results], int] = {
    ("django_jobs", "redis", "none"): 30_000,
    ("django_jobs", "redis", "sqlite"): 10_000,
    ("django_jobs", "redis", "postgresql"): 10_000,
    ("django_jobs", "database", "none"): 8_000,
    ("django_jobs", "database", "postgresql"): 6_000,
    ("celery", "redis", "none"): 1_300,
    ("celery", "redis", "sqlite"): 500,
    ("celery", "redis", "postgresql"): 250,
    ("huey", "redis", "none"): 6_000,
    ("dramatiq", "redis", "none"): 5_000,
    ("procrastinate", "database", "none"): 1_000,
}
IO_JOBS = 2_000
NAP_NS = 10_000_000
ORM_RESULTS = ("sqlite", "postgresql")


class Drain(Measurement):
    """No-op jobs: what remains is the cost of the system itself."""

    metrics = [
        Metric(key="rate", title="jobs/s", higher_is_better=True),
        Metric(key="cpu_us", title="worker CPU, µs a job", higher_is_better=False, compared=False),
    ]

    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        scenario = laboratory.prepare(variant)
        # As many for each process, so that two of them work for as long as one.
        count = effort.jobs(JOBS[variant.contender, variant.broker, variant.results]) * variant.processes
        laboratory.client(scenario, "fill", task="noop", count=count)
        with laboratory.worker(scenario) as worker:
            laboratory.wait_for_stamps(worker, 1, seconds=JOBS_SECONDS)
            cpu_before = worker.cpu_seconds()
            ran_before = laboratory.stamps.count()
            laboratory.wait_for_stamps(worker, count, seconds=JOBS_SECONDS)
            end_ns = laboratory.stamps.read()[-1].at_ns
            if variant.results in ORM_RESULTS:
                wait_until(
                    lambda: laboratory.count_results(scenario) >= count, seconds=JOBS_SECONDS, what=f"{count} results"
                )
                end_ns = time.monotonic_ns()
            cpu_seconds = worker.cpu_seconds() - cpu_before
        stamps = laboratory.stamps.read()
        check_each_ran_once(stamps, count)
        return {
            "rate": (count - 1) * NANOSECONDS / (end_ns - stamps[0].at_ns),
            "cpu_us": cpu_seconds * 1e6 / max(1, count - ran_before),
        }


class InputOutput(Measurement):
    """Jobs that wait 10 ms, as for a slow service: what counts is how many wait at once."""

    metrics = [Metric(key="rate", title="jobs/s", higher_is_better=True)]

    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        task: TaskName = "async_nap" if variant.pool == "asyncio" else "nap"
        scenario = laboratory.prepare(variant)
        laboratory.client(scenario, "fill", task=task, count=IO_JOBS)
        with laboratory.worker(scenario) as worker:
            laboratory.wait_for_stamps(worker, IO_JOBS, seconds=JOBS_SECONDS)
        stamps = laboratory.stamps.read()
        check_each_ran_once(stamps, IO_JOBS)
        # These stamps are left at the end of the job: the first job began a nap earlier.
        return {"rate": IO_JOBS * NANOSECONDS / (stamps[-1].at_ns - stamps[0].at_ns + NAP_NS)}
