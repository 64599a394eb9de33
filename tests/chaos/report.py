"""The table of docs/reliability: what trials have shown, by row and mode."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.verdict import Verdict

TITLE = "Results"
HEADINGS = ("Row", "Fault", "Mode", "Trials", "Jobs", "Faults", "Lost", "Ran twice", "Bound", "Recovery (s)")
WIDTHS = (4, 30, 14, 6, 8, 7, 12, 9, 7, 14)
TEMPLATE = """{title}
{line}

Written by ``script/chaos``; :doc:`method` says what is counted, and how. This run: {run}, {minutes:.0f} minutes,
seeds from {seed}, {system}.

**{jobs:,} jobs, {faults:,} faults. Lost: {lost}. Ran twice: {twice} of {bound} that the faults explain. Results written
over: {overwritten}.**

*Lost* counts jobs that were acknowledged and never ended. A number in brackets is what the mode does not promise: a
plain Redis that loses its data loses the jobs that it held. *Bound* is how many second runs the faults explain.
*Recovery* is from the fault, or the server's return, until work went on: median, and maximum.

.. list-table::
    :header-rows: 1
    :widths: {widths}

"""


@dataclass(slots=True)
class Line:
    """All trials of one row in one mode."""

    row: int
    fault: str
    mode: str
    verdicts: list[Verdict] = field(default_factory=list)

    def cells(self) -> list[str]:
        lost, allowed = (sum(getattr(one, name) for one in self.verdicts) for name in ("lost", "lost_allowed"))
        waits = [seconds for one in self.verdicts for seconds in one.recovery]
        return [
            str(self.row),
            self.fault,
            f"``{self.mode}``",
            str(len(self.verdicts)),
            *(f"{sum(getattr(one, name) for one in self.verdicts):,}" for name in ("jobs", "faults")),
            f"{max(0, lost - allowed)} (+{min(lost, allowed)})" if lost else "0",
            *(f"{sum(getattr(one, name) for one in self.verdicts):,}" for name in ("twice", "bound")),
            f"{statistics.median(waits):.2f}, {max(waits):.2f}" if waits else "",
        ]


def lines(verdicts: Iterable[Verdict]) -> list[Line]:
    found: dict[tuple[int, str, str], Line] = {}
    for one in verdicts:
        key = (one.row, one.fault, one.mode)
        found.setdefault(key, Line(*key)).verdicts.append(one)
    return [found[key] for key in sorted(found)]


def write(path: Path, verdicts: Sequence[Verdict], missing: Iterable[str], *, minutes: float, seed: int) -> None:
    """Write the page."""
    lost = sum(max(0, one.lost - one.lost_allowed) for one in verdicts)
    excused = sum(min(one.lost, one.lost_allowed) for one in verdicts)
    overwritten = sum("written over" in problem for one in verdicts for problem in one.problems)
    page = TEMPLATE.format(
        title=TITLE,
        line="=" * len(TITLE),
        run=f"{len(verdicts)} trials",
        minutes=minutes,
        seed=seed,
        system=f"Python {platform.python_version()} on {platform.system()}",
        jobs=sum(one.jobs for one in verdicts),
        faults=sum(one.faults for one in verdicts),
        lost=f"{lost}" + (f" (and {excused} that a plain Redis held when its data was taken away)" if excused else ""),
        twice=f"{sum(one.twice for one in verdicts):,}",
        bound=f"{sum(one.bound for one in verdicts):,}",
        overwritten=overwritten,
        widths=" ".join(map(str, WIDTHS)),
    )
    for cells in (HEADINGS, *(line.cells() for line in lines(verdicts))):
        page += "".join(
            f"    {'*' if number == 0 else ' '} - {cell}\n".replace("- \n", "-\n") for number, cell in enumerate(cells)
        )
    page += breaches(verdicts) + absent(missing)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)


def breaches(verdicts: Sequence[Verdict]) -> str:
    """Return what was not as it must be, with the seed that shows it again."""
    bad = [one for one in verdicts if not one.ok]
    if not bad:
        return "\nNo trial has found anything that was not as it must be.\n"
    text = "\nNot as it must be\n-----------------\n\n"
    for one in bad:
        again = f"script/chaos --row {one.row} --mode {one.mode} --seed {one.seed} --jobs {one.jobs}"
        text += f"* ``{again}``: {one.problems[0][:200].replace('*', '')}\n"
    return text


def absent(missing: Iterable[str]) -> str:
    return "".join(f"\n{reason}.\n" for reason in missing)
