"""The time of a test: it goes on by itself, and the test moves it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django_jobs import clock
from django_jobs.conf import as_ms


class MovedClock:
    """
    A source for ``django_jobs.clock``: the real time, and as much more as the test has moved it.

    It does not stand still, so that a moment that the code under test has computed (``timezone.now() +
    timedelta(minutes=5)``) is over once the test has moved the clock by as much. Where something else freezes ``time``,
    it stands still, too.
    """

    def __init__(self) -> None:
        moved_ms = clock.now_ms() - _real_ms()
        #: A clock that was moved before goes on from there; a little is only the time between two looks.
        self._moved_ms = moved_ms if abs(moved_ms) > 100 else 0
        self._stopped_ms: int | None = None

    def __call__(self) -> float:
        """Return seconds since the epoch."""
        now_ms = _real_ms() if self._stopped_ms is None else self._stopped_ms
        # Half a millisecond more: no rounding on the way to milliseconds and back loses one.
        return (now_ms + self._moved_ms + 0.5) / 1000

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the time stand still, but for ``advance``: a minute after a minute is two minutes, not a little more."""
        before, self._stopped_ms = self._stopped_ms, self._stopped_ms or _real_ms()
        try:
            yield
        finally:
            self._stopped_ms = before

    def advance(self, by: timedelta | float) -> None:
        """Move the time forward by a timedelta or seconds. Raises ValueError for less than nothing."""
        if as_ms(by) < 0:
            raise ValueError(f"advance() moves the time forward, not by {by!r}.")
        self._moved_ms += as_ms(by)

    def advance_to(self, moment_ms: int) -> None:
        """Move the time forward to a moment, unless it is past."""
        self._moved_ms += max(0, moment_ms - clock.now_ms())


def _real_ms() -> int:
    return time.time_ns() // 1_000_000


def moment_of(until: timedelta | float | datetime) -> int:
    """Return the moment that ``until`` means, in ms: a timedelta or seconds from now, or an aware datetime."""
    if isinstance(until, datetime):
        return clock.aware_ms("until", until)
    return clock.now_ms() + as_ms(until)
