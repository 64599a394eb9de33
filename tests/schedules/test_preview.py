"""What people are shown is what will fire, with what clock changes make of it."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.schedules import Crontab, parse
from django_jobs.schedules.preview import Coming, coming, remarks
from tests.schedules.oracle import utc

BERLIN = ZoneInfo("Europe/Berlin")
NOW = utc(2026, 11, 21, 16)
GONE = "Sun 28 Mar 2027: 02:30 does not exist, runs once at 03:00 (clocks go forward)."
TWICE = "Sun 31 Oct 2027: 02:30 comes twice, runs once, the first time (clocks go back)."


def test_the_next_moments():
    found = coming(parse("30 2 * * *"), BERLIN, NOW, NOW)
    assert found == [Coming(utc(2026, 11, day, 1, 30), "") for day in (22, 23, 24, 25, 26)]
    assert coming(parse("every 15 minutes"), BERLIN, NOW, NOW, count=1) == [Coming(NOW + timedelta(minutes=15), "")]


def test_they_end():
    daily = parse("30 2 * * *")
    assert len(coming(daily, BERLIN, NOW, NOW, ends=utc(2026, 11, 23, 1, 30))) == 2, "the end is among them"
    assert coming(daily, BERLIN, NOW, NOW, ends=NOW) == []
    assert coming(parse("at 2026-12-24 18:00"), BERLIN, NOW, NOW) == [Coming(utc(2026, 12, 24, 17), "")]
    assert coming(parse("at 2026-01-01 18:00"), BERLIN, NOW, NOW) == []


def test_a_moment_that_a_clock_change_concerns_says_so():
    found = coming(parse("30 2 * * *"), BERLIN, utc(2027, 3, 26, 12), NOW, count=3)
    assert found == [
        Coming(utc(2027, 3, 27, 1, 30), ""),
        Coming(utc(2027, 3, 28, 1), GONE),
        Coming(utc(2027, 3, 29, 0, 30), ""),
    ]
    found = coming(parse("30 1,2,3 * * *"), BERLIN, utc(2027, 10, 30, 21), NOW, count=3)
    assert [moment.remark for moment in found] == ["", TWICE, ""]
    found = coming(parse("at 2027-03-28 02:30"), BERLIN, NOW, NOW)
    assert found == [Coming(utc(2027, 3, 28, 1), GONE)]


@pytest.mark.parametrize(
    ("text", "zone", "sentences"),
    [
        ("30 2 * * *", "Europe/Berlin", [GONE, TWICE]),
        ("30 3 * * *", "Europe/Berlin", []),
        ("30 2 * * *", "Asia/Kolkata", []),
        ("*/30 2 * * *", "Europe/Berlin", []),
        ("30 * * * *", "Europe/Berlin", []),
        ("every 1 day", "Europe/Berlin", []),
        ("30 2 * * mon", "Europe/Berlin", []),
        ("at 2027-10-31 02:30", "Europe/Berlin", [TWICE]),
        ("at 2027-10-31 02:30+02:00", "Europe/Berlin", []),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            [
                "Sun 28 Mar 2027: 02:00 and 02:30 do not exist, run once for all of them at 03:00 (clocks go forward).",
                "Sun 31 Oct 2027: 02:00 and 02:30 come twice, run once each, the first time (clocks go back).",
            ],
        ),
        (
            "0-59 2 * * *",
            "Europe/Berlin",
            [
                "Sun 28 Mar 2027: 02:00 … 02:59 do not exist, run once for all of them at 03:00 (clocks go forward).",
                "Sun 31 Oct 2027: 02:00 … 02:59 come twice, run once each, the first time (clocks go back).",
            ],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            ["Sun 4 Apr 2027: 01:45 comes twice, runs once, the first time (clocks go back)."],
        ),
        (
            "@daily",
            "Asia/Beirut",
            ["Sun 28 Mar 2027: 00:00 does not exist, runs once at 01:00 (clocks go forward)."],
        ),
    ],
)
def test_what_the_clock_changes_of_the_next_year_do(text: str, zone: str, sentences: list[str]):
    assert remarks(parse(text), ZoneInfo(zone), NOW) == sentences


def test_a_day_that_does_not_exist():
    assert remarks(parse("0 9 * * *"), ZoneInfo("Pacific/Apia"), utc(2011, 12, 1))[:1] == [
        "Fri 30 Dec 2011: 09:00 does not exist, runs once at 00:00 (Sat 31 Dec 2011) (clocks go forward)."
    ]


def test_what_is_past_is_not_remarked():
    assert remarks(parse("30 2 * * *"), BERLIN, utc(2027, 3, 28, 1))[0] == TWICE
    assert remarks(parse("30 2 * * *"), BERLIN, utc(2027, 3, 28, 0, 59))[:2] == [GONE, TWICE]


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 59),
    st.lists(st.integers(0, 23), min_size=1, max_size=4, unique=True),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Asia/Beirut", "Africa/Casablanca"]),
)
def test_a_remark_stands_where_a_day_is_not_as_others(minute: int, hours: list[int], name: str):
    zone, schedule = ZoneInfo(name), Crontab(f"{minute} {','.join(map(str, hours))} * * *")
    shown = {f"{hour:02}:{minute:02}" for hour in hours}
    sentences = remarks(schedule, zone, NOW)
    found = coming(schedule, zone, NOW, NOW, count=366 * len(hours) + 4)
    assert [moment.moment for moment in found] == list(islice(schedule.moments(NOW, zone, NOW), len(found)))
    for moment, remark in found:
        if f"{moment.astimezone(zone):%H:%M}" not in shown:
            assert "not exist" in remark
        if "twice" in remark:
            again = moment.astimezone(zone).replace(fold=1)
            assert again.utcoffset() != moment.astimezone(zone).utcoffset()
    within = {moment.remark for moment in found if moment.moment <= NOW + timedelta(days=366)} - {""}
    assert within == set(sentences)
