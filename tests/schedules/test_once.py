"""Once: at a moment, or when the clocks of a zone show it."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import Once, as_schedule, parse
from tests.schedules.oracle import utc

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata", "UTC"]
BERLIN = ZoneInfo("Europe/Berlin")
EVER = utc(1999, 1, 1)
TICK = timedelta(microseconds=1)

walls = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("at 2026-12-24 18:00", utc(2026, 12, 24, 17)),
        ("At  2026-12-24t18:00", utc(2026, 12, 24, 17)),
        ("at 2026-12-24 18:00:30.5", utc(2026, 12, 24, 17, 0, 30, 500_000)),
        ("at 2026-07-01", utc(2026, 6, 30, 22)),
        ("at 2026-12-24 18:00Z", utc(2026, 12, 24, 18)),
        ("at 2026-12-24 18:00+05:30", utc(2026, 12, 24, 12, 30)),
        ("at 2027-03-28 02:30", utc(2027, 3, 28, 1)),  # does not exist: when the clocks have gone forward
        ("at 2027-03-28 03:00", utc(2027, 3, 28, 1)),
        ("at 2026-10-25 02:30", utc(2026, 10, 25, 0, 30)),  # exists twice: the first
        ("at 2026-10-25 03:00", utc(2026, 10, 25, 2)),
        ("at 1970-01-01", utc(1969, 12, 31, 23)),
    ],
)
def test_when_it_is_in_berlin(text: str, moment: datetime):
    once = parse(text)
    assert once.following(EVER - timedelta(days=36_500), BERLIN, EVER) == moment
    assert once.following(moment - TICK, BERLIN, EVER) == moment
    assert once.following(moment, BERLIN, EVER) is None
    assert once.preceding(moment, BERLIN, EVER) == moment
    assert once.preceding(moment - TICK, BERLIN, EVER) is None
    assert list(once.moments(EVER - timedelta(days=36_500), BERLIN, EVER)) == [moment]
    assert parse(str(once)) == once


def test_a_day_that_does_not_exist():
    assert parse("at 2011-12-30 12:00").following(EVER, ZoneInfo("Pacific/Apia"), EVER) == utc(2011, 12, 30, 10)


@settings(deadline=None)
@given(walls, st.sampled_from(ZONES))
def test_a_time_that_exists_is_shown_at_its_moment(wall: datetime, name: str):
    zone = ZoneInfo(name)
    moment = Once(wall).when(zone)
    shown = moment.astimezone(zone)
    if shown.replace(tzinfo=None) == wall:
        assert shown.fold == 0
        return
    before = (moment - TICK).astimezone(zone)
    assert before.replace(tzinfo=None) < wall < shown.replace(tzinfo=None), "it was jumped over"


@settings(deadline=None)
@given(st.one_of(walls, st.datetimes(datetime(1970, 1, 3), datetime(2200, 1, 1), timezones=st.timezones())))  # noqa: DTZ001
def test_the_text_is_read_as_the_same_moment(moment: datetime):
    again = parse(str(Once(moment)))
    assert isinstance(again, Once)
    assert again.when(BERLIN) == Once(moment).when(BERLIN)
    assert parse(str(again)) == again


def test_words():
    assert parse("at 2026-12-24 18:00").words() == "Once, at 18:00 on Thu 24 Dec 2026"
    assert parse("at 2026-12-24 18:00:05+01:00").words() == "Once, at 18:00:05 (+01:00) on Thu 24 Dec 2026"
    assert parse("at 2026-12-24 18:00Z").words() == "Once, at 18:00 (+00:00) on Thu 24 Dec 2026"


def test_a_datetime_is_one():
    assert str(as_schedule(utc(2026, 12, 24, 18))) == "at 2026-12-24 18:00+00:00"


@pytest.mark.parametrize(
    "text", ["at", "at 18:00", "at noon", "at 2026-13-01", "at 24.12.2026 18:00", "at 2026-12-24 25:00"]
)
def test_what_is_wrong_is_said(text: str):
    with pytest.raises(
        InvalidSchedule, match="should be 'at' and a moment: '2026-12-24 18:00' on the clocks of the row"
    ):
        parse(text)


@pytest.mark.parametrize("text", ["at 1969-12-31", "at 9000-01-01", "at 0001-01-01"])
def test_years_have_bounds(text: str):
    with pytest.raises(InvalidSchedule, match="A moment is in a year from 1970 to 8999, not"):
        parse(text)
