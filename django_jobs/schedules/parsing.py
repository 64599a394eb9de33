"""
A schedule as text, which is what a row stores.

``30 2 * * *``, ``@daily``, ``every 15 minutes``, ``at 2026-12-24 18:00``, ``sunset 52.52 13.40``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules.base import Schedule
from django_jobs.schedules.crontab import Crontab
from django_jobs.schedules.interval import Interval
from django_jobs.schedules.once import Once
from django_jobs.schedules.solar import EVENTS, Solar

FORMS = "A schedule is '30 2 * * *', '@daily', 'every 15 minutes', 'at 2026-12-24 18:00' or 'sunset 52.52 13.40'."

#: Class of Celery's -> what is written here.
_INSTEAD = {
    "crontab": "Take ours: from django_jobs import crontab.",
    "schedule": "Write 'every 30 seconds', or a timedelta.",
    "solar": "Write 'sunset 52.52 13.40'.",
}


@lru_cache(maxsize=4096)
def parse(text: str) -> Schedule:
    """Turn a text into a schedule. Raises InvalidSchedule, which says what was wrong and what there is."""
    try:
        return _parse(" ".join(text.split()))
    except InvalidSchedule as error:
        raise InvalidSchedule(f"{error} {FORMS}") from None


def as_schedule(value: Schedule | str | timedelta | datetime | float) -> Schedule:
    """Turn what people give into a schedule. Raises InvalidSchedule."""
    if isinstance(value, Schedule):
        return value
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, timedelta):
        return Interval(value)
    if isinstance(value, datetime):
        return Once(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return Interval(timedelta(seconds=value))
        except (OverflowError, ValueError):
            raise InvalidSchedule(f"An interval is from 0.1 seconds to a century, not {value!r} seconds.") from None
    if type(value).__module__.split(".")[0] == "celery":
        raise InvalidSchedule(f"{value!r} is Celery's. {_INSTEAD.get(type(value).__name__, FORMS)}")
    raise InvalidSchedule(
        "A schedule is crontab(...), a text such as 'every 15 minutes', a timedelta, a datetime or seconds,"
        f" not {value!r}."
    )


def _parse(text: str) -> Schedule:
    lowered = text.lower()
    word = lowered.partition(" ")[0].rstrip("0123456789")
    if not text:
        raise InvalidSchedule("There is no schedule.")
    if word == "every":
        return Interval.parse(lowered)
    if word == "at":
        return Once.parse(lowered)
    if word in EVENTS:
        return Solar.parse(lowered)
    if word.isalpha() and text.count(" ") < 4:
        close = get_close_matches(word, ["every", "at", *EVENTS], n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InvalidSchedule(f"{text!r} begins with {word!r}, which is no kind of schedule.{hint}")
    return Crontab(text)
