"""Take the samples, round after round, so that every contender meets the same good and bad minutes of the machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.laboratory import Laboratory
from benchmarks.measurements.base import Effort
from benchmarks.processes import MeasurementError
from benchmarks.rows import ROWS, Row
from benchmarks.samples import Sample
from benchmarks.scenario import Contender, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, and how often."""

    rows: Sequence[Row]
    rounds: int
    effort: Effort

    @property
    def contenders(self) -> set[Contender]:
        return {variant.contender for row in self.rows for variant in row.variants}


def choose_rows(only: Sequence[str], contenders: Sequence[Contender], *, million: bool) -> list[Row]:
    """Return the rows to measure, each with the contenders that take part."""
    unknown = set(only) - {row.key for row in ROWS}
    if unknown:
        raise ValueError(f"No such row: {', '.join(sorted(unknown))}. There are: {', '.join(row.key for row in ROWS)}.")
    chosen = [row for row in ROWS if (row.key in only if only else million or not row.optional)]
    with_contenders = (
        replace(row, variants=[variant for variant in row.variants if variant.contender in contenders])
        for row in chosen
    )
    return [row for row in with_contenders if row.variants]


def take_samples(laboratory: Laboratory, plan: Plan) -> Iterator[Sample]:
    for number in range(1, plan.rounds + 1):
        for row in plan.rows:
            if row.once and number > 1:
                continue
            for variant in rotated(row.variants, number - 1):
                yield take_sample(laboratory, plan, row, variant, number)


def rotated(variants: Sequence[Variant], by: int) -> list[Variant]:
    """Return the variants in another order each round: nobody always comes first."""
    start = by % len(variants)
    return [*variants[start:], *variants[:start]]


def take_sample(laboratory: Laboratory, plan: Plan, row: Row, variant: Variant, number: int) -> Sample:
    start = time.monotonic()
    try:
        figures = row.measurement.sample(laboratory, variant, plan.effort)
        sample = Sample(row=row.key, label=variant.label, round=number, figures=figures)
        outcome = ", ".join(f"{key} {value:,.2f}" for key, value in figures.items())
    except MeasurementError as error:
        sample = Sample(row=row.key, label=variant.label, round=number, error=str(error))
        outcome = f"failed: {error}"
    seconds = time.monotonic() - start
    print(f"{number}/{plan.rounds} {row.key:<18} {variant.label:<36} {seconds:5.1f} s  {outcome}", file=sys.stderr)
    return sample
