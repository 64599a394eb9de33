"""Once, at a moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import words
from django_jobs.schedules.base import Schedule
from django_jobs.schedules.zones import moment_of

#: Offsets of zones before and wall clocks after are nobody's business here.
YEARS = range(1970, 9000)


@dataclass(frozen=True, slots=True)
class Once(Schedule):
    """
    Happen at ``moment``: aware, or a wall-clock time in the zone of the row.

    A wall-clock time that does not exist there is the end of the jump over it; one that exists twice is the first.
    """

    moment: datetime

    def __post_init__(self) -> None:
        if self.moment.year not in YEARS:
            raise InvalidSchedule(f"A moment is in a year from 1970 to {YEARS[-1]}, not {self.moment.isoformat(' ')}.")

    def when(self, zone: ZoneInfo) -> datetime:
        """Return the moment in UTC."""
        if self.moment.tzinfo:
            return self.moment.astimezone(UTC)
        return moment_of(self.moment, zone).replace(tzinfo=UTC)

    def following(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the moment, if it is still to come."""
        moment = self.when(zone)
        return moment if moment > after else None

    def preceding(self, until: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the moment, if it has come; also one before the anchor."""
        moment = self.when(zone)
        return moment if moment <= until else None

    def walls(self, low: datetime, high: datetime) -> Iterator[datetime]:
        """Yield the wall-clock time, if it is one, and from ``low`` to before ``high``."""
        if self.moment.tzinfo is None and low <= self.moment < high:
            yield self.moment

    def __str__(self) -> str:
        timespec = "auto" if self.moment.second or self.moment.microsecond else "minutes"
        return f"at {self.moment.isoformat(sep=' ', timespec=timespec)}"

    def words(self) -> str:
        """Say it: "Once, at 18:00 on 24 December 2026"."""
        return words.of_once(self.moment)

    @classmethod
    def parse(cls, text: str) -> Once:
        """Read "at 2026-12-24 18:00", with or without an offset. Raises InvalidSchedule."""
        try:
            return cls(datetime.fromisoformat(text.removeprefix("at").strip().upper()))
        except ValueError as error:
            if isinstance(error, InvalidSchedule):
                raise
            raise InvalidSchedule(
                f"{text!r} should be 'at' and a moment: '2026-12-24 18:00' on the clocks of the row's zone, or with an"
                " offset such as '2026-12-24 18:00+01:00'."
            ) from None
