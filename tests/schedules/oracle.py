"""
What a crontab does, said a second time and as plainly as can be: by looking at every minute.

Shares nothing with django_jobs.schedules: no croniter, no search, no segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import compress
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def values(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    """Expand a field without "#" and "L"."""
    found: set[int] = set()
    for token in text.lower().split(","):
        span, _, step = token.partition("/")
        first, dash, last = span.partition("-")
        begin = low if first == "*" else names.index(first) if first in names else int(first)
        end = begin if not dash else names.index(last) if last in names else int(last)
        if first == "*" or (step and not dash):
            end = high
        size = high - low + 1
        if end < begin:
            end += size
        found |= {(value - low) % size + low for value in range(begin, end + 1, int(step or 1))}
    return found


class Oracle:
    """One expression."""

    def __init__(self, expression: str) -> None:
        texts = expression.split()
        minute, hour, day, month, weekday = texts
        self.minutes, self.hours = values(minute, 0, 59), values(hour, 0, 23)
        self.months = values(month, 1, 12, MONTHS)
        self.days, self.weekdays = values(day, 1, 31), values(weekday, 0, 6, DAYS)
        self.both = day[0] == "*" or weekday[0] == "*"
        self.wildcard = minute[0] == "*" or hour[0] == "*"

    def fits_date(self, day: date) -> bool:
        by_month, by_week = day.day in self.days, (day.weekday() + 1) % 7 in self.weekdays
        return day.month in self.months and (by_month and by_week if self.both else by_month or by_week)

    def fits_time(self, minute: int) -> bool:
        return minute // 60 in self.hours and minute % 60 in self.minutes

    def fits(self, wall: datetime) -> bool:
        return self.fits_date(wall.date()) and self.fits_time(wall.hour * 60 + wall.minute)

    def moments(self, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
        """Return all moments from ``start`` to before ``end``, by going through all minutes in between."""
        walls, moments = seen(zone, start, end)[0 if self.wildcard else 1]
        whole_day = bytes(self.fits_time(minute) for minute in range(1440))
        days = range(start.toordinal() - 1, end.toordinal() + 2)
        by_minute = b"".join(whole_day if self.fits_date(date.fromordinal(day)) else bytes(1440) for day in days)
        fitting = compress(moments, map(by_minute.__getitem__, walls))
        return [start + minute * MINUTE for minute in dict.fromkeys(fitting)]


Seen = tuple[Sequence[int], Sequence[int]]


@cache
def seen(zone: ZoneInfo, start: datetime, end: datetime) -> tuple[Seen, Seen]:
    """
    Return what the clocks of a zone show: wall-clock minutes, and for each the minute after ``start`` that it is in.

    Wall-clock minutes are counted from midnight on the day before ``start``.

    First for wildcards: whatever is shown, when it is shown. Then for fixed times: what was not shown before, with what
    was jumped over just now.
    """
    origin = start.toordinal() - 1
    shown: list[int] = []
    moment = start
    while moment < end:  # offsets change on quarters of an hour in the years tested
        wall = _wall(moment, zone, origin)
        shown.extend(range(wall, wall + 15))
        moment += 15 * MINUTE

    fresh: list[int] = []
    indexes: list[int] = []
    newest = _wall(start - MINUTE, zone, origin)
    for index, wall in enumerate(shown):
        while newest < wall:
            newest += 1
            fresh.append(newest)
            indexes.append(index)
    return (shown, range(len(shown))), (fresh, indexes)


def _wall(moment: datetime, zone: ZoneInfo, origin: int) -> int:
    wall = moment.astimezone(zone)
    return (wall.toordinal() - origin) * 1440 + wall.hour * 60 + wall.minute


def utc(*numbers: int) -> datetime:
    """Return a moment."""
    return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type, misc]
