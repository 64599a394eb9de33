"""Crontabs over two years of clock changes, against two oracles: every minute looked at, and cronsim."""

from __future__ import annotations

import random
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from django_jobs.schedules import Crontab
from tests.schedules.oracle import MINUTE, Oracle, utc

START, END = utc(2026, 1, 1), utc(2028, 1, 1)
#: Among them such with odd changes in these years: 30 minutes (Lord Howe), two hours (Troll), a midnight that does not
#: exist (Beirut), four changes a year (Casablanca).
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "UTC",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Antarctica/Troll",
]
EXPRESSIONS = [
    "30 2 * * *",
    "0 0 * * *",
    "0,30 1-3 * * *",
    "0 * * * *",
    "*/30 2 * * *",
    "0 */2 * * *",
    "59 1,2 * * sun",
    "0 3 * * mon-fri",
    "15 2 25-31 3,10 sun",
    "7 2-3 */2 * 0",
    "* 1-3 * 3,4,10,11 sun",
    "30 23 31 12 *",
]
#: Years in which a zone did something that happens once.
HISTORY = [
    ("Pacific/Apia", utc(2011, 12, 1), utc(2012, 5, 1)),  # 30 December did not exist
    ("America/Caracas", utc(2007, 11, 1), utc(2008, 1, 1)),  # back by half an hour
    ("America/Caracas", utc(2016, 4, 1), utc(2016, 6, 1)),  # forward by half an hour
    ("Asia/Pyongyang", utc(2015, 8, 1), utc(2015, 9, 1)),
    ("America/Sao_Paulo", utc(2017, 9, 1), utc(2019, 4, 1)),  # midnights that did not exist, or were two
    ("Africa/Casablanca", utc(2018, 3, 1), utc(2019, 7, 1)),
    ("Pacific/Kwajalein", utc(1993, 8, 1), utc(1993, 9, 1)),  # 21 August did not exist
]


@cache
def moments(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Return what fires from ``start`` to before ``end``."""
    found: list[datetime] = []
    for moment in Crontab(expression).moments(start - timedelta(microseconds=1), zone, start):
        if moment >= end:
            break
        assert not found or moment > found[-1], "it goes on"
        found.append(moment)
    return found


@pytest.mark.parametrize("name", ZONES)
def test_two_years_are_what_looking_at_every_minute_gives(name: str):
    zone = ZoneInfo(name)
    for expression in EXPRESSIONS:
        assert moments(expression, zone, START, END) == Oracle(expression).moments(zone, START, END), expression


@pytest.mark.parametrize(("name", "start", "end"), HISTORY)
def test_so_are_times_in_which_a_zone_did_something_odd(name: str, start: datetime, end: datetime):
    zone = ZoneInfo(name)
    for expression in EXPRESSIONS:
        assert moments(expression, zone, start, end) == Oracle(expression).moments(zone, start, end), expression


def test_an_offset_may_change_in_the_middle_of_a_minute():
    # Liberia went from 00:00:00 to 00:44:30 on 7 January 1972.
    zone = ZoneInfo("Africa/Monrovia")
    found = moments("0,15,30,45 0 6-7 1 *", zone, utc(1972, 1, 6), utc(1972, 1, 8))
    assert [moment.astimezone(zone).strftime("%d %H:%M:%S") for moment in found] == [
        "06 00:00:00", "06 00:15:00", "06 00:30:00", "06 00:45:00", "07 00:44:30", "07 00:45:00",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ZONES)
def test_back_is_the_way_forth_reversed(name: str):
    zone = ZoneInfo(name)
    for expression in EXPRESSIONS:
        crontab, found = Crontab(expression), moments(expression, zone, START, END)
        for earlier, later in pairwise(found):
            assert earlier < later
            assert crontab.preceding(later - timedelta(microseconds=1), zone, START) == earlier
        for moment in found[::7]:
            assert crontab.preceding(moment, zone, START) == moment


@pytest.mark.parametrize("name", ZONES)
def test_any_moment_lies_between_its_neighbours(name: str):
    zone, chance = ZoneInfo(name), random.Random(name)
    for expression in EXPRESSIONS:
        crontab, known = Crontab(expression), moments(expression, zone, START, END)
        for _ in range(50):
            at = utc(2026, 2, 1) + timedelta(microseconds=chance.randrange(600 * 86_400 * 10**6))
            index = bisect_right(known, at)
            if index < len(known):
                assert crontab.following(at, zone, START) == known[index]
            if index:
                assert crontab.preceding(at, zone, START) == known[index - 1]


def test_the_rule_in_berlin():
    berlin = ZoneInfo("Europe/Berlin")

    def day(expression: str, day: datetime) -> list[str]:
        start, end = (midnight.astimezone(UTC) for midnight in (day, day + timedelta(days=1)))
        return [f"{moment.astimezone(berlin):%H:%M%z}" for moment in moments(expression, berlin, start, end)]

    forward, back = datetime(2027, 3, 28, tzinfo=berlin), datetime(2026, 10, 25, tzinfo=berlin)
    assert day("30 2 * * *", forward) == ["03:00+0200"]
    assert day("0,30 2 * * *", forward) == ["03:00+0200"], "several times in one jump run once"
    assert day("0 2,3 * * *", forward) == ["03:00+0200"]
    assert day("*/30 2 * * *", forward) == []
    assert day("0 1-4 * * *", forward) == ["01:00+0100", "03:00+0200", "04:00+0200"]
    assert len(day("0 * * * *", forward)) == 23
    assert day("30 2 * * *", back) == ["02:30+0200"]
    assert day("*/30 2 * * *", back) == ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]
    assert day("* 2 * * *", back)[59:61] == ["02:59+0200", "02:00+0100"]
    assert len(day("0 * * * *", back)) == 25
    assert len(day("0 0-23 * * *", back)) == 24, "hours that are written out are fixed times"


# cronsim has the same rule as we, from Debian's cron, and another way to it: a wildcard steps hour by hour in UTC and
# day by day from midnight. So it loses what follows a clock change of half an hour, and the hour after a midnight that
# does not exist. Nothing else differs in these two years.
LOST_BY_CRONSIM = {
    ("*/30 2 * * *", "Australia/Lord_Howe"): ["2026-04-05 02:00+1030", "2027-04-04 02:00+1030"],
    ("0 */2 * * *", "Australia/Lord_Howe"): ["2026-04-05 02:00+1030", "2027-04-04 02:00+1030"],
    ("* 1-3 * 3,4,10,11 sun", "Asia/Beirut"): [
        f"{day} 01:{minute:02}+0300" for day in ("2026-03-29", "2027-03-28") for minute in range(60)
    ],
}


def simulated(expression: str, zone: ZoneInfo) -> list[datetime]:
    found = (moment.astimezone(UTC) for moment in CronSim(expression, (START - MINUTE).astimezone(zone)))
    return [moment for moment in takewhile(lambda moment: moment < END, found) if moment >= START]


@pytest.mark.parametrize("name", ZONES)
def test_two_years_are_what_cronsim_gives(name: str):
    zone = ZoneInfo(name)
    for expression in EXPRESSIONS:
        ours, theirs = set(moments(expression, zone, START, END)), set(simulated(expression, zone))
        lost = [f"{moment.astimezone(zone):%Y-%m-%d %H:%M%z}" for moment in sorted(ours - theirs)]
        assert lost == LOST_BY_CRONSIM.get((expression, name), []), expression
        assert not theirs - ours, expression
