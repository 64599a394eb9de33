"""
The text of a crontab, read strictly: five fields become the values that each stands for.

croniter reads the fields. What it would read otherwise than cron does, or guess, is an error here: ranges of one value,
steps over the end of a field or larger than it, random and hashed values, Quartz' "?" and "15W", seconds and years.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import NamedTuple

from croniter import croniter
from croniter.croniter import CroniterError

from django_jobs.exceptions import InvalidSchedule


class Kind(NamedTuple):
    """What one field may hold."""

    noun: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()
    special: str = ""

    @property
    def expected(self) -> str:
        """Say it."""
        names = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.lowest} to {self.highest}{names}{self.special}"


WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
KINDS = (
    Kind("minute", 0, 59),
    Kind("hour", 0, 23),
    Kind("day of the month", 1, 31, special=" or L (the last)"),
    Kind("month", 1, 12, tuple(name[:3] for name in MONTHS)),
    Kind("day of the week", 0, 6, tuple(name[:3] for name in WEEKDAYS), " (7 is Sunday, as 0 is)"),
)
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: Stands for the last day of a month, or the last Friday.
LAST = -1

_FULL_NAME = re.compile(rf"\b({'|'.join([*WEEKDAYS, *MONTHS])})\b")
_RANGE = re.compile(r"(\w+)-(\w+)(/\d+)?")
_STEP = re.compile(r".+/(\d+)")
_TOKEN = re.compile(r"\*(/\d+)?|[a-z0-9]+(-[a-z0-9]+)?(/\d+|#\d)?", re.ASCII)
_HASHED = re.compile(r"[hr](\(.*\))?(/.*)?")
_NEAREST = re.compile(r"w\d+|\d+w|lw|wl")


def split(expression: str) -> list[str]:
    """Return the five texts, in lower case, with short names. Raises InvalidSchedule."""
    text = expression.strip().lower()
    if text.startswith("@"):
        text = _alias(expression, text)
    texts = _FULL_NAME.sub(lambda found: found[1][:3], text).split()
    if len(texts) != 5:
        raise InvalidSchedule(
            f"{expression!r} has {len(texts)} field{'s' * (len(texts) != 1)}; a crontab has five:"
            f" minute hour day-of-month month day-of-week.{' Seconds and years are none.' if len(texts) > 5 else ''}"
        )
    return [_token_by_token(expression, kind, text) for kind, text in zip(KINDS, texts, strict=True)]


def expand(expression: str, texts: list[str]) -> tuple[list[tuple[int, ...]], set[tuple[int, int]]]:
    """Return the values of each field, LAST for "l", and the (weekday, how many-th) of "mon#1" and "l5"."""
    if not all(_TOKEN.fullmatch(token) for text in texts for token in text.split(",")):
        raise InvalidSchedule(_not_read(expression, texts))
    try:
        expanded, counted = croniter.expand(" ".join(texts))
    except CroniterError:
        raise InvalidSchedule(_not_read(expression, texts)) from None
    values = []
    for kind, given in zip(KINDS, expanded, strict=True):
        everything = range(kind.lowest, kind.highest + 1)
        values.append(tuple(everything if "*" in given else (LAST if value == "l" else int(value) for value in given)))
    return values, {(day, LAST if nth == "l" else nth) for day, all_nth in counted.items() for nth in all_nth}


def _alias(expression: str, text: str) -> str:
    if text in ALIASES:
        return ALIASES[text]
    if text == "@reboot":
        raise InvalidSchedule("'@reboot' is no time: start what is needed at a start where processes are started.")
    close = get_close_matches(text, ALIASES, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if text.startswith("@every"):
        hint = " Write 'every 5 minutes', without the @."
    raise InvalidSchedule(f"{expression!r} is none of {', '.join(ALIASES)}.{hint}")


def _token_by_token(expression: str, kind: Kind, text: str) -> str:
    """Return a field that croniter reads as cron does. Raises InvalidSchedule of what it would not."""
    tokens = text.split(",")
    for index, token in enumerate(tokens):
        if problem := _problem(kind, token):
            raise InvalidSchedule(f"{token!r}, the {kind.noun} of {expression!r}, {problem}")
        found = _RANGE.fullmatch(token)
        if found and _number(kind, found[1]) == _number(kind, found[2]) is not None:
            tokens[index] = found[1]  # croniter takes it for the whole field
    counted = ["#" in token or token.startswith("l") for token in tokens]
    if kind.noun == "day of the week" and any(counted) and not all(counted):
        raise InvalidSchedule(
            f"{text!r} in {expression!r} mixes days of every week (mon) with days that are counted within a month"
            " (mon#1): make two schedules of it."
        )
    return ",".join(tokens)


def _problem(kind: Kind, token: str) -> str:
    """Say what is wrong with one element of a field, as the end of a sentence."""
    if _HASHED.fullmatch(token):
        return "is random or hashed, and would not be the same everywhere: write a number."
    if "?" in token and kind.noun.startswith("day"):
        return "is from Quartz: write '*'."
    if _NEAREST.fullmatch(token) and kind.noun == "day of the month":
        return "is the nearest working day, which no cron knows: write numbers, or 'L' for the last day."
    if step := _STEP.fullmatch(token):
        size = kind.highest - kind.lowest + 1
        if not 0 < int(step[1]) <= size:
            every = f" For every {step[1]} {kind.noun}s say 'every {step[1]} {kind.noun}s'." if int(step[1]) else ""
            return f"has a step of {step[1]}; 1 to {size} are possible.{every}"
    if (found := _RANGE.fullmatch(token)) and found[3]:
        low, high = (_number(kind, text) for text in found.group(1, 2))
        if low is not None and high is not None and low > high:
            return "steps over the end of the field: write the values, separated by commas."
    return ""


def _number(kind: Kind, text: str) -> int | None:
    if text in kind.names:
        return kind.names.index(text) + kind.lowest
    return int(text) if text.isdecimal() else None


def _not_read(expression: str, texts: list[str]) -> str:
    """Say which element it is that croniter does not read."""
    for index, (kind, text) in enumerate(zip(KINDS, texts, strict=True)):
        for token in text.split(","):
            alone = ["*"] * 5
            alone[index] = token
            if not token or not _TOKEN.fullmatch(token) or not croniter.is_valid(" ".join(alone)):
                return (
                    f"{token!r} in {expression!r} is no {kind.noun}: expected are * or {kind.expected}, lists (1,2),"
                    " ranges (1-5) and steps (*/2)."
                )
    return f"{expression!r} is no crontab: minute hour day-of-month month day-of-week."
