"""
By the sun, at a place on the Earth. Needs astral: ``pip install django-jobs-redis[solar]``.

Of astral are the formulas; the search for the moment is ours. astral looks an event up by the date it has in some zone,
and near midnight in UTC there are dates for which it finds none, or the one of the day before: sunrise in Kolkata on
1 April 2026. Here events are counted by the solar days of the place, each of which has one, or none near the poles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import degrees
from zoneinfo import ZoneInfo

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import words
from django_jobs.schedules.base import Schedule
from django_jobs.schedules.zones import FIRST_YEAR, LAST_YEAR

try:
    from astral import SunDirection, julian, refraction_at_zenith, sun
except ImportError:
    sun = None  # type: ignore[assignment]

#: How far from the zenith the sun is: its rim at the horizon, or civil twilight. Noon is when it is highest.
ZENITHS = {"dawn": 96.0, "sunrise": 90.0 + 32 / 120, "noon": None, "sunset": 90.0 + 32 / 120, "dusk": 96.0}
EVENTS = tuple(ZENITHS)
#: At the pole itself there are no days to count.
NEAREST_POLE = 89.8
DAY = timedelta(days=1)
#: An event is within half a day of the mean noon of its solar day, and the sun is up to 17 minutes off that.
REACH = timedelta(hours=13)
#: Near the poles the sun comes back after half a year.
MOST_DAYS = 400
START = datetime(2000, 1, 1, 12, tzinfo=UTC)

_NUMBER = r"([+-]?\d{1,3}(?:\.\d+)?)"
_TEXT = re.compile(rf"({'|'.join(EVENTS)})\s+{_NUMBER}[,\s]\s*{_NUMBER}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Solar(Schedule):
    """Recur at each dawn, sunrise, noon, sunset or dusk of a place; not on days that have none."""

    event: str
    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        if sun is None:
            raise InvalidSchedule(
                f"{self.event!r} needs the library astral, which is not installed: pip install"
                " 'django-jobs-redis[solar]' wherever beat and the admin run."
            )
        if self.event not in EVENTS:
            raise InvalidSchedule(f"{self.event!r} is none of {', '.join(EVENTS)}.")
        if not -90 <= self.latitude <= 90:
            raise InvalidSchedule(f"A latitude is from -90 (south) to 90 (north), not {self.latitude}.")
        if not -180 <= self.longitude <= 180:
            raise InvalidSchedule(f"A longitude is from -180 (west) to 180 (east), not {self.longitude}.")

    def following(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the first event after a moment."""
        if not FIRST_YEAR < after.year < LAST_YEAR:
            return None
        first = (after - REACH - self._noon(0)) // DAY
        return next((moment for moment in self._on(range(first, first + MOST_DAYS)) if moment > after), None)

    def preceding(self, until: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the last event not after a moment; also one before the anchor."""
        if not FIRST_YEAR < until.year < LAST_YEAR:
            return None
        last = (until + REACH - self._noon(0)) // DAY + 1
        return next((moment for moment in self._on(range(last, last - MOST_DAYS, -1)) if moment <= until), None)

    def __str__(self) -> str:
        return f"{self.event} {_decimal(self.latitude)} {_decimal(self.longitude)}"

    def words(self) -> str:
        """Say it: "At sunset (52.52° N, 13.4° E)"."""
        return words.of_solar(self.event, self.latitude, self.longitude)

    @classmethod
    def parse(cls, text: str) -> Solar:
        """Read "sunset 52.52 13.40" (in lower case). Raises InvalidSchedule."""
        found = _TEXT.fullmatch(text)
        if not found:
            raise InvalidSchedule(
                f"{text!r} should be {text.partition(' ')[0]!r}, a latitude and a longitude in degrees: 52.52 13.40 is"
                " Berlin, -33.87 151.21 is Sydney."
            )
        return cls(found[1], float(found[2]), float(found[3]))

    def _on(self, days: Iterable[int]) -> Iterable[datetime]:
        """Yield the events of solar days, to the second, leaving out the days that have none."""
        for day in days:
            moment = self._event(self._noon(day))
            if moment is not None:
                yield moment.replace(microsecond=0)

    def _noon(self, day: int) -> datetime:
        """Return mean noon of a solar day, by its number."""
        return START + day * DAY - timedelta(minutes=4 * self.longitude)

    def _event(self, noon: datetime) -> datetime | None:
        """Find the moment at which the sun is where it should be: where it is depends on the moment, a little."""
        moment = noon
        for _ in range(4):
            century = julian.julianday_to_juliancentury(julian.julianday(moment))
            angle = self._hour_angle(century)
            if angle is None:
                return None
            moment = noon - timedelta(minutes=4 * angle + sun.eq_of_time(century))
        return moment

    def _hour_angle(self, century: float) -> float | None:
        """Return how far the sun is from its highest, in degrees; None: it is never where it should be."""
        zenith = ZENITHS[self.event]
        if zenith is None:
            return 0.0
        latitude = min(max(self.latitude, -NEAREST_POLE), NEAREST_POLE)
        direction = SunDirection.RISING if self.event in {"dawn", "sunrise"} else SunDirection.SETTING
        try:
            refracted = zenith + refraction_at_zenith(zenith)
            return degrees(sun.hour_angle(latitude, sun.sun_declination(century), refracted, direction))
        except ValueError:  # beyond what acos() has a value for
            return None


def _decimal(degree: float) -> str:
    """Return a number that is read as the same one, without an exponent."""
    text = format(Decimal(repr(degree)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
