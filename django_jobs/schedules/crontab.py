"""
Five fields, read on a wall clock.

What the clock shows is taken apart from what moment that is: ``Fields`` finds the wall-clock times, ``zones`` the
stretches in which these are moments. What a clock change does to them is said in the two methods ``_walls`` and
``Segment.moment``, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Never
from zoneinfo import ZoneInfo

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import words
from django_jobs.schedules.base import Schedule
from django_jobs.schedules.fields import Fields, fields_of
from django_jobs.schedules.zones import Segment, backward, forward, naive

#: What a field is given as: as in Celery.
Field = str | int | Iterable[int | str]
#: The rarest date, a 29 February on one day of the week, is at most 40 years away.
YEARS = 41
#: What else crontabs have elsewhere, and what is used here.
_INSTEAD = {
    **dict.fromkeys(("tz", "timezone"), "The time zone is said beside it: 'timezone' of DJANGO_JOBS['SCHEDULE']."),
    **dict.fromkeys(("nowfun", "app"), "The clock is that of the database."),
    **dict.fromkeys(("second", "seconds"), "There are no seconds: 'every 10 seconds' is a schedule, too."),
}
TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Crontab(Schedule):
    """
    Recur when the wall clock shows what ``expression`` says: five fields, or @daily and the like.

    Where clocks are changed, a crontab whose minute or hour begins with ``*`` follows the time that goes by: it runs in
    both passes of a stretch that is shown twice, and not at times that are jumped over. Any other runs once at each of
    its times: in the first pass, and at the end of a jump if its time, or several of them, was jumped over.
    """

    expression: str

    def __post_init__(self) -> None:
        fields_of(self.expression)

    @property
    def fields(self) -> Fields:
        """What it says, expanded."""
        return fields_of(self.expression)

    def following(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the first moment after ``after``."""
        fields, start = self.fields, naive(after) + TICK
        for segment in forward(zone, start, YEARS):
            low, high = _walls(segment, fields)
            if start > segment.begins:
                low = max(low, start + segment.offset)
            wall = fields.first(low, high)
            if wall is not None:
                return segment.moment(wall).replace(tzinfo=UTC)
        return None

    def preceding(self, until: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the last moment not after ``until``; also one before the anchor."""
        fields, end = self.fields, naive(until)
        for segment in backward(zone, end, YEARS):
            low, high = _walls(segment, fields)
            wall = fields.last(low, min(high, end + segment.offset + TICK))
            if wall is not None:
                return segment.moment(wall).replace(tzinfo=UTC)
        return None

    def walls(self, low: datetime, high: datetime) -> Iterator[datetime]:
        """Yield the wall-clock times from ``low`` to before ``high`` that a clock change would matter to."""
        return iter(()) if self.fields.elapsed else self.fields.every(low, high)

    def __str__(self) -> str:
        return self.expression

    def words(self) -> str:
        """Say it: "At 02:30, every day"; the expression itself where words would be longer or not exact."""
        return words.of_crontab(self.fields) or self.expression


def _walls(segment: Segment, fields: Fields) -> tuple[datetime, datetime]:
    """Return the wall-clock times of a segment that count: those that it shows, or those that are fresh in it."""
    return (segment.shows if fields.elapsed else segment.fresh), segment.until


def crontab(
    minute: Field = "*",
    hour: Field = "*",
    day_of_week: Field = "*",
    day_of_month: Field = "*",
    month_of_year: Field = "*",
    **strangers: Never,
) -> Crontab:
    """
    Make a crontab of its fields, in Celery's order, or of one string with five of them.

    ``crontab(hour=3, minute=0)``, ``crontab(0, {8, 20}, "mon-fri")``, ``crontab("0 3 * * mon-fri")``,
    ``crontab("@daily")``. As in Celery a field that is left out is ``*``: ``crontab(hour=3)`` is every minute from
    03:00 to 03:59. Raises InvalidSchedule.
    """
    for stranger in strangers:
        raise InvalidSchedule(f"A crontab has no {stranger!r}.{_instead(stranger)}")
    others = {"hour": hour, "day_of_week": day_of_week, "day_of_month": day_of_month, "month_of_year": month_of_year}
    if isinstance(minute, str) and all(given == "*" for given in others.values()) and _is_whole(minute):
        return Crontab(" ".join(minute.split()))
    texts = {name: _text(name, given) for name, given in {"minute": minute, **others}.items()}
    if not texts["day_of_week"].startswith("*") and not texts["day_of_month"].startswith("*"):
        raise InvalidSchedule(
            "crontab(day_of_week=..., day_of_month=...) would mean days that are both in Celery, and either in cron."
            " Write crontab('0 3 1-7 * mon') for either, and 'mon#1' (the first), 'mon#2' or 'L1' (the last Monday of a"
            " month) for days of a week within a month."
        )
    order = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    return Crontab(" ".join(texts[name] for name in order))


def _instead(stranger: str) -> str:
    if stranger in _INSTEAD:
        return f" {_INSTEAD[stranger]}"
    names = ["minute", "hour", "day_of_week", "day_of_month", "month_of_year"]
    close = [name for name in names if stranger == f"{name}s"] or get_close_matches(stranger, names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(names)}."


def _is_whole(text: str) -> bool:
    return text.strip().startswith("@") or len(text.split()) > 1


def _text(name: str, given: Field) -> str:
    """Return the text of one field, without spaces."""
    if isinstance(given, str):
        text = "".join(given.split())
    elif isinstance(given, int) and not isinstance(given, bool):
        text = str(given)
    elif isinstance(given, Iterable) and not isinstance(given, bytes):
        text = ",".join(sorted((_text(name, value) for value in given), key=lambda text: (len(text), text)))
    else:
        text = ""
    if not text:
        raise InvalidSchedule(f"{name}={given!r} should be a number, a text such as '*/15', or a set of them.")
    return text
