"""What a schedule is: a function from a moment to the next one, and a text that says it."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo


class Schedule(abc.ABC):
    """
    When something recurs. Pure: knows no clock and no database.

    Moments are aware and in UTC. ``zone`` is where wall clocks are read; ``anchor`` is the moment that intervals count
    from. Implementations ignore what does not concern them.

    ``following`` and ``preceding`` see the same moments: nothing lies between one and the one that follows it.
    """

    __slots__ = ()

    @abc.abstractmethod
    def following(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the first moment strictly after ``after``; None: there is none any more."""

    @abc.abstractmethod
    def preceding(self, until: datetime, zone: ZoneInfo, anchor: datetime) -> datetime | None:
        """Return the last moment not after ``until``; None: there was none. Of an interval, none before ``anchor``."""

    @abc.abstractmethod
    def __str__(self) -> str:
        """Return the text that ``parse`` makes this schedule of: what a row stores."""

    @abc.abstractmethod
    def words(self) -> str:
        """Say it in the language of the reader, without the zone: "At 02:30, every day"."""

    def moments(self, after: datetime, zone: ZoneInfo, anchor: datetime) -> Iterator[datetime]:
        """Yield every moment strictly after ``after``, in order."""
        moment = self.following(after, zone, anchor)
        while moment is not None:
            yield moment
            moment = self.following(moment, zone, anchor)
