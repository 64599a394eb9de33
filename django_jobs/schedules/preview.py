"""What a schedule will do, for people who look at it: the next moments, and what clock changes make of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.utils.translation import ngettext

from django_jobs.schedules.base import Schedule
from django_jobs.schedules.crontab import Crontab
from django_jobs.schedules.once import Once
from django_jobs.schedules.words import clock, dated, listed
from django_jobs.schedules.zones import Segment, forward, moment_of, naive

YEAR = timedelta(days=366)
DAY = timedelta(days=1)
#: More times than these are said as "02:00 … 02:45".
MOST = 3


class Coming(NamedTuple):
    """A moment (in UTC), and what a clock change does to it; "": nothing."""

    moment: datetime
    remark: str


class Change(NamedTuple):
    """A clock change that concerns a schedule, and those of its wall-clock times (naive) that it concerns."""

    segment: Segment
    walls: tuple[datetime, ...]

    @property
    def forward(self) -> bool:
        """Whether the clocks jump over the times; otherwise they show them twice."""
        return self.segment.fresh < self.segment.shows

    def remark(self) -> str:
        """Say it: "Sun 28 Mar 2027: 02:30 does not exist, runs once at 03:00 (clocks go forward)."."""
        first, last = self.walls[0], self.walls[-1]
        texts = [clock(wall.hour, wall.minute) for wall in self.walls]
        values = {"date": dated(first), "times": listed(texts) if len(texts) <= MOST else f"{texts[0]} … {texts[-1]}"}
        if not self.forward:
            return (
                ngettext(
                    "%(date)s: %(times)s comes twice, runs once, the first time (clocks go back).",
                    "%(date)s: %(times)s come twice, run once each, the first time (clocks go back).",
                    len(texts),
                )
                % values
            )
        shows = self.segment.shows
        end = clock(shows.hour, shows.minute)
        values["end"] = end if shows.date() == last.date() else f"{end} ({dated(shows)})"
        return (
            ngettext(
                "%(date)s: %(times)s does not exist, runs once at %(end)s (clocks go forward).",
                "%(date)s: %(times)s do not exist, run once for all of them at %(end)s (clocks go forward).",
                len(texts),
            )
            % values
        )


def coming(
    schedule: Schedule, zone: ZoneInfo, after: datetime, anchor: datetime, count: int = 5, ends: datetime | None = None
) -> list[Coming]:
    """Return the next moments after one, not beyond ``ends``, each with its remark."""
    moments = [m for m in islice(schedule.moments(after, zone, anchor), count) if ends is None or m <= ends]
    return [Coming(moment, _remark(schedule, zone, moment)) for moment in moments]


def remarks(schedule: Schedule, zone: ZoneInfo, after: datetime) -> list[str]:
    """Return what the clock changes of the year to come do to a schedule, one sentence for each."""
    start = naive(after)
    return [change.remark() for change in _changes(schedule, zone, start, start + YEAR)]


def _remark(schedule: Schedule, zone: ZoneInfo, moment: datetime) -> str:
    at = naive(moment)
    for change in _changes(schedule, zone, at - DAY, at + 2 * DAY):
        walls = tuple(wall for wall in change.walls if moment_of(wall, zone) == at)
        if walls:
            return change._replace(walls=walls).remark()
    return ""


def _changes(schedule: Schedule, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Change]:
    """Yield the clock changes from one moment to another that concern a schedule."""
    if not isinstance(schedule, Crontab | Once):
        return
    for segment in forward(zone, start, years=2):
        if segment.begins > end:
            return
        jump = segment.fresh, segment.shows
        again = segment.shows, min(segment.fresh, segment.until)
        walls = (
            tuple(schedule.walls(*(jump if segment.fresh < segment.shows else again))) if segment.begins > start else ()
        )
        if walls:
            yield Change(segment, walls)
