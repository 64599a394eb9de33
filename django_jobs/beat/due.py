"""
What is due of a periodic task, and what becomes of it.

Pure: the row, its schedule and the moment are given. What fires and what shows the next runs both count here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django_jobs.models.periodic import CatchUp, Outcome, Overlap, PeriodicTask
from django_jobs.models.validation import aware
from django_jobs.schedules import Schedule

#: With the policy "all" so many missed moments become runs of their own, the last ones.
MOST_MADE_UP = 100
#: Missed moments are counted so far: after a year of downtime there are millions of every second.
MOST_COUNTED = 1000
#: Why a moment is skipped.
UNFINISHED = "The run before has not ended."
_TINY = timedelta(microseconds=1)


class Planned(NamedTuple):
    """What is to become of a moment."""

    due: datetime
    outcome: Outcome
    #: How many moments before this one it stands for as well; MOST_COUNTED - 1 means so many or more.
    missed: int = 0
    #: Why it is skipped or refused.
    detail: str = ""


class Plan(NamedTuple):
    """What is to become of a periodic task now, and when to come back."""

    runs: Sequence[Planned]
    next_run: datetime | None


class _Due(NamedTuple):
    """The moments that have come."""

    #: The last MOST_MADE_UP + 1 of them, in order.
    moments: Sequence[datetime]
    #: How many there are of them, up to MOST_COUNTED.
    number: int
    #: The first that has not come.
    following: datetime | None


def plan(
    row: PeriodicTask, schedule: Schedule, zone: ZoneInfo, now: datetime, *, unfinished: bool, late: timedelta
) -> Plan:
    """
    Say what is to become of the moments that have come, and which one is next.

    A new row counts from its creation. One that was planned from another schedule, zone, start or end, or was disabled
    then, counts from now: nothing that was missed before is made up for. ``unfinished``: its last job has not ended;
    ``late``: a run that is later is missed, to the policy "skip".
    """
    if not row.enabled:
        return Plan((), None)
    moments = _Moments(row, schedule, zone)
    since = row.created if row.planned_enabled is None else now
    first = row.next_run if is_planned(row) else moments.following(since)
    due = moments.due(first, now)
    runs = _caught_up(row, due, now, late) if due.number else []
    if row.overlap == Overlap.SKIP:
        runs = _one_at_a_time(runs, unfinished=unfinished)
    if row.one_off:
        runs = _until_sent(runs)
    return Plan(runs, due.following)


def is_planned(row: PeriodicTask) -> bool:
    """Say whether ``next_run`` was made from what the row says now; the database says the same by ``wake``."""
    return (row.planned_schedule, row.planned_timezone, row.planned_enabled, row.planned_starts, row.planned_ends) == (
        row.schedule, row.timezone, row.enabled, row.starts, row.ends,
    )  # fmt: skip


def upcoming(row: PeriodicTask, schedule: Schedule, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the moments of a row after another one, within its start and end, as if it were enabled then."""
    moments = _Moments(row, schedule, zone)
    moment = moments.following(after)
    while moment is not None:
        yield moment
        moment = moments.following(moment)


def start_of(due: datetime, jitter: int, job_id: str) -> datetime:
    """Return when the job of a moment may start: within ``jitter`` seconds, always the same for the same job."""
    if not jitter:
        return due
    return due + timedelta(seconds=jitter) * (int(job_id[-12:], 16) / 16**12)


class _Moments:
    """The moments of one row, within its start and its end."""

    def __init__(self, row: PeriodicTask, schedule: Schedule, zone: ZoneInfo) -> None:
        self._schedule = schedule
        self._zone = zone
        self._starts = None if row.starts is None else aware(row.starts)
        self._ends = None if row.ends is None else aware(row.ends)
        self._anchor = self._starts or aware(row.created)

    def following(self, after: datetime) -> datetime | None:
        """Return the first after a moment."""
        if self._starts is not None and after < self._starts:
            after = self._starts - _TINY  # later than something: the calendar has it
        moment = self._schedule.following(after, self._zone, self._anchor)
        return None if moment is None or (self._ends is not None and moment > self._ends) else moment

    def due(self, first: datetime | None, now: datetime) -> _Due:
        """Return those from ``first`` to now. Its work is bounded, whatever lies between."""
        moment, number = first, 0
        moments: deque[datetime] = deque(maxlen=MOST_MADE_UP + 1)
        while moment is not None and moment <= now and number < MOST_COUNTED:
            moments.append(moment)
            number += 1
            moment = self.following(moment)
        if first is None or moment is None or moment > now:
            return _Due(moments, number, moment)
        return _Due(self._last(first, now), number, self.following(now))

    def _last(self, first: datetime, now: datetime) -> Sequence[datetime]:
        moments: deque[datetime] = deque()
        moment: datetime | None = now if self._ends is None else min(now, self._ends)
        while moment is not None and len(moments) <= MOST_MADE_UP:
            moment = self._schedule.preceding(moment, self._zone, self._anchor)
            if moment is not None and moment >= first:
                moments.appendleft(moment)
                moment -= _TINY
            else:
                break
        return moments


def _caught_up(row: PeriodicTask, due: _Due, now: datetime, late: timedelta) -> list[Planned]:
    """Apply the policies about what was missed. Each moment is one of these runs, or counted in one of them."""
    longest = timedelta.max if row.start_deadline is None else timedelta(seconds=row.start_deadline)
    moments = list(due.moments)
    latest = moments[-1]
    if row.catch_up == CatchUp.ONE:
        return [Planned(latest, Outcome.SENT if now - latest <= longest else Outcome.MISSED, due.number - 1)]
    if row.catch_up == CatchUp.SKIP:
        longest = min(longest, late)
        in_time = [moment for moment in moments if now - moment <= longest]
    else:
        in_time = [moment for moment in moments[-MOST_MADE_UP:] if now - moment <= longest]
    too_late = moments[: len(moments) - len(in_time)]
    missed = due.number - len(in_time) if too_late else 0
    runs = [Planned(too_late[-1], Outcome.MISSED, missed - 1)] if too_late else []
    if row.catch_up == CatchUp.SKIP and in_time:
        return [*runs, Planned(latest, Outcome.SENT, due.number - missed - 1)]
    return [*runs, *(Planned(moment, Outcome.SENT) for moment in in_time)]


def _one_at_a_time(runs: Sequence[Planned], *, unfinished: bool) -> list[Planned]:
    """Skip what would run beside the run before."""
    allowed = []
    for run in runs:
        is_sent = run.outcome is Outcome.SENT
        allowed.append(run._replace(outcome=Outcome.SKIPPED, detail=UNFINISHED) if is_sent and unfinished else run)
        unfinished = unfinished or is_sent
    return allowed


def _until_sent(runs: Sequence[Planned]) -> list[Planned]:
    """Leave out what comes after the first that is sent."""
    sent = next((index for index, run in enumerate(runs) if run.outcome is Outcome.SENT), len(runs))
    return list(runs[: sent + 1])
