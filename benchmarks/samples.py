"""The samples of a run, and what they say: medians, ranges, and ratios within a round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.rows import Row
from benchmarks.targets import FastestPeer, Figure, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    row: str
    label: str
    round: int
    figures: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target and what was measured; ``value`` is None when a figure is missing."""

    target: Target
    value: float | None

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        lowest, highest = self.target.at_least, self.target.at_most
        return (lowest is None or self.value >= lowest) and (highest is None or self.value <= highest)


class Run:
    """All samples of one run."""

    def __init__(self, rows: Sequence[Row], samples: Iterable[Sample]) -> None:
        self.rows = rows
        self.samples = list(samples)

    def rounds(self, figure: Figure) -> dict[int, float]:
        """Return the figure of each round in which it was taken."""
        return {
            sample.round: sample.figures[figure.metric]
            for sample in self.samples
            if (sample.row, sample.label) == (figure.row, figure.label) and figure.metric in sample.figures
        }

    def ratio(self, figure: Figure, against: Figure) -> float | None:
        """Return the median of the ratios within each round; None when no round has both."""
        ours, theirs = self.rounds(figure), self.rounds(against)
        ratios = [ours[number] / theirs[number] for number in ours.keys() & theirs.keys() if theirs[number]]
        return median(ratios) if ratios else None

    def reference(self, row: Row, metric: str) -> Figure | None:
        """Return the figure that ratios "to Celery" of a row are taken to."""
        labels = [variant.label for variant in row.variants if variant.contender == "celery"]
        return Figure(row=row.key, label=labels[0], metric=metric) if labels else None

    def fastest_peer(self, row_key: str, metric: str) -> Figure | None:
        """Return the figure of the peer with the best median."""
        row = next((row for row in self.rows if row.key == row_key), None)
        if row is None:
            return None
        best = max if self._higher_is_better(row, metric) else min
        figures = [
            Figure(row=row_key, label=variant.label, metric=metric)
            for variant in row.variants
            if variant.contender != "django_jobs"
        ]
        taken = [figure for figure in figures if self.rounds(figure)]
        return best(taken, key=lambda figure: median(self.rounds(figure).values())) if taken else None

    def _higher_is_better(self, row: Row, metric_key: str) -> bool:
        return next(metric.higher_is_better for metric in row.measurement.metrics if metric.key == metric_key)

    def judge(self, target: Target) -> Verdict:
        against = target.against
        if isinstance(against, FastestPeer):
            against = self.fastest_peer(against.row, against.metric)
            if against is None:
                return Verdict(target=target, value=None)
        if against is not None:
            return Verdict(target=target, value=self.ratio(target.figure, against))
        values = self.rounds(target.figure)
        return Verdict(target=target, value=median(values.values()) if values else None)
