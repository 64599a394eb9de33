"""How long a job waits for an idle worker, and its caller for the result."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.laboratory import Laboratory
from benchmarks.measurements.base import (
    JOBS_SECONDS,
    MILLISECOND_NS,
    WARM_UP_JOBS,
    Effort,
    Measurement,
    Metric,
    check_each_ran_once,
    percentile,
)
from benchmarks.processes import Worker
from benchmarks.scenario import Scenario, Variant

SAMPLES = 200
PER_SECOND = 25.0
RESULT_SAMPLES = 100
# A caller that polls for its result must not hold up the run.
RESULT_SECONDS = 4.0
SETTLE_SECONDS = 1.0


def warm_up(laboratory: Laboratory, scenario: Scenario, worker: Worker) -> None:
    """Let the worker run a few jobs and fall idle again."""
    laboratory.wait_for_stamps(worker, WARM_UP_JOBS, seconds=JOBS_SECONDS)
    time.sleep(SETTLE_SECONDS)
    laboratory.stamps.clear()


class Latency(Measurement):
    """From the call of ``delay()`` to the first line of the job."""

    metrics = [
        Metric(key="p50", title="p50, ms", higher_is_better=False, digits=2),
        Metric(key="p99", title="p99, ms", higher_is_better=False, digits=2),
    ]

    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        count = effort.jobs(SAMPLES)
        scenario = laboratory.prepare(variant)
        laboratory.client(scenario, "fill", task="noop", count=WARM_UP_JOBS)
        with laboratory.worker(scenario) as worker:
            warm_up(laboratory, scenario, worker)
            called = laboratory.client(scenario, "pace", count=count, per_second=PER_SECOND)
            laboratory.wait_for_stamps(worker, count, seconds=JOBS_SECONDS)
        stamps = laboratory.stamps.read()
        check_each_ran_once(stamps, count)
        waits = [(stamp.at_ns - called[stamp.index]) / MILLISECOND_NS for stamp in stamps]
        return {"p50": percentile(waits, 50), "p99": percentile(waits, 99)}


class RoundTrip(Measurement):
    """From the call of ``delay()`` to the return of ``get()``."""

    metrics = [
        Metric(key="p50", title="p50, ms", higher_is_better=False, digits=2),
        Metric(key="p99", title="p99, ms", higher_is_better=False, digits=2),
    ]

    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        scenario = laboratory.prepare(variant)
        laboratory.client(scenario, "fill", task="noop", count=WARM_UP_JOBS)
        with laboratory.worker(scenario) as worker:
            warm_up(laboratory, scenario, worker)
            durations = laboratory.client(
                scenario,
                "round_trips",
                count=effort.jobs(RESULT_SAMPLES),
                per_second=PER_SECOND,
                seconds=RESULT_SECONDS * effort.scale,
            )
        waits = [duration / MILLISECOND_NS for duration in durations]
        return {"p50": percentile(waits, 50), "p99": percentile(waits, 99)}
