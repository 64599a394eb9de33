"""The arithmetic of the benchmarks, and that their lists fit together."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.machine import Machine
from benchmarks.measurements.base import Effort, check_each_ran_once, percentile
from benchmarks.processes import MeasurementError
from benchmarks.report import write_json, write_page
from benchmarks.rows import ROWS
from benchmarks.runner import Plan, choose_rows, rotated
from benchmarks.samples import Run, Sample
from benchmarks.scenario import ROOT
from benchmarks.stamps import StampReader, StampWriter
from benchmarks.targets import TARGETS, FastestPeer, Figure, Target

ENQUEUE = next(row for row in ROWS if row.key == "enqueue")
LATENCY = next(row for row in ROWS if row.key == "latency")


def samples(row: str, label: str, *values: float, metric: str = "rate") -> list[Sample]:
    return [
        Sample(row=row, label=label, round=number, figures={metric: value})
        for number, value in enumerate(values, start=1)
    ]


def test_a_ratio_is_taken_within_each_round_and_not_between_medians() -> None:
    run = Run(
        [ENQUEUE],
        [*samples("enqueue", "django_jobs", 100, 10, 30), *samples("enqueue", "Celery prefork", 10, 5, 1)],
    )
    ratio = run.ratio(Figure(row="enqueue", label="django_jobs"), Figure(row="enqueue", label="Celery prefork"))
    assert ratio == 10  # the ratios are 10, 2 and 30; the medians would give 6


def test_a_round_that_failed_for_one_side_does_not_count() -> None:
    failed = Sample(row="enqueue", label="Celery prefork", round=1, error="no worker")
    run = Run([ENQUEUE], [*samples("enqueue", "django_jobs", 100, 10), failed])
    assert run.ratio(Figure(row="enqueue", label="django_jobs"), Figure(row="enqueue", label="Celery prefork")) is None


@pytest.mark.parametrize(
    ("row", "metric", "fastest"), [(ENQUEUE, "rate", "Huey"), (LATENCY, "p50", "Dramatiq")], ids=["rate", "time"]
)
def test_the_fastest_peer_is_never_ours_and_knows_what_is_better(row, metric, fastest) -> None:
    run = Run(
        [row],
        [
            *samples(row.key, "django_jobs", 1000 if metric == "rate" else 1, metric=metric),
            *samples(row.key, "Huey", 200, metric=metric),
            *samples(row.key, "Dramatiq", 100, metric=metric),
        ],
    )
    figure = run.fastest_peer(row.key, metric)
    assert figure is not None
    assert figure.label == fastest


@pytest.mark.parametrize(("value", "met"), [(1.4, True), (1.5, True), (1.6, False)])
def test_a_target_is_met_within_its_bound(value, met) -> None:
    run = Run([LATENCY], samples("latency", "django_jobs", value, metric="p50"))
    target = Target(text="p50", figure=Figure(row="latency", label="django_jobs", metric="p50"), at_most=1.5)
    assert run.judge(target).met is met


def test_a_target_that_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {Run([], []).judge(target).met for target in TARGETS} == {None}


def test_every_target_names_a_figure_that_a_run_takes() -> None:
    taken = {
        (row.key, variant.label, metric.key)
        for row in ROWS
        for variant in row.variants
        for metric in row.measurement.metrics
    }
    rows = {(row, metric) for row, _, metric in taken}
    for target in TARGETS:
        assert (target.figure.row, target.figure.label, target.figure.metric) in taken
        match target.against:
            case Figure(row=row, label=label, metric=metric):
                assert (row, label, metric) in taken
            case FastestPeer(row=row, metric=metric):
                assert (row, metric) in rows
        assert (target.at_least is None) != (target.at_most is None)


def test_no_row_has_two_contenders_of_one_name() -> None:
    for row in ROWS:
        labels = [variant.label for variant in row.variants]
        assert len(labels) == len(set(labels)), row.key
    assert len({row.key for row in ROWS}) == len(ROWS)


def test_an_unknown_row_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"No such row: speed\. There are: enqueue, "):
        choose_rows(["speed"], ["huey"], million=False)


def test_every_contender_comes_first_in_some_round() -> None:
    assert {rotated(ENQUEUE.variants, number)[0].label for number in range(4)} == {
        variant.label for variant in ENQUEUE.variants
    }


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (50.0, 99.0, 7.0)


def test_stamps_of_threads_and_processes_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "stamps"
    writer = StampWriter(str(path))
    program = f"""
from benchmarks.scenario import ROOT
from benchmarks.stamps import StampWriter
writer = StampWriter({str(path)!r})
for index in range(1000, 2000):
    writer.write(index)
"""
    child = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)

    def write() -> None:
        for index in range(500):
            writer.write(index)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert child.wait(timeout=30) == 0
    reader = StampReader(path)
    assert reader.count() == 2000
    stamps = reader.read()
    assert {stamp.index for stamp in stamps} == {*range(500), *range(1000, 2000)}
    assert [stamp.at_ns for stamp in stamps] == sorted(stamp.at_ns for stamp in stamps)
    with pytest.raises(MeasurementError, match="2000 jobs were enqueued, 1500 ran, 500 of them again"):
        check_each_ran_once(stamps, 2000)


def test_the_report_shows_figures_targets_and_what_failed(tmp_path: Path) -> None:
    run = Run(
        [ENQUEUE],
        [
            *samples("enqueue", "django_jobs", 9000, 11000, 10000),
            *samples("enqueue", "Celery prefork", 1000, 1000, 1000),
            Sample(row="enqueue", label="Huey", round=1, error="the consumer\nended"),
        ],
    )
    machine = Machine(
        processor="a processor",
        cores=2,
        memory_gib=8,
        system="Linux",
        python="3.11",
        load_before=0.0,
        date="2026-01-01",
        versions={"Redis": "7"},
    )
    plan = Plan(rows=[ENQUEUE], rounds=3, effort=Effort())
    write_page(tmp_path / "results.rst", run, machine, plan)
    write_json(tmp_path / "results.json", run, machine, plan)
    page = (tmp_path / "results.rst").read_text()
    assert "   * - django_jobs\n     - 10,000 (9,000\N{EN DASH}11,000)\n     - 10.00\n" in page
    assert "   * - Enqueue one by one: 8 times Celery's delay()\n" in page
    assert "* ``enqueue, Huey, round 1: the consumer ended``" in page
    assert '"met": "yes"' in (tmp_path / "results.json").read_text()
