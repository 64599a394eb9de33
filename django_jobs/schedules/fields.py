"""The five fields of a crontab, expanded, and the wall-clock times that fit."""

from __future__ import annotations

import calendar
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules.syntax import LAST, expand, split

#: After so many days the calendar repeats, weekdays included; no date of a crontab is rarer than 40 years.
CYCLE = 400 * 365 + 97
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a crontab, by month and by week."""

    of_month: frozenset[int]
    #: Those that are counted within their month: (weekday, how many-th, or LAST).
    counted: frozenset[tuple[int, int]]
    #: Monday is 0, as in Python.
    of_week: frozenset[int]
    #: A day has to fit both, because one of the two fields begins with ``*``; otherwise it is enough to fit one.
    both: bool

    @property
    def any_of_month(self) -> bool:
        """Whether every day of a month will do."""
        return len(self.of_month - {LAST}) == 31

    @property
    def any_of_week(self) -> bool:
        """Whether every day of the week will do."""
        return len(self.of_week) == 7 and not self.counted

    def fit(self, first_weekday: int, length: int) -> tuple[int, ...]:
        """Return the days that fit in a month that begins with a weekday and has a length."""
        return tuple(day for day in range(1, length + 1) if self._fits(day, (first_weekday + day - 1) % 7, length))

    def _fits(self, day: int, weekday: int, length: int) -> bool:
        by_month = day in self.of_month or (day == length and LAST in self.of_month)
        if self.counted:
            by_week = (weekday, (day + 6) // 7) in self.counted or (
                day + 7 > length and (weekday, LAST) in self.counted
            )
        else:
            by_week = weekday in self.of_week
        return by_month and by_week if self.both else by_month or by_week


class Fields:
    """What a crontab says, expanded, and the wall-clock times (naive) at which it is so."""

    def __init__(self, expression: str) -> None:
        texts = split(expression)
        expanded, counted = expand(expression, texts)
        self.minutes, self.hours, of_month, self.months, of_week = expanded
        star_days, star_weekdays = texts[2].startswith("*"), texts[4].startswith("*")
        self.days = Days(
            frozenset(of_month),
            frozenset(((day + 6) % 7, nth) for day, nth in counted),
            frozenset((day + 6) % 7 for day in of_week),
            both=star_days or star_weekdays,
        )
        #: It has a ``*`` for its minute or hour: it follows the time that goes by, not what the clock shows.
        self.elapsed = texts[0].startswith("*") or texts[1].startswith("*")
        #: Minutes of the day.
        self.times = tuple(hour * 60 + minute for hour in self.hours for minute in self.minutes)
        self._months: dict[tuple[int, int, int], tuple[int, ...]] = {}
        self._check_that_it_comes(expression, texts)

    def first(self, low: datetime, high: datetime) -> datetime | None:
        """Return the first time from ``low`` to before ``high``."""
        day = self._day_from(low.date(), high)
        if day == low.date():
            minute = low.hour * 60 + low.minute + bool(low.second or low.microsecond)
            index = bisect_left(self.times, minute)
            if index < len(self.times):
                return _before(high, day, self.times[index])
            day = self._day_from(day + DAY, high)
        return None if day is None else _before(high, day, self.times[0])

    def last(self, low: datetime, high: datetime) -> datetime | None:
        """Return the last time from ``low`` to before ``high``."""
        day = self._day_until(high.date(), low)
        if day == high.date():
            minute = high.hour * 60 + high.minute + bool(high.second or high.microsecond)
            index = bisect_left(self.times, minute)
            if index:
                return _not_before(low, day, self.times[index - 1])
            day = self._day_until(day - DAY, low)
        return None if day is None else _not_before(low, day, self.times[-1])

    def every(self, low: datetime, high: datetime) -> Iterator[datetime]:
        """Yield each time from ``low`` to before ``high``."""
        while (found := self.first(low, high)) is not None:
            yield found
            low = found + timedelta(minutes=1)

    def _day_from(self, day: date, high: datetime) -> date | None:
        year, month, number = day.year, day.month, day.day
        while (year, month) <= (high.year, high.month):
            for fitting in self._days(year, month):
                if fitting >= number:
                    return date(year, month, fitting)
            year, month, number = (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)
        return None

    def _day_until(self, day: date, low: datetime) -> date | None:
        year, month, number = day.year, day.month, day.day
        while (year, month) >= (low.year, low.month):
            for fitting in reversed(self._days(year, month)):
                if fitting <= number:
                    return date(year, month, fitting)
            year, month, number = (year, month - 1, 31) if month > 1 else (year - 1, 12, 31)
        return None

    def _days(self, year: int, month: int) -> tuple[int, ...]:
        if month not in self.months:
            return ()
        key = (month, *calendar.monthrange(year, month))
        days = self._months.get(key)
        if days is None:
            days = self._months[key] = self.days.fit(*key[1:])
        return days

    def _check_that_it_comes(self, expression: str, texts: list[str]) -> None:
        longest = max(29 if month == 2 else calendar.monthrange(2000, month)[1] for month in self.months)
        first = min((day for day in self.days.of_month if day != LAST), default=1)
        start = datetime(2000, 1, 1)  # noqa: DTZ001
        by_month = first <= longest or LAST in self.days.of_month
        if not by_month or not self._day_from(start.date(), start + timedelta(CYCLE)):
            weekday = "" if self.days.any_of_week or not self.days.both else f" that is {texts[4]!r}"
            raise InvalidSchedule(f"{expression!r} never comes: month {texts[3]!r} has no day {texts[2]!r}{weekday}.")


@lru_cache(maxsize=4096)
def fields_of(expression: str) -> Fields:
    """Return what a crontab says. Raises InvalidSchedule."""
    return Fields(expression)


def _before(high: datetime, day: date, minute: int) -> datetime | None:
    found = datetime.combine(day, time(*divmod(minute, 60)))
    return found if found < high else None


def _not_before(low: datetime, day: date, minute: int) -> datetime | None:
    found = datetime.combine(day, time(*divmod(minute, 60)))
    return found if found >= low else None
