"""Texts, and whatever else people give for a schedule."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import Crontab, Interval, Once, Schedule, Solar, as_schedule, crontab, parse
from django_jobs.schedules.parsing import FORMS
from tests.schedules.oracle import utc

START = utc(2026, 11, 21)
UTC = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("text", "kind", "stored"),
    [
        ("30 2 * * *", Crontab, "30 2 * * *"),
        ("  30  2\t* * *\n", Crontab, "30 2 * * *"),
        ("@Daily", Crontab, "@Daily"),
        ("0 3 * * MON-Fri", Crontab, "0 3 * * MON-Fri"),
        ("EVERY 15 Minutes", Interval, "every 15 minutes"),
        ("At 2026-12-24 18:00", Once, "at 2026-12-24 18:00"),
        ("SUNSET 52.52 13.40", Solar, "sunset 52.52 13.4"),
    ],
)
def test_the_first_word_says_what_it_is(text: str, kind: type[Schedule], stored: str):
    schedule = parse(text)
    assert type(schedule) is kind
    assert str(schedule) == stored
    assert parse(stored) == schedule
    assert hash(parse(stored)) == hash(schedule)
    assert schedule.words()
    assert schedule.following(START, UTC, START) is not None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "There is no schedule."),
        ("   ", "There is no schedule."),
        ("daily", "'daily' begins with 'daily', which is no kind of schedule."),
        ("evry 5 minutes", "Did you mean 'every'?"),
        ("60", "'60' has 1 field; a crontab has five"),
        ("* * * *", "has 4 fields"),
        ("every 5 mins", "Did you mean 'minutes'?"),
        ("at noon", "should be 'at' and a moment"),
        ("sunset 1", "a latitude and a longitude"),
        ("30 2 30 2 *", "never comes"),
        ("every 0 seconds", "from 0.1 seconds to a century"),
    ],
)
def test_every_error_says_what_was_wrong_and_what_there_is(text: str, complaint: str):
    with pytest.raises(InvalidSchedule) as caught:
        parse(text)
    assert complaint in str(caught.value)
    assert str(caught.value).endswith(FORMS)


def test_the_forms_that_an_error_shows_are_ones():
    shown = FORMS.split("'")[1::2]
    assert len(shown) == 5
    assert [type(parse(text)) for text in shown] == [Crontab, Crontab, Interval, Once, Solar]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str):
    try:
        parse(text)
    except InvalidSchedule as error:
        assert str(error).endswith(FORMS)  # noqa: PT017


@pytest.mark.parametrize(
    ("value", "schedule"),
    [
        (crontab(0, 3), Crontab("0 3 * * *")),
        ("0 3 * * *", Crontab("0 3 * * *")),
        (90, Interval(timedelta(seconds=90))),
        (0.5, Interval(timedelta(milliseconds=500))),
        (timedelta(minutes=5), Interval(timedelta(minutes=5))),
        (utc(2026, 12, 24, 17), Once(utc(2026, 12, 24, 17))),
    ],
)
def test_what_people_give(value: Any, schedule: Schedule):
    assert as_schedule(value) == schedule


@pytest.mark.parametrize("value", [True, None, b"0 3 * * *", [1], {}, object()])
def test_what_is_no_schedule(value: Any):
    with pytest.raises(InvalidSchedule, match=r"A schedule is crontab\(\.\.\.\), a text such as 'every 15 minutes'"):
        as_schedule(value)


@pytest.mark.parametrize(
    "value", [0, -1, 1e12, 1e300, float("inf"), float("nan"), timedelta(0), timedelta(days=40_000)]
)
def test_intervals_have_bounds(value: Any):
    with pytest.raises(InvalidSchedule, match=r"An interval is from 0\.1 seconds to a century"):
        as_schedule(value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("crontab", "from django_jobs import crontab"), ("schedule", "'every 30 seconds'"), ("solar", "'sunset ")],
)
def test_an_object_of_celery(name: str, hint: str):
    theirs = type(name, (), {"__module__": "celery.schedules"})()
    with pytest.raises(InvalidSchedule, match="is Celery's") as raised:
        as_schedule(theirs)
    assert hint in str(raised.value)
