"""Run rows for long, and write the report: what script/chaos does."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tests.chaos import report
from tests.chaos.hosts import ROOT
from tests.chaos.laboratory import Laboratory, Missing
from tests.chaos.rows import ROWS, Row
from tests.chaos.verdict import Verdict

REPORT = ROOT / "docs" / "reliability" / "results.rst"


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long; without it every row runs once")
    parser.add_argument("--seed", type=int, default=1, help="decides moments, victims and durations")
    parser.add_argument("--row", type=int, action="append", help="only this row; may be given again")
    parser.add_argument("--mode", action="append", help="only this mode; may be given again")
    parser.add_argument("--jobs", type=int, help="jobs of each trial")
    parser.add_argument("--faults", type=int, help="faults of each trial")
    parser.add_argument("--report", type=Path, help="the page to write; with --minutes docs/reliability/results.rst")
    parser.add_argument("--brief", action="store_true", help="the modes, jobs and faults of the bounded run")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    laboratory = Laboratory()
    try:
        return Campaign(laboratory, given).run()
    except KeyboardInterrupt:
        return 130
    finally:
        laboratory.close()


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class Campaign:
    """Trials, one after the other, rotating through rows and modes with a new seed each round."""

    def __init__(self, laboratory: Laboratory, given: argparse.Namespace) -> None:
        self.laboratory, self.given = laboratory, given
        self.verdicts: list[Verdict] = []
        self.missing: dict[str, None] = {}
        self.plan: list[tuple[Row, str]] = [
            (row, mode)
            for row in ROWS
            for mode in (row.brief if given.brief else row.modes)
            if (not given.row or row.number in given.row) and (not given.mode or mode in given.mode)
        ]

    def run(self) -> int:
        self.began = time.monotonic()
        until = time.monotonic() + (self.given.minutes or 0) * 60
        seed = self.given.seed
        while True:
            for row, mode in self.plan:
                if self.given.minutes and time.monotonic() > until:
                    return self.report()
                self.once(row, mode, seed)
            seed += 1
            if not self.given.minutes:
                return self.report()

    def once(self, row: Row, mode: str, seed: int) -> None:
        try:
            verdict = row.run(self.laboratory, mode, seed=seed, jobs=self.given.jobs, faults=self.given.faults)
        except Missing as reason:
            self.missing.setdefault(str(reason))
            return
        self.verdicts.append(verdict)
        self.write()
        for problem in verdict.problems:
            print(f"!!! {problem}", flush=True)

    def write(self) -> None:
        """Write the page anew after each trial: whoever ends a long run has what it has shown."""
        path = self.given.report or (REPORT if self.given.minutes else None)
        if path:
            minutes = (time.monotonic() - self.began) / 60
            report.write(path, self.verdicts, self.missing, minutes=minutes, seed=self.given.seed)

    def report(self) -> int:
        for reason in self.missing:
            print(f"!!! {reason}")
        for verdict in self.verdicts:
            print("ok " if verdict.ok else "BAD", verdict)
        print(
            f"{sum(verdict.jobs for verdict in self.verdicts)} jobs,"
            f" {sum(verdict.faults for verdict in self.verdicts)} faults,"
            f" lost {sum(verdict.lost for verdict in self.verdicts)}",
            flush=True,
        )
        return 0 if all(verdict.ok for verdict in self.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
