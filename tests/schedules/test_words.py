"""Crontabs in words: what is said is read back, and has to be what fires."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta

import pytest
from django.utils import translation
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import Crontab
from django_jobs.schedules.fields import fields_of

WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
MONTHS += ["November", "December"]
NTH = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 2 * * *", "At 02:30, every day"),
        ("@daily", "At 00:00, every day"),
        ("0 8,20 * * *", "At 08:00 and 20:00, every day"),
        ("0,30 8,20 * * *", "At 08:00, 08:30, 20:00 and 20:30, every day"),
        ("30 2 * 1-3 *", "At 02:30, every day in January to March"),
        ("0 3 * * mon-fri", "At 03:00 on Monday to Friday"),
        ("0 3 * * 6,0", "At 03:00 on Saturday and Sunday"),
        ("0 3 * * sun", "At 03:00 on Sunday"),
        ("0 3 * * 1,3,5", "At 03:00 on Monday, Wednesday and Friday"),
        ("0 3 * * 0-6", "At 03:00, every day"),
        ("0 3 * 12 mon", "At 03:00 on Monday, in December"),
        ("@weekly", "At 00:00 on Sunday"),
        ("@monthly", "At 00:00 on day 1 of the month"),
        ("@yearly", "At 00:00 on day 1 of January"),
        ("0 0 1,15 * *", "At 00:00 on days 1 and 15 of the month"),
        ("0 0 1-7 * *", "At 00:00 on days 1 to 7 of the month"),
        ("0 0 1,15 3,6 *", "At 00:00 on days 1 and 15 of March and June"),
        ("0 0 L * *", "At 00:00 on the last day of the month"),
        ("0 0 15,L * *", "At 00:00 on day 15 of the month and on the last day of the month"),
        ("0 0 1 * fri", "At 00:00 on day 1 of the month or on Friday"),
        ("0 0 1 6 fri", "At 00:00 on day 1 of the month or on Friday, in June"),
        ("0 0 * * mon#1", "At 00:00 on the first Monday of the month"),
        ("0 0 * * L5", "At 00:00 on the last Friday of the month"),
        ("* * * * *", "Every minute"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("0,30 * * * *", "Every 30 minutes"),
        ("@hourly", "Every hour, on the hour"),
        ("5 * * * *", "At minute 5 of every hour"),
        ("5,35 * * * *", "At minutes 5 and 35 of every hour"),
        ("*/15 9-16 * * mon-fri", "Every 15 minutes from 09:00 to 16:59, on Monday to Friday"),
        ("* 3 * * *", "Every minute from 03:00 to 03:59"),
        ("0 9-17 * * *", "Every hour from 09:00 to 17:00"),
        ("30 */2 * * *", "Every 2 hours from 00:30 to 22:30"),
        ("0 */6 * * *", "At 00:00, 06:00, 12:00 and 18:00, every day"),
        ("*/15 * * 1 *", "Every 15 minutes, in January"),
        # Not short, or not exact: the expression says it better.
        ("*/7 * * * *", "*/7 * * * *"),
        ("0 0 */2 * *", "0 0 */2 * *"),
        ("0 0 */2 * mon", "0 0 */2 * mon"),
        ("0 0 * * mon#1,mon#3", "0 0 * * mon#1,mon#3"),
        ("10,40 8-16 * * *", "10,40 8-16 * * *"),
        ("0 0 1,3,5,7,9,11,13 * *", "0 0 1,3,5,7,9,11,13 * *"),
    ],
)
def test_words(expression: str, words: str):
    assert Crontab(expression).words() == words


# The reader: English in, a rule out.


def listed(text: str) -> list[str]:
    return re.split(r", | and ", text)


def spans(text: str, names: list[str]) -> set[int]:
    """Read "Monday to Friday", "March and June", "1 and 15"."""
    if found := re.fullmatch(r"(\w+) to (\w+)", text):
        return set(range(names.index(found[1]), names.index(found[2]) + 1))
    return {names.index(name) for name in listed(text)}


def minute_of(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def read_times(text: str) -> set[int]:
    """Read the times of a day."""
    if found := re.fullmatch(r"(Every.*) from ([\d:]{5}) to ([\d:]{5})", text):
        first, last = minute_of(found[2]), minute_of(found[3])
        if hours := re.fullmatch(r"Every (?:(\d+) hours|hour)", found[1]):
            return set(range(first, last + 1, 60 * int(hours[1] or 1)))
        return {minute for minute in read_times(found[1]) if first <= minute <= last}
    if text == "Every minute":
        return set(range(1440))
    if text == "Every hour, on the hour":
        return set(range(0, 1440, 60))
    if found := re.fullmatch(r"Every (\d+) minutes", text):
        return set(range(0, 1440, int(found[1])))
    if found := re.fullmatch(r"At minutes? (.*) of every hour", text):
        return {hour * 60 + int(minute) for hour in range(24) for minute in listed(found[1])}
    return {minute_of(time) for time in listed(text.removeprefix("At "))}


def is_last(day: date) -> bool:
    return (day + timedelta(days=1)).day == 1


def read_day(text: str) -> Callable[[date], bool]:
    """Read one "on ..."."""
    numbers = [str(number) for number in range(32)]
    if found := re.fullmatch(r"on the last day of (.*)", text):
        months = read_months(found[1])
        return lambda day: is_last(day) and day.month in months
    if found := re.fullmatch(r"on the (\w+) (\w+) of the month", text):
        weekday = WEEKDAYS.index(found[2])
        if found[1] == "last":
            return lambda day: day.weekday() == weekday and (day + timedelta(days=7)).month != day.month
        nth = NTH[found[1]]
        return lambda day: day.weekday() == weekday and (day.day - 1) // 7 + 1 == nth
    if found := re.fullmatch(r"on days? (.*?) of (.*)", text):
        days, of = spans(found[1], numbers), read_months(found[2])
        return lambda day: day.day in days and day.month in of
    weekdays = spans(text.removeprefix("on "), WEEKDAYS)
    return lambda day: day.weekday() in weekdays


def read_months(text: str) -> Iterable[int]:
    return range(1, 13) if text == "the month" else spans(text, MONTHS)


def read(words: str) -> tuple[set[int], Callable[[date], bool]]:
    """Return the times of a day and whether a day fits, of a sentence."""
    months: Iterable[int] = range(1, 13)
    if found := re.fullmatch(r"(.*?),? in ([A-Z][\w, ]*)", words):
        words, months = found[1], spans(found[2], MONTHS)
    words = words.removesuffix(", every day")
    times, on, days = re.fullmatch(r"(.*?)(?:,? (on) (?!the hour)(.*))?", words).groups()  # type: ignore[union-attr]
    parts = re.split(r" (?:or|and) (?=on )", f"on {days}") if on else []
    fits = [read_day(part) for part in parts]
    return read_times(times), lambda day: day.month in months and (not fits or any(fit(day) for fit in fits))


some = st.sampled_from
SHAPES = st.tuples(
    some(["0", "5", "30", "0,30", "5,35", "*", "*/15", "*/7", "*/20", "1-3", "10,40", "0-59", "59", "*/59"]),
    some(["*", "2", "8,20", "*/2", "1-23/2", "9-17", "0-23", "22-2", "0,6,12,18", "*/5", "23", "1,2,3,5,6,7,8,9,10"]),
    some(["*", "1", "1,15", "1-7", "L", "15,L", "*/2", "1-31", "31", "29-31", "1-7,15", "2,4,6,8,10,12,14", "1-31,L"]),
    some(["*", "1", "1-3", "6,12", "*/3", "2", "11-2", "jan,mar", "1-12", "1,3,5,7,9"]),
    some(
        [
            "*",
            "mon",
            "mon-fri",
            "6,0",
            "sun",
            "0-6",
            "1,3,5",
            "mon#1",
            "L5",
            "*/2",
            "fri#5",
            "mon#1,tue#2",
            "7",
            "sat-sun",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(SHAPES)
def test_what_is_said_is_what_fires(shape: tuple[str, ...]):
    expression = " ".join(shape)
    try:
        fields = fields_of(expression)
    except InvalidSchedule:
        return
    words = Crontab(expression).words()
    if words == expression:
        return
    times, fits = read(words)
    assert times == set(fields.times), words
    for number in range(date(2027, 1, 1).toordinal(), date(2029, 1, 1).toordinal()):
        day = date.fromordinal(number)
        fitting = fields.days.fit(day.replace(day=1).weekday(), length(day)) if day.month in fields.months else ()
        assert fits(day) == (day.day in fitting), (words, day)


def length(day: date) -> int:
    return ((day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day


def test_most_of_what_people_write_is_said():
    common = ("0 4 * * *", "*/5 * * * *", "0 */4 * * *", "15 10 * * 1-5", "0 0 1 */3 *", "0 12 * * 1", "0 9-17 * * *")
    assert not [text for text in common if Crontab(text).words() == text]


def test_names_are_those_of_the_reader():
    with translation.override("de"):
        assert "Montag" in Crontab("0 3 * * mon").words()
