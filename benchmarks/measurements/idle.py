"""What a worker costs that has nothing to do: how soon it is there, and what it keeps."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.laboratory import Laboratory
from benchmarks.measurements.base import JOBS_SECONDS, NANOSECONDS, WARM_UP_JOBS, Effort, Measurement, Metric
from benchmarks.processes import Worker
from benchmarks.scenario import Variant

SETTLE_SECONDS = 1.5
IDLE_SECONDS = 3.0


def cpu_percent(worker: Worker, seconds: float) -> float:
    """Return the share of one core that the worker's whole tree uses for a while."""
    cpu, start = worker.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return 100 * (worker.cpu_seconds() - cpu) / (time.monotonic() - start)


class Idle(Measurement):
    """From the command line to the first job; then the memory and the CPU of the idle process tree."""

    metrics = [
        Metric(key="start", title="command to first job, s", higher_is_better=False, digits=2),
        Metric(key="pss", title="PSS, MiB", higher_is_better=False, digits=1),
        Metric(key="own", title="without files, MiB", higher_is_better=False, digits=1),
        Metric(key="cpu", title="idle CPU, % of one core", higher_is_better=False, digits=2, compared=False),
        Metric(key="processes", title="processes", higher_is_better=False, compared=False),
    ]

    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        scenario = laboratory.prepare(variant)
        laboratory.client(scenario, "fill", task="noop", count=WARM_UP_JOBS)
        with laboratory.worker(scenario) as worker:
            laboratory.wait_for_stamps(worker, WARM_UP_JOBS, seconds=JOBS_SECONDS)
            time.sleep(SETTLE_SECONDS)
            return {
                "start": (laboratory.stamps.read()[0].at_ns - worker.started_ns) / NANOSECONDS,
                "pss": worker.pss_mib(),
                "own": worker.own_mib(),
                "cpu": cpu_percent(worker, IDLE_SECONDS * effort.scale),
                "processes": len(worker.tree()),
            }
