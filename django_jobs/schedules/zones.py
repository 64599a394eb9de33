"""
Time zones: by name, and as stretches in which the clock goes on evenly.

What the clocks of a zone show goes forward with the time, except where its offset from UTC changes: there they jump
ahead, or show a stretch for a second time. Between two changes a moment and what the clock shows differ by a constant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from django.utils.timezone import get_default_timezone

from django_jobs.exceptions import InvalidSchedule

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
#: The years in which moments are looked for, so that no offset leads out of what a datetime can say.
FIRST_YEAR, LAST_YEAR = 1900, 9990
EARLIEST, LATEST = datetime(FIRST_YEAR - 1, 1, 1, tzinfo=UTC), datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC)
#: What people write who know the offset: CEST, UTC+2, +02:00.
_NO_ZONE = re.compile(r"[a-z]{2,5}|(?:utc|gmt)?_?[+-]?_?\d{1,2}(?::?\d\d)?", re.ASCII)


class Segment(NamedTuple):
    """
    A stretch of time in which a zone keeps its offset. It ends at a change, or at the end of a year.

    Moments are in UTC and wall-clock times in the zone, both naive. Each wall-clock time is *fresh* in one segment: in
    the first that shows it, or, if none does because it was jumped over, in the one that begins with that jump.
    """

    begins: datetime
    ends: datetime
    offset: timedelta
    #: The first wall-clock time that is fresh here. Before ``shows``: a jump. After it: the clock was put back.
    fresh: datetime

    @property
    def shows(self) -> datetime:
        """The wall-clock time at which it begins."""
        return self.begins + self.offset

    @property
    def until(self) -> datetime:
        """The wall-clock time at which it ends."""
        return self.ends + self.offset

    def moment(self, wall: datetime) -> datetime:
        """Return the moment of a wall-clock time that is fresh here; the end of the jump, if it was jumped over."""
        return max(wall - self.offset, self.begins)


@lru_cache(maxsize=8192)
def segments(zone: ZoneInfo, year: int) -> tuple[Segment, ...]:
    """Return the segments that make up a year in UTC."""
    start, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001
    # An offset is less than a day: what was shown two days ago is over everywhere.
    early = start - 2 * DAY
    edges = sorted({early, start, end, *_changes(zone, early, end)})
    found = []
    fresh = early + _offset(zone, early)
    for begins, ends in pairwise(edges):
        segment = Segment(begins, ends, _offset(zone, begins), fresh)
        fresh = max(fresh, segment.until)
        found.append(segment)
    return tuple(segment for segment in found if segment.begins >= start)


def forward(zone: ZoneInfo, moment: datetime, years: int) -> Iterator[Segment]:
    """Yield the segment that a moment (in UTC, naive) is in, and those after it."""
    for year in range(max(moment.year, FIRST_YEAR), min(moment.year + years, LAST_YEAR) + 1):
        for segment in segments(zone, year):
            if segment.ends > moment:
                yield segment


def backward(zone: ZoneInfo, moment: datetime, years: int) -> Iterator[Segment]:
    """Yield the segment that a moment (in UTC, naive) is in, and those before it, the latest first."""
    for year in range(min(moment.year, LAST_YEAR), max(moment.year - years, FIRST_YEAR) - 1, -1):
        for segment in reversed(segments(zone, year)):
            if segment.begins <= moment:
                yield segment


def moment_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment, in UTC and naive, of a wall-clock time: its first one, or the end of the jump over it."""
    return next(found.moment(wall) for found in forward(zone, wall - DAY, years=1) if wall < found.until)


def naive(moment: datetime) -> datetime:
    """Return an aware moment in UTC, without saying so; one that is beyond all years, just beyond them."""
    return min(max(moment, EARLIEST), LATEST).astimezone(UTC).replace(tzinfo=None)


def zone_named(name: str) -> ZoneInfo:
    """Return an IANA time zone; of "" that of the project. Raises InvalidSchedule."""
    if not name:
        return get_default_timezone()
    if name not in _names():
        close = _alike(name)
        hint = f" Did you mean {close!r}?" if close else ""
        if not close and _NO_ZONE.fullmatch(name.strip().lower()):
            hint = " An offset or an abbreviation does not say when clocks change: name a city."
        raise InvalidSchedule(f"{name!r} is no IANA time zone such as 'Europe/Berlin' or 'UTC'.{hint}")
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    """Return the zones that are the same on every host."""
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


def _alike(name: str) -> str:
    """Return the name that was probably meant, or ""; a city alone will do."""
    lowered = {known.lower(): known for known in sorted(_names())}
    cities = {known.rpartition("/")[2]: known for known in lowered}
    wanted = name.strip().lower().replace(" ", "_")
    if _NO_ZONE.fullmatch(wanted) and wanted not in {*lowered, *cities}:
        return ""  # one letter, or one digit, more or less is another offset
    close = get_close_matches(wanted, [*lowered, *cities], n=1, cutoff=0.75)
    return lowered[cities.get(close[0], close[0])] if close else ""


def _changes(zone: ZoneInfo, begins: datetime, ends: datetime) -> Iterator[datetime]:
    """
    Yield the moments at which the offset changes: looked for day by day, and then halfway, to the second.

    A change that was taken back on the same day would not be seen; no zone has ever had one.
    """
    at, offset = begins, _offset(zone, begins)
    while at < ends:
        before, after = at, min(at + DAY, ends)
        if _offset(zone, after) == offset:
            at = after
            continue
        while after - before > SECOND:
            middle = before + (after - before) // SECOND // 2 * SECOND
            if _offset(zone, middle) == offset:
                before = middle
            else:
                after = middle
        at, offset = after, _offset(zone, after)
        yield at


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.replace(tzinfo=UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset
