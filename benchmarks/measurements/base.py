"""The interface of a measurement, and what several of them need."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.laboratory import Laboratory
from benchmarks.processes import MeasurementError
from benchmarks.scenario import Variant
from benchmarks.stamps import Stamp

NANOSECONDS = 1_000_000_000
MILLISECOND_NS = 1_000_000
# Jobs that open every connection and import every module of a worker before it is measured idle.
WARM_UP_JOBS = 100
JOBS_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of a sample."""

    key: str
    title: str
    higher_is_better: bool
    digits: int = 0
    # False where a ratio says nothing, as for growth around zero.
    compared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long samples may take: 1 for a full run, less for a quick one."""

    scale: float = 1.0

    def jobs(self, count: float, *, least: int = 50) -> int:
        """Return a number of jobs, shortened in a quick run."""
        return max(least, round(count * self.scale))


class Measurement(ABC):
    """Takes one sample of one variant. Holds no state between samples."""

    metrics: ClassVar[Sequence[Metric]]

    @abstractmethod
    def sample(self, laboratory: Laboratory, variant: Variant, effort: Effort) -> Mapping[str, float]:
        """Return a figure for the key of every metric."""


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def check_each_ran_once(stamps: Sequence[Stamp], count: int) -> None:
    """Refuse a sample in which a job ran twice or never: its speed would mean nothing."""
    seen = {stamp.index for stamp in stamps}
    if len(stamps) != count or len(seen) != count:
        raise MeasurementError(f"{count} jobs were enqueued, {len(seen)} ran, {len(stamps) - len(seen)} of them again")
