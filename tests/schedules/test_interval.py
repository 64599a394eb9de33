"""Every so often: elapsed time from an anchor, and a text that is exact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import Interval, as_schedule, parse
from django_jobs.schedules.interval import LONGEST, SHORTEST
from tests.schedules.oracle import utc

BERLIN = ZoneInfo("Europe/Berlin")
ANCHOR = utc(2026, 10, 24, 12, 0, 7)
TICK = timedelta(microseconds=1)

intervals = st.timedeltas(SHORTEST, LONGEST)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(deadline=None)
@given(intervals)
@example(timedelta(seconds=1, microseconds=1))
@example(timedelta(days=36_524, seconds=86_399, microseconds=999_999))
def test_the_text_is_read_as_the_same_interval(every: timedelta):
    assert parse(str(Interval(every))) == Interval(every)


@settings(deadline=None)
@given(intervals, moments, moments)
def test_back_is_the_way_forth_reversed(every: timedelta, anchor: datetime, after: datetime):
    interval = Interval(every)
    found = interval.following(after, BERLIN, anchor)
    assert found is not None
    assert found > after
    assert (found - anchor) % every == timedelta(0)
    assert interval.preceding(found, BERLIN, anchor) == found
    before = interval.preceding(after, BERLIN, anchor)
    assert interval.preceding(found - TICK, BERLIN, anchor) == before
    assert found == (anchor if before is None else before + every)


def test_it_counts_from_its_anchor():
    interval = Interval(timedelta(hours=24))
    assert interval.following(ANCHOR, BERLIN, ANCHOR) == ANCHOR + timedelta(hours=24), (
        "clocks are put back, time is not"
    )
    assert interval.following(ANCHOR - TICK, BERLIN, ANCHOR) == ANCHOR
    assert interval.following(ANCHOR - timedelta(days=900), BERLIN, ANCHOR) == ANCHOR
    assert interval.preceding(ANCHOR, BERLIN, ANCHOR) == ANCHOR
    assert interval.preceding(ANCHOR - TICK, BERLIN, ANCHOR) is None
    local = interval.following(ANCHOR, BERLIN, ANCHOR.astimezone(BERLIN))
    assert local is not None
    assert local.tzinfo is UTC
    assert local == ANCHOR + timedelta(hours=24), "an anchor with a zone is a moment all the same"


def test_it_ends_with_the_calendar():
    assert Interval(LONGEST).following(utc(9950, 1, 1), BERLIN, utc(9949, 1, 1)) is None


@pytest.mark.parametrize(
    ("text", "every", "stored", "words"),
    [
        ("every 15 minutes", timedelta(minutes=15), "every 15 minutes", "Every 15 minutes"),
        ("Every  15   MINUTE", timedelta(minutes=15), "every 15 minutes", "Every 15 minutes"),
        ("every 15minutes", timedelta(minutes=15), "every 15 minutes", "Every 15 minutes"),
        ("every minute", timedelta(minutes=1), "every 1 minute", "Every minute"),
        ("every 60 seconds", timedelta(minutes=1), "every 1 minute", "Every minute"),
        ("every 90 seconds", timedelta(seconds=90), "every 90 seconds", "Every 90 seconds"),
        ("every 1.5 hours", timedelta(minutes=90), "every 90 minutes", "Every 90 minutes"),
        ("every 0.5 seconds", timedelta(milliseconds=500), "every 0.5 seconds", "Every 0.5 seconds"),
        ("every 0.000002 weeks", timedelta(microseconds=1_209_600), "every 1.2096 seconds", "Every 1.2096 seconds"),
        ("every second", timedelta(seconds=1), "every 1 second", "Every second"),
        ("every hour", timedelta(hours=1), "every 1 hour", "Every hour"),
        ("every 24 hours", timedelta(days=1), "every 1 day", "Every day"),
        ("every 14 days", timedelta(weeks=2), "every 2 weeks", "Every 2 weeks"),
        ("every week", timedelta(weeks=1), "every 1 week", "Every week"),
    ],
)
def test_texts(text: str, every: timedelta, stored: str, words: str):
    schedule = parse(text)
    assert schedule == Interval(every) == as_schedule(every)
    assert str(schedule) == stored
    assert schedule.words() == words


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("every", "should be 'every', a number such as 15 or 1.5, and one of seconds, minutes, hours, days, weeks."),
        ("every 5", "should be 'every', a number"),
        ("every -5 minutes", "should be 'every', a number"),
        ("every 1,5 hours", "should be 'every', a number"),
        (
            "every 5 mins",
            "'mins' in 'every 5 mins' is none of seconds, minutes, hours, days, weeks. Did you mean 'minutes'?",
        ),
        ("every 5 m", "Did you mean 'minutes'?"),
        ("every 5 sec", "Did you mean 'seconds'?"),
        ("every 2 fortnights", "'fortnights' in 'every 2 fortnights' is none of"),
        ("every month", "No two months are equally long: say @monthly"),
        ("every 2 years", "No two years are equally long: say @yearly"),
        ("every 0 minutes", "from 0.1 seconds to a century, not 0 seconds"),
        ("every 0.05 seconds", "from 0.1 seconds to a century, not 0.05 seconds"),
        ("every 101 days of", "should be 'every', a number"),
        ("every 5219 weeks", "to a century, not 3156451200 seconds"),
        ("every 999999999999 weeks", "to a century, not 999999999999 weeks"),
    ],
)
def test_what_is_wrong_is_said(text: str, complaint: str):
    with pytest.raises(InvalidSchedule) as caught:
        parse(text)
    assert complaint in str(caught.value)
