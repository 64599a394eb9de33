"""Time zones: their names, and the stretches in which their clocks go on evenly."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from django.test import override_settings
from django.utils import timezone as django_timezone

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import zone_named
from django_jobs.schedules.zones import moment_of, segments


def test_a_zone_has_its_name():
    assert zone_named("Europe/Berlin") is ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("use_tz", [True, False])
def test_no_name_is_the_zone_of_the_project(use_tz: bool):
    with override_settings(USE_TZ=use_tz, TIME_ZONE="America/New_York"):
        with django_timezone.override("Asia/Tokyo"):
            assert zone_named("").key == "America/New_York", "not that of the request"
        with override_settings(TIME_ZONE="Europe/Berlin"):
            assert zone_named("").key == "Europe/Berlin"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("europe/berlin", "Did you mean 'Europe/Berlin'?"),
        ("Europe/Berlni", "Did you mean 'Europe/Berlin'?"),
        ("Berlin", "Did you mean 'Europe/Berlin'?"),
        ("new york", "Did you mean 'America/New_York'?"),
        ("Mars/Olympus_Mons", "is no IANA time zone such as 'Europe/Berlin' or 'UTC'."),
        ("CEST", "'UTC'. An offset or an abbreviation does not say when clocks change: name a city."),
        ("UTC+2", "'UTC'. An offset or an abbreviation"),
        ("+02:00", "'UTC'. An offset or an abbreviation"),
        ("Oslo", "Did you mean 'Europe/Oslo'?"),
        ("utc", "Did you mean 'UTC'?"),
        ("CET ", "Did you mean 'CET'?"),
        ("Europe", "is no IANA time zone"),
        ("../../etc/passwd", "is no IANA time zone"),
        ("a\0b", "is no IANA time zone"),
        ("localtime", "is no IANA time zone"),  # another on each host
        ("right/UTC", "is no IANA time zone"),  # counts leap seconds
    ],
)
def test_a_name_that_is_none(name: str, hint: str):
    with pytest.raises(InvalidSchedule) as caught:
        zone_named(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize("year", [1973, 2011, 2027])
def test_segments_make_up_time_and_each_wall_clock_time_is_fresh_once(year: int):
    for name in sorted(available_timezones()):
        before, *_ = segments(ZoneInfo(name), year - 1)[-1:]
        last = max(segment.until for segment in segments(ZoneInfo(name), year - 1))
        for segment in segments(ZoneInfo(name), year):
            assert segment.begins == before.ends, name
            assert segment.begins < segment.ends
            assert segment.fresh == last, f"{name}: nothing is left out, and nothing is said twice"
            last, before = max(last, segment.until), segment
        assert before.ends == datetime(year + 1, 1, 1)  # noqa: DTZ001


class Nervous(ZoneInfo):
    """Changes its offset on 1 June 2026, at hours in UTC."""

    hours: dict[float, float]

    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise AssertionError("it is asked by moments in UTC only")

    def fromutc(self, moment: datetime) -> datetime:
        passed = (moment.replace(tzinfo=None) - datetime(2026, 6, 1)) / timedelta(hours=1)  # noqa: DTZ001
        offset = timedelta(hours=[ahead for hour, ahead in self.hours.items() if hour <= passed][-1])
        return (moment.replace(tzinfo=None) + offset).replace(tzinfo=timezone(offset))


def nervous(hours: dict[float, float]) -> Nervous:
    zone = Nervous.no_cache("UTC")
    zone.hours = {float("-inf"): hours[0], **hours}
    return zone


def test_two_changes_on_one_day_are_both_seen():
    found = segments(nervous({0: 0, 1: 2, 4: 1, 20: 0.5}), 2026)
    assert [segment.offset / timedelta(hours=1) for segment in found] == [0, 2, 1, 0.5]
    assert [segment.begins.hour for segment in found] == [0, 1, 4, 20]
    for before, after in pairwise(found):
        assert after.fresh == before.until


def test_a_clock_that_is_put_back_twice_shows_nothing_fresh_until_it_has_caught_up():
    ahead, again, normal = segments(nervous({0: 2, 6: 1, 6.5: 0}), 2026)
    assert again.until < ahead.until
    assert again.fresh == normal.fresh == ahead.until == datetime(2026, 6, 1, 8)  # noqa: DTZ001


def test_what_was_jumped_over_is_the_end_of_the_jump():
    berlin = ZoneInfo("Europe/Berlin")
    jump = datetime(2027, 3, 28, 1)  # noqa: DTZ001
    for minute in (0, 30, 59):
        assert moment_of(datetime(2027, 3, 28, 2, minute), berlin) == jump  # noqa: DTZ001
    assert moment_of(datetime(2027, 3, 28, 3, 0), berlin) == jump  # noqa: DTZ001
    assert moment_of(datetime(2027, 3, 28, 3, 1), berlin) == jump + timedelta(minutes=1)  # noqa: DTZ001
    assert moment_of(datetime(2027, 1, 1), berlin) == datetime(2026, 12, 31, 23)  # noqa: DTZ001
