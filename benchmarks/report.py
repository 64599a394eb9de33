"""Show a run: on the terminal, as JSON, and as a page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.runner import Plan
from benchmarks.samples import Run
from benchmarks.tables import TARGET_HEADER, Table, failures, measured, targets

MEANING = (
    "Every figure is the median of the rounds, with the lowest and the highest in brackets. Ratios are the median of "
    "the ratios within each round: to the first Celery of the table, and to the best contender that is not "
    "django_jobs. Above 1 is faster for jobs a second; below 1 is better for times and memory."
)


def print_report(run: Run) -> None:
    judged = targets(run)
    for table in [*measured(run), *([judged] if judged.lines else [])]:
        print(f"\n{table.title}\n")
        print("\n".join(_columns(table)))
    for line in failures(run):
        print(f"FAILED {line}")


def _columns(table: Table) -> list[str]:
    rows = [table.header, *table.lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    lines = [_aligned(row, widths) for row in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])


def write_json(path: Path, run: Run, machine: Machine, plan: Plan) -> None:
    """Write every single sample, for whoever wants to compute something else from them."""
    document = {
        "machine": asdict(machine),
        "rounds": plan.rounds,
        "scale": plan.effort.scale,
        "samples": [asdict(sample) for sample in run.samples],
        "targets": [dict(zip(TARGET_HEADER, line, strict=True)) for line in targets(run).lines],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_page(path: Path, run: Run, machine: Machine, plan: Plan) -> None:
    """Write the page of results; `method.rst` beside it explains the method."""
    parts = [
        ".. Written by script/bench; edits are lost with the next run.",
        _heading("Results", "="),
        _introduction(machine, plan),
        MEANING,
        _heading("Targets", "-"),
        _list_table(targets(run)),
    ]
    for table in measured(run):
        parts += [_heading(table.title, "-"), _list_table(table)]
    if failed := failures(run):
        parts += [_heading("Samples that failed", "-"), "\n".join(f"* ``{_one_line(line)}``" for line in failed)]
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    parts += [_heading("Versions", "-"), f"{versions}."]
    path.write_text("\n\n".join(parts) + "\n")


def _introduction(machine: Machine, plan: Plan) -> str:
    short = " The samples of this run were shortened." if plan.effort.scale < 1 else ""
    return (
        f"{machine.date}; {machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB; {machine.system}; "
        f"Python {machine.python}; load average before the run {machine.load_before:.2f}. "
        f"Interleaved rounds: {plan.rounds}.{short}"
    )


def _heading(title: str, underline: str) -> str:
    return f"{title}\n{underline * len(title)}"


def _list_table(table: Table) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (table.header, *table.lines):
        lines += _list_table_row(row)
    return "\n".join(lines)


def _list_table_row(cells: Sequence[str]) -> list[str]:
    first, *others = (cell.replace("*", "\\*") for cell in cells)
    return [f"   * - {first}", *(f"     - {cell}" for cell in others)]


def _one_line(text: str) -> str:
    return " ".join(text.replace("`", "'").split())[:300]
