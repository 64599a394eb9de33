"""What jobs that are due in an hour cost the worker that waits beside them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.laboratory import Laboratory
from benchmarks.measurements.base import JOBS_SECONDS, WARM_UP_JOBS, Effort, Measurement, Metric
from benchmarks.measurements.idle import SETTLE_SECONDS, cpu_percent
from benchmarks.processes import Worker
from benchmarks.scenario import Variant

DELAY_SECONDS = 3_600
WATCH_SECONDS = 10.0
# What a worker does once a minute is to have been done before it is weighed: it makes connections that it keeps.
AGE_SECONDS = 65.0
# A worker that takes the jobs into its memory is busy with that for a while.
CALM_PERCENT = 5.0
CALM_SECONDS = 30.0


def wait_for_calm(worker: Worker) -> None:
    deadline = time.monotonic() + CALM_SECONDS
    while cpu_percent(worker, 1.0) > CALM_PERCENT and time.monotonic() < deadline:
        continue


class Scheduled(Measurement):
    """Memory before and after the jobs are scheduled, and the CPU of the worker while they wait."""

    metrics = [
        Metric(key="growth", title="PSS growth, MiB", higher_is_better=False, digits=1, compared=False),
        Metric(key="pss", title="PSS, MiB", higher_is_better=False, digits=1),
        Metric(key="cpu", title="idle CPU, % of one core", higher_is_better=False, digits=2, compared=False),
    ]

    def __init__(self, count: int) -> None:
        self._count = count

    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        scenario = laboratory.prepare(variant)
        laboratory.client(scenario, "fill", task="noop", count=WARM_UP_JOBS)
        with laboratory.worker(scenario) as worker:
            laboratory.wait_for_stamps(worker, WARM_UP_JOBS, seconds=JOBS_SECONDS)
            time.sleep(max(SETTLE_SECONDS, AGE_SECONDS * effort.scale))
            before = worker.pss_mib()
            laboratory.client(scenario, "enqueue_later", count=self._count, delay_seconds=DELAY_SECONDS)
            wait_for_calm(worker)
            cpu = cpu_percent(worker, WATCH_SECONDS * max(effort.scale, 0.5))
            worker.check_alive()
            after = worker.pss_mib()
        return {"growth": after - before, "pss": after, "cpu": cpu}
