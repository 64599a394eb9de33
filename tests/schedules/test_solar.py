"""By the sun: against astral's own table where that has one, and where it has none."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from astral import Observer, refraction_at_zenith, sun
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import Solar, parse, solar
from tests.schedules.oracle import utc

START, END = utc(2026, 1, 1), utc(2028, 1, 1)
TICK = timedelta(microseconds=1)
ANYWHERE = ZoneInfo("UTC")
PLACES = {
    "Europe/Berlin": (52.52, 13.40),
    "America/New_York": (40.71, -74.01),
    "Australia/Sydney": (-33.87, 151.21),
    "Asia/Kolkata": (22.57, 88.36),  # the sun rises about midnight in UTC
    "America/Denver": (39.74, -104.99),  # the sun sets about midnight in UTC
    "Pacific/Apia": (-13.83, -171.76),
    "Africa/Nairobi": (-1.29, 36.82),
}


def events(event: str, place: tuple[float, float]) -> list[datetime]:
    found: list[datetime] = []
    for moment in Solar(event, *place).moments(START, ANYWHERE, START):
        if moment >= END:
            return found
        found.append(moment)
    return found


@pytest.mark.parametrize("event", solar.EVENTS)
@pytest.mark.parametrize("name", PLACES)
def test_every_day_has_its_event_when_astral_says(name: str, event: str):
    zone, observer = ZoneInfo(name), Observer(*PLACES[name])
    by_day = {moment.astimezone(zone).date(): moment for moment in events(event, PLACES[name])}
    missing = 0
    for number in range(date(2026, 1, 2).toordinal(), date(2027, 12, 31).toordinal()):
        day = date.fromordinal(number)
        assert day in by_day, day
        try:
            expected = getattr(sun, event)(observer, day, tzinfo=zone)
        except ValueError:
            missing += 1  # about once a year, where an event comes to midnight in UTC
            continue
        expected += day - expected.date()  # astral's noon is that of the date in UTC
        assert abs(by_day[day] - expected) < timedelta(minutes=2), day
    assert missing <= 4
    assert len(by_day) == len(events(event, PLACES[name])), "one each day"


@pytest.mark.parametrize(
    ("event", "zenith"), [("dawn", 96), ("sunrise", 90 + 16 / 60), ("sunset", 90 + 16 / 60), ("dusk", 96)]
)
@pytest.mark.parametrize("name", PLACES)
def test_the_sun_is_where_it_should_be(name: str, event: str, zenith: float):
    observer = Observer(*PLACES[name])
    for moment in events(event, PLACES[name])[::10]:
        # A thousandth of a degree is a quarter of a second.
        seen = sun.zenith(observer, moment, with_refraction=False)
        assert abs(seen - zenith - refraction_at_zenith(zenith)) < 0.01, moment


def test_astral_knows_no_sunrise_where_there_is_one():
    with pytest.raises(ValueError, match="Unable to find a sunrise"):
        sun.sunrise(Observer(22.57, 88.36), date(2026, 4, 1), tzinfo=ZoneInfo("Asia/Kolkata"))
    found = parse("sunrise 22.57 88.36").following(utc(2026, 3, 31, 12), ANYWHERE, START)
    assert found is not None
    assert f"{found.astimezone(ZoneInfo('Asia/Kolkata')):%m-%d %H:%M}" == "04-01 05:29"


def test_days_without_an_event_are_passed_over():
    tromso = (69.65, 18.96)
    sunrises = events("sunrise", tromso)
    gaps = [
        (f"{earlier:%m-%d}", f"{later:%m-%d}")
        for earlier, later in pairwise(sunrises)
        if later - earlier > timedelta(days=2)
    ]
    assert [(start[:2], end[:2]) for start, end in gaps] == [("05", "07"), ("11", "01"), ("05", "07")], gaps
    assert len(events("noon", tromso)) == 730


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(solar.EVENTS),
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
@example("sunrise", 90.0, 0.0, START)
@example("dusk", -90.0, 180.0, START)
@example("sunset", 66.0, -180.0, utc(2026, 6, 10))
def test_back_is_the_way_forth_reversed(event: str, latitude: float, longitude: float, after: datetime):
    schedule = Solar(event, latitude, longitude)
    found = schedule.following(after, ANYWHERE, START)
    assert found is not None
    assert found > after
    assert schedule.preceding(found, ANYWHERE, START) == found
    before = schedule.preceding(after, ANYWHERE, START)
    assert before is not None
    assert before <= after
    assert schedule.following(before, ANYWHERE, START) == found
    assert parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "stored", "words"),
    [
        ("sunset 52.52 13.40", "sunset 52.52 13.4", "At sunset (52.52° N, 13.4° E)"),
        ("Sunrise  -33.87, 151.21", "sunrise -33.87 151.21", "At sunrise (33.87° S, 151.21° E)"),
        ("noon +0 -180", "noon 0 -180", "At solar noon (0° N, 180° W)"),
        ("dawn 10 20", "dawn 10 20", "At dawn (10° N, 20° E)"),
        ("dusk 0.00001 100", "dusk 0.00001 100", "At dusk (0° N, 100° E)"),
    ],
)
def test_texts(text: str, stored: str, words: str):
    assert str(parse(text)) == stored
    assert parse(stored) == parse(text)
    assert parse(text).words() == words


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sunset", "'sunset' should be 'sunset', a latitude and a longitude in degrees: 52.52 13.40 is Berlin"),
        ("sunset 52.52", "a latitude and a longitude"),
        ("sunset 52,52 13,40", "a latitude and a longitude"),
        ("sunset north west", "a latitude and a longitude"),
        ("sunset 91 0", "A latitude is from -90 (south) to 90 (north), not 91.0."),
        ("sunset 0 -181", "A longitude is from -180 (west) to 180 (east), not -181.0."),
        ("sunste 1 2", "Did you mean 'sunset'?"),
    ],
)
def test_what_is_wrong_is_said(text: str, complaint: str):
    with pytest.raises(InvalidSchedule) as caught:
        parse(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "values", [("sunset", float("nan"), 0.0), ("sunset", 0.0, float("inf")), ("moonrise", 0.0, 0.0)]
)
def test_nor_is_it_made_of_what_is_none(values: tuple[str, float, float]):
    with pytest.raises(InvalidSchedule):
        Solar(*values)


def test_without_astral_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(solar, "sun", None)
    with pytest.raises(InvalidSchedule, match=r"pip install 'django-jobs-redis\[solar\]'"):
        parse("sunset 1.5 2.5")
