"""
The one place that knows what time it is.

``now_ms`` stamps what people read (enqueued, started, finished) and drives client-side decisions; the order and lease
of jobs follow the broker's clock instead. Tests replace the clock with ``use``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.conf import settings as django_settings
from django.utils import timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_source: Callable[[], float] = time.time


def now() -> datetime:
    """Return the current moment, aware, in UTC."""
    return datetime.fromtimestamp(_source(), UTC)


def now_ms() -> int:
    """Return the current moment in milliseconds since the epoch."""
    return int(_source() * 1000)


def stamp() -> datetime:
    """Return the current moment as a column of the project has it: without USE_TZ naive, in the project's time zone."""
    return as_stamp(now())


def as_stamp(moment: datetime) -> datetime:
    """Return an aware moment as a column of the project has it."""
    return moment if django_settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())


def stamp_ms(moment: datetime) -> int:
    """Turn a moment as a column of the project has it into milliseconds since the epoch."""
    return to_ms(timezone.make_aware(moment, timezone.get_default_timezone()) if timezone.is_naive(moment) else moment)


def from_ms(moment_ms: int) -> datetime:
    """Turn milliseconds since the epoch into an aware UTC moment."""
    return datetime.fromtimestamp(moment_ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """Turn an aware moment into milliseconds since the epoch, rounded down as ``now_ms`` is."""
    return (moment - _EPOCH) // _MILLISECOND


def aware_ms(what: str, moment: datetime) -> int:
    """
    Turn a moment that somebody gave into milliseconds since the epoch; ``what`` names it in the error.

    A naive one is in the project's time zone when USE_TZ is off; when it is on, it raises ValueError. So does one that
    is in no calendar once it is in UTC.
    """
    if timezone.is_naive(moment):
        if django_settings.USE_TZ:
            raise ValueError(
                f"{what}= got the naive datetime {moment!r}, but USE_TZ is on: pass an aware one, such as"
                " django.utils.timezone.now() + timedelta(...)."
            )
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    moment_ms = to_ms(moment)
    try:
        from_ms(moment_ms)
    except (ValueError, OverflowError):
        raise ValueError(f"{what}= is a moment that no calendar has in UTC: {moment!r}.") from None
    return moment_ms


@contextmanager
def use(source: Callable[[], float]) -> Iterator[None]:
    """Take the time from ``source`` (seconds since the epoch) inside the block; for tests."""
    global _source
    before, _source = _source, source
    try:
        yield
    finally:
        _source = before
