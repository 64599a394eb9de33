"""How fast one process enqueues, with no worker running."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.laboratory import Laboratory
from benchmarks.measurements.base import Effort, Measurement, Metric
from benchmarks.scenario import Contender, Variant

ONE_BY_ONE: Mapping[Contender, int] = {"django_jobs": 12_000, "celery": 1_500, "huey": 12_000, "dramatiq": 6_000}
BULK: Mapping[Contender, int] = {"django_jobs": 50_000, "celery": 1_500, "huey": 12_000, "dramatiq": 6_000}


class EnqueueOneByOne(Measurement):
    """One ``delay()`` after the other."""

    metrics = [Metric(key="rate", title="jobs/s", higher_is_better=True)]

    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        scenario = laboratory.prepare(variant)
        count = effort.jobs(ONE_BY_ONE[variant.contender])
        return {"rate": laboratory.client(scenario, "enqueue", count=count)}


class EnqueueMany(Measurement):
    """The bulk method, where there is one; otherwise one by one in a loop."""

    metrics = [Metric(key="rate", title="jobs/s", higher_is_better=True)]

    def __init__(self, method: Mapping[Contender, str]) -> None:
        self._method = method

    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        scenario = laboratory.prepare(variant)
        method = self._method.get(variant.contender, "enqueue_many")
        count = effort.jobs(BULK[variant.contender])
        return {"rate": laboratory.client(scenario, "enqueue_many", count=count, method=method)}
