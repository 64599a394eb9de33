"""Every so many seconds, of elapsed time: no zone and no clock change moves it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import words
from django_jobs.schedules.base import Schedule

#: The largest unit that divides an interval is the one it is said in.
UNITS = {
    "weeks": timedelta(weeks=1),
    "days": timedelta(days=1),
    "hours": timedelta(hours=1),
    "minutes": timedelta(minutes=1),
    "seconds": timedelta(seconds=1),
}
SHORTEST = timedelta(milliseconds=100)
LONGEST = timedelta(days=36_525)
TICK = timedelta(microseconds=1)

#: No unit of ours is divided into more than a microsecond by six digits.
_EVERY = re.compile(r"every *(\d{1,12}(?:\.\d{1,6})?)? *([a-z]+)", re.ASCII)
_OF_CALENDARS = {"month": "@monthly", "year": "@yearly"}


@dataclass(frozen=True, slots=True)
class Interval(Schedule):
    """
    Recur every ``every``, counted from the anchor: at anchor + every, anchor + 2 * every ...

    The anchor itself is a moment for those who look from before it, which is how a row with ``starts`` has it for its
    first.
    """

    every: timedelta

    def __post_init__(self) -> None:
        if not SHORTEST <= self.every <= LONGEST:
            raise InvalidSchedule(f"An interval is from 0.1 seconds to a century, not {_seconds(self.every)} seconds.")

    def following(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the first multiple after a moment."""
        return self._moment(anchor, max((after - anchor) // self.every + 1, 0))

    def preceding(self, until: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the last multiple not after a moment; None: that is before the anchor."""
        steps = (until - anchor) // self.every
        return self._moment(anchor, steps) if steps >= 0 else None

    def _moment(self, anchor: datetime, steps: int) -> datetime | None:
        try:
            return anchor.astimezone(UTC) + steps * self.every
        except OverflowError:
            return None

    def __str__(self) -> str:
        count, unit = self._in_largest_unit()
        return f"every {count} {unit if count != '1' else unit[:-1]}"

    def words(self) -> str:
        """Say it: "Every 15 minutes"."""
        return words.of_interval(*self._in_largest_unit())

    def _in_largest_unit(self) -> tuple[str, str]:
        for unit, length in UNITS.items():
            if not self.every % length:
                return str(self.every // length), unit
        return _seconds(self.every), "seconds"

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read "every 15 minutes" (in lower case). Raises InvalidSchedule."""
        found = _EVERY.fullmatch(text)
        if not found:
            raise InvalidSchedule(f"{text!r} should be 'every', a number such as 15 or 1.5, and one of {_UNITS}.")
        number, unit = found[1] or "1", found[2].removesuffix("s") + "s"
        if unit not in UNITS:
            raise InvalidSchedule(f"{found[2]!r} in {text!r} is none of {_UNITS}.{_meant(found[2])}")
        try:
            return cls(int(Decimal(number) * (UNITS[unit] // TICK)) * TICK)
        except OverflowError:
            raise InvalidSchedule(f"An interval is from 0.1 seconds to a century, not {number} {unit}.") from None


_UNITS = ", ".join(reversed(UNITS))


def _meant(unit: str) -> str:
    if calendars := _OF_CALENDARS.get(unit.removesuffix("s")):
        return (
            f" No two {unit.removesuffix('s')}s are equally long: say {calendars}, or a crontab such as '0 3 1 */2 *'."
        )
    close = get_close_matches(unit, UNITS, n=1) or [name for name in UNITS if name.startswith(unit[0])]
    return f" Did you mean {close[0]!r}?" if close else ""


def _seconds(length: timedelta) -> str:
    """Return a length in seconds, exactly."""
    return format(Decimal(length // TICK).scaleb(-6).normalize(), "f")
