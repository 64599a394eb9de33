"""What becomes of the moments of a periodic task, at whatever times somebody comes to look."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.beat import due
from django_jobs.beat.due import MOST_COUNTED, MOST_MADE_UP, Plan, Planned, plan, start_of, upcoming
from django_jobs.identifiers import derived_id
from django_jobs.models.periodic import Outcome, PeriodicTask
from django_jobs.schedules import parse

ZONE = ZoneInfo("UTC")
LATE = timedelta(seconds=60)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENT, SKIPPED, MISSED = Outcome.SENT, Outcome.SKIPPED, Outcome.MISSED


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def row_of(schedule: str = "every 10 seconds", *, planned: bool = True, **fields: Any) -> PeriodicTask:
    """Return a row that was made at START and, unless it is new, was planned right then."""
    row = PeriodicTask(name="row", task="t", schedule=schedule, created=START, **fields)
    if planned:
        keep(row, Plan((), next(upcoming(row, parse(schedule), ZONE, START), None)))
    return row


def keep(row: PeriodicTask, made: Plan) -> None:
    """Do to a row what firing does when every job can be made."""
    if row.one_off and any(run.outcome is SENT for run in made.runs):
        row.enabled, made = False, Plan(made.runs, None)
    row.next_run = made.next_run
    row.planned_schedule, row.planned_timezone, row.planned_enabled = row.schedule, row.timezone, row.enabled
    row.planned_starts, row.planned_ends = row.starts, row.ends


def look(row: PeriodicTask, seconds: float, *, unfinished: bool = False) -> list[Planned]:
    """Plan a row so long after START, keep that, and return the runs."""
    made = plan(row, parse(row.schedule), ZONE, at(seconds), unfinished=unfinished, late=LATE)
    keep(row, made)
    return list(made.runs)


def brief(runs: Sequence[Planned]) -> list[tuple[float, Outcome, int]]:
    return [((run.due - START).total_seconds(), run.outcome, run.missed) for run in runs]


@pytest.mark.parametrize("schedule", ["every 10 seconds", "* * * * *"])
def test_a_start_that_nothing_comes_before(schedule: str) -> None:
    row = row_of(schedule, starts=datetime.min.replace(tzinfo=UTC))
    assert next(upcoming(row, parse(schedule), ZONE, START), None) is not None
    assert [outcome for _, outcome, _ in brief(look(row, 60))] == [SENT]


@pytest.mark.parametrize(
    ("fields", "seconds", "expected"),
    [
        # Nothing has come.
        ({}, 9.9, []),
        ({"catch_up": "all"}, 9.9, []),
        # In time: every policy runs.
        *(({"catch_up": policy}, 10.0, [(10, SENT, 0)]) for policy in ("one", "skip", "all")),
        # Nobody was there for a while.
        ({"catch_up": "one"}, 45, [(40, SENT, 3)]),
        ({"catch_up": "skip"}, 45, [(40, SENT, 3)]),
        ({"catch_up": "all"}, 45, [(10, SENT, 0), (20, SENT, 0), (30, SENT, 0), (40, SENT, 0)]),
        # Longer than LATE.
        ({"catch_up": "one"}, 95, [(90, SENT, 8)]),
        ({"catch_up": "skip"}, 95, [(30, MISSED, 2), (90, SENT, 5)]),
        ({"catch_up": "skip", "schedule": "every 5 minutes"}, 700, [(600, MISSED, 1)]),
        ({"catch_up": "one", "schedule": "every 5 minutes"}, 700, [(600, SENT, 1)]),
        # A deadline that is shorter: exactly that late is in time.
        ({"catch_up": "one", "start_deadline": 5}, 45, [(40, SENT, 3)]),
        ({"catch_up": "one", "start_deadline": 4}, 45, [(40, MISSED, 3)]),
        ({"catch_up": "skip", "start_deadline": 15}, 45, [(20, MISSED, 1), (40, SENT, 1)]),
        ({"catch_up": "all", "start_deadline": 15}, 45, [(20, MISSED, 1), (30, SENT, 0), (40, SENT, 0)]),
        ({"catch_up": "all", "start_deadline": 2}, 45, [(40, MISSED, 3)]),
        # A deadline that is longer than LATE moves nothing of "skip".
        ({"catch_up": "skip", "start_deadline": 500}, 95, [(30, MISSED, 2), (90, SENT, 5)]),
        # Its end: not after, but at it.
        ({"ends": at(30)}, 45, [(30, SENT, 2)]),
        ({"ends": at(29.999)}, 45, [(20, SENT, 1)]),
        ({"ends": at(9)}, 45, []),
        # Its start: also at it, and from there on.
        ({"starts": at(15), "catch_up": "all"}, 40, [(15, SENT, 0), (25, SENT, 0), (35, SENT, 0)]),
        ({"starts": at(50)}, 45, []),
        # Once.
        ({"schedule": "at 2026-03-01 12:00:07"}, 8, [(7, SENT, 0)]),
        ({"schedule": "at 2026-03-01 12:00:07"}, 6, []),
        ({"schedule": "at 2026-03-01 11:59:59"}, 6, []),
        ({"schedule": "at 2026-03-01 12:00:07", "catch_up": "skip"}, 90, [(7, MISSED, 0)]),
        # One-off: the first that is sent is the last.
        ({"one_off": True, "catch_up": "all"}, 45, [(10, SENT, 0)]),
        ({"one_off": True, "catch_up": "all", "start_deadline": 15}, 45, [(20, MISSED, 1), (30, SENT, 0)]),
        # Not beside the run before.
        ({"overlap": "skip", "catch_up": "all"}, 35, [(10, SENT, 0), (20, SKIPPED, 0), (30, SKIPPED, 0)]),
        # Off.
        ({"enabled": False}, 45, []),
    ],
)  # fmt: skip
def test_policies(fields: dict[str, Any], seconds: float, expected: list[tuple[float, Outcome, int]]) -> None:
    row = row_of(**fields)
    assert brief(look(row, seconds)) == expected
    assert look(row, seconds) == []  # and nothing twice


def test_the_run_before_has_not_ended() -> None:
    row = row_of(overlap="skip")
    (skipped,) = runs = look(row, 10, unfinished=True)
    assert brief(runs) == [(10, SKIPPED, 0)]
    assert skipped.detail == "The run before has not ended."
    assert brief(look(row, 25, unfinished=True)) == [(20, SKIPPED, 0)]
    assert brief(look(row, 30)) == [(30, SENT, 0)]
    assert brief(look(row_of(), 10, unfinished=True)) == [(10, SENT, 0)]


def test_what_is_skipped_is_no_run_of_a_one_off() -> None:
    row = row_of(overlap="skip", one_off=True)
    assert brief(look(row, 10, unfinished=True)) == [(10, SKIPPED, 0)]
    assert brief(look(row, 20)) == [(20, SENT, 0)]
    assert not row.enabled
    assert look(row, 1000) == []


# When nobody had planned it, or it was changed


def test_a_new_row_counts_from_its_creation() -> None:
    assert brief(look(row_of(planned=False), 35)) == [(30, SENT, 2)]
    assert look(row_of("at 2026-03-01 11:59", planned=False), 35) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schedule": "every 5 seconds"}, 105),
        ({"timezone": "Asia/Tokyo"}, 110),
        ({"starts": START - timedelta(seconds=3)}, 107),
        ({"starts": at(200)}, 200),
        ({"ends": at(500)}, 110),
    ],
)
def test_after_a_change_it_counts_from_now(change: dict[str, Any], expected: float) -> None:
    row = row_of(catch_up="all")
    for name, value in change.items():
        setattr(row, name, value)
    assert look(row, 100) == []
    assert row.next_run == at(expected)


def test_enabling_fires_nothing_of_the_time_when_it_was_off() -> None:
    row = row_of(catch_up="all")
    row.enabled = False
    assert look(row, 15) == []
    assert row.next_run is None
    row.enabled = True
    assert look(row, 100.5) == []
    assert brief(look(row, 110)) == [(110, SENT, 0)]


def test_a_policy_counts_without_planning_anew() -> None:
    row = row_of()
    row.catch_up = "all"
    assert len(look(row, 45)) == 4


# Bounds


@pytest.mark.parametrize("schedule", ["every 0.1 seconds", "every second", "* * * * *", "@hourly"])
@pytest.mark.parametrize("catch_up", ["one", "skip", "all"])
def test_the_work_after_a_year_of_downtime_is_bounded(schedule: str, catch_up: str) -> None:
    row = row_of(schedule, catch_up=catch_up)
    year = timedelta(days=365).total_seconds() + 0.05
    began = time.process_time()
    runs = look(row, year)
    assert time.process_time() - began < 5  # millions of moments take minutes
    assert sum(1 + run.missed for run in runs) == MOST_COUNTED
    assert runs[-1].due > at(year - 3601)
    if catch_up == "all":
        assert [run.outcome for run in runs] == [MISSED] + [SENT] * MOST_MADE_UP
        assert len({run.due for run in runs}) == len(runs)
        gaps = {after.due - before.due for before, after in pairwise(runs)}
        assert len(gaps) == 1
    assert row.next_run is not None
    assert at(year) < row.next_run <= at(year + 3600)


def test_it_asks_a_schedule_no_more_often_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = parse("every 0.1 seconds")
    asked: list[str] = []

    class Counting(type(schedule)):  # type: ignore[misc]
        def following(self, *args: Any) -> datetime | None:
            asked.append("following")
            return super().following(*args)  # type: ignore[no-any-return]

        def preceding(self, *args: Any) -> datetime | None:
            asked.append("preceding")
            return super().preceding(*args)  # type: ignore[no-any-return]

    row = row_of("every 0.1 seconds")
    plan(row, Counting(schedule.every), ZONE, at(10**8), unfinished=False, late=LATE)  # type: ignore[attr-defined]
    assert len(asked) <= MOST_COUNTED + MOST_MADE_UP + 2


# Whenever somebody looks


FIELDS = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from(["every 7 seconds", "every 1.5 seconds", "* * * * *", "*/7 * * * *",
                                     "at 2026-03-01 12:03:20"]),
        "catch_up": st.sampled_from(["one", "skip", "all"]),
        "overlap": st.sampled_from(["allow", "skip"]),
        "start_deadline": st.sampled_from([None, 1, 30, 90]),
        "starts": st.sampled_from([None, at(-100), at(0), at(33), at(160)]),
        "ends": st.sampled_from([None, at(10), at(140), at(420)]),
    }
)  # fmt: skip
#: Pauses between two looks, most of them short, and whether the last job had ended.
LOOKS = st.lists(
    st.tuples(st.one_of(st.floats(0, 2), st.floats(0, 90), st.just(7.0), st.just(60.0)), st.booleans()),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(fields=FIELDS, looks=LOOKS, new=st.booleans())
def test_nothing_is_left_out_and_nothing_comes_twice(
    fields: dict[str, Any], looks: list[tuple[float, bool]], new: bool
) -> None:
    row = row_of(planned=not new, **fields)
    moment, runs = 0.0, []
    for pause, unfinished in looks:
        moment += pause
        found = look(row, moment, unfinished=unfinished)
        assert all(run.due <= at(moment) for run in found)
        assert row.next_run is None or row.next_run > at(moment)
        if fields["start_deadline"] is not None:
            late = timedelta(seconds=fields["start_deadline"])
            assert all(at(moment) - run.due <= late for run in found if run.outcome is SENT)
        runs += found
    every = []
    for known in upcoming(row, parse(row.schedule), ZONE, START):
        if known > at(moment):
            break
        every.append(known)
    # Each moment is a run, or is counted by the first one after it.
    assert [run.due for run in runs] == sorted({run.due for run in runs})
    before = 0
    for run in runs:
        position = every.index(run.due)
        assert run.missed == position - before
        before = position + 1
    assert before == len(every)


@settings(deadline=None, max_examples=100)
@given(
    looks=st.lists(st.tuples(st.floats(0, 30), st.booleans()), min_size=1, max_size=30),
    catch_up=st.sampled_from(["one", "skip", "all"]),
)
def test_what_runs_after_it_was_enabled_is_due_after_that(looks: list[tuple[float, bool]], catch_up: str) -> None:
    row = row_of("every 4 seconds", catch_up=catch_up)
    moment, enabled_at = 0.0, 0.0
    for pause, enabled in looks:
        moment += pause
        if enabled and not row.enabled:
            enabled_at = moment
        row.enabled = enabled
        assert all(run.due > at(enabled_at) for run in look(row, moment))


# Jitter


def test_jitter_is_always_the_same_and_within_its_bound() -> None:
    ids = [derived_id(1, "1", "row", str(number)) for number in range(200)]
    starts = [start_of(START, 30, job_id) for job_id in ids]
    assert starts == [start_of(START, 30, job_id) for job_id in ids]
    assert min(starts) >= START
    assert max(starts) < at(30)
    assert max(starts) - min(starts) > timedelta(seconds=25)
    assert start_of(START, 0, ids[0]) == START


def test_upcoming_ends_with_the_row() -> None:
    row = row_of(ends=at(35))
    assert list(upcoming(row, parse(row.schedule), ZONE, at(10))) == [at(20), at(30)]
    assert due.is_planned(row)
