"""The command: ``python -m benchmarks``, or ``script/bench``, which installs what it needs first."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

from benchmarks.laboratory import Laboratory
from benchmarks.machine import Machine, describe_machine
from benchmarks.measurements.base import Effort
from benchmarks.processes import MeasurementError
from benchmarks.report import print_report, write_json, write_page
from benchmarks.rows import ROWS
from benchmarks.runner import Plan, choose_rows, take_samples
from benchmarks.samples import Run, Sample
from benchmarks.scenario import ROOT, Contender
from benchmarks.servers import Servers
from tests.services import ServiceError

OUTPUT = ROOT / "docs" / "performance"
CONTENDERS: list[Contender] = list(get_args(Contender))
QUICK_SCALE = 0.25


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench", description="Compare django_jobs with its peers.")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a result")
    parser.add_argument("--only", type=words, default=[], metavar="ROW,…", help=", ".join(row.key for row in ROWS))
    parser.add_argument(
        "--contenders",
        type=words,
        default=CONTENDERS,
        metavar="NAME,…",
        help=", ".join(CONTENDERS),
    )
    parser.add_argument("--million", action="store_true", help="also 1,000,000 scheduled jobs, which takes a while")
    parser.add_argument(
        "--output", type=Path, help=f"where results.json and results.rst go (default: {OUTPUT.relative_to(ROOT)}; "
        "nowhere for a run that is --quick or leaves something out)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    unknown = set(options.contenders) - set(CONTENDERS)
    if unknown:
        parser.error(f"No such contender: {', '.join(sorted(unknown))}.")
    return options


def make_plan(options: argparse.Namespace) -> Plan:
    return Plan(
        rows=choose_rows(options.only, options.contenders, million=options.million),
        rounds=options.rounds or (1 if options.quick else 3),
        effort=Effort(scale=QUICK_SCALE if options.quick else 1.0),
    )


def output_directory(options: argparse.Namespace) -> Path | None:
    """Return where the report goes; a partial run must not replace a whole one unasked."""
    if options.output:
        return Path(options.output)
    partial = options.quick or options.only or len(options.contenders) < len(CONTENDERS)
    return None if partial else OUTPUT


def main() -> int:
    options = parse(sys.argv[1:])
    try:
        plan = make_plan(options)
        run, machine = execute(plan)
    except (MeasurementError, ServiceError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print_report(run)
    if directory := output_directory(options):
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / "results.json", run, machine, plan)
        write_page(directory / "results.rst", run, machine, plan)
        print(f"\nWritten to {directory}.")
    return 1 if any(sample.error for sample in run.samples) else 0


def execute(plan: Plan) -> tuple[Run, Machine]:
    start = time.monotonic()
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="django-jobs-benchmarks-") as name:
        directory = Path(name)
        # PostgreSQL runs as another user, who has to get through to its own directory.
        directory.chmod(0o711)
        with Servers(directory) as servers:
            machine = describe_machine(servers)
            laboratory = Laboratory(servers, directory)
            try:
                laboratory.create_tables(plan.contenders)
                samples.extend(take_samples(laboratory, plan))
            finally:
                laboratory.clean()
    print(f"\n{len(samples)} samples in {(time.monotonic() - start) / 60:.1f} minutes", file=sys.stderr)
    return Run(plan.rows, samples), machine


if __name__ == "__main__":
    sys.exit(main())
