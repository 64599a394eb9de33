"""The rows of a run as tables of text: what the terminal and the page have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measurements.base import Metric
from benchmarks.rows import Row
from benchmarks.samples import Run, Verdict
from benchmarks.targets import TARGETS, Figure

DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
# Figures below this are shown with decimals.
ROUND_ABOVE = 100
TARGET_HEADER = ("target", "wanted", "measured", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]


def measured(run: Run) -> list[Table]:
    """Return one table per row of the run."""
    return [Table(title=row.title, header=_header(row), lines=_lines(run, row)) for row in run.rows]


def targets(run: Run) -> Table:
    """Return what is aimed at, what was measured, and whether that is enough; only what this run can tell."""
    verdicts = [verdict for verdict in map(run.judge, TARGETS) if verdict.met is not None]
    return Table(title="Targets", header=TARGET_HEADER, lines=[_target_line(verdict) for verdict in verdicts])


def failures(run: Run) -> list[str]:
    failed = [sample for sample in run.samples if sample.error]
    return [f"{sample.row}, {sample.label}, round {sample.round}: {sample.error}" for sample in failed]


def _header(row: Row) -> list[str]:
    header = ["contender"]
    for metric in row.measurement.metrics:
        header.append(metric.title)
        if metric.compared:
            header += [f"{TIMES} Celery", f"{TIMES} best peer"]
    return header


def _lines(run: Run, row: Row) -> list[list[str]]:
    lines = []
    for variant in row.variants:
        line = [variant.label]
        for metric in row.measurement.metrics:
            line += _cells(run, row, variant.label, metric)
        lines.append(line)
    return lines


def _cells(run: Run, row: Row, label: str, metric: Metric) -> list[str]:
    figure = Figure(row=row.key, label=label, metric=metric.key)
    values = list(run.rounds(figure).values())
    cells = [_median_and_range(values, metric.digits) if values else DASH]
    if metric.compared:
        others = (run.reference(row, metric.key), run.fastest_peer(row.key, metric.key))
        cells += [_ratio(run.ratio(figure, other)) if other else DASH for other in others]
    return cells


def _median_and_range(values: Sequence[float], digits: int) -> str:
    middle = f"{median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}{DASH}{max(values):,.{digits}f})"


def _ratio(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= ROUND_ABOVE else f"{value:.2f}"


def _target_line(verdict: Verdict) -> list[str]:
    return [verdict.target.text, _bound(verdict), _value(verdict), "yes" if verdict.met else "NO"]


def _bound(verdict: Verdict) -> str:
    target = verdict.target
    unit = TIMES if target.against else ""
    return f"≥ {target.at_least:g}{unit}" if target.at_least is not None else f"≤ {target.at_most:g}{unit}"


def _value(verdict: Verdict) -> str:
    unit = TIMES if verdict.target.against else ""
    return f"{_ratio(verdict.value)}{unit}"
