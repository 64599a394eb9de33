"""What a crontab may say, what it means, and what it is told when it is wrong."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs import crontab as public_crontab
from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import Crontab, crontab, parse
from django_jobs.schedules.fields import fields_of
from django_jobs.schedules.syntax import ALIASES
from tests.schedules.oracle import BOUNDS, DAYS, MONTHS, Oracle, utc

UTC = ZoneInfo("UTC")
NEW_YEAR = utc(2026, 1, 1)


def dates(expression: str, count: int = 3, after: datetime = NEW_YEAR) -> list[str]:
    found = Crontab(expression).moments(after, UTC, after)
    return [f"{next(found):%Y-%m-%d}" for _ in range(count)]


@st.composite
def tokens(draw: st.DrawFn, field: int) -> str:
    low, high = BOUNDS[field]
    names = {3: MONTHS, 4: DAYS}.get(field)
    size = high - low + 1

    def value() -> str:
        number = draw(st.integers(low, high))
        return names[number] if names and draw(st.booleans()) else str(number)

    shape = draw(st.sampled_from(["*", "*/", "value", "range", "range/", "value/"]))
    step = f"/{draw(st.integers(1, size))}" if shape.endswith("/") else ""
    if shape.startswith("*"):
        return f"*{step}"
    if shape.startswith("value"):
        return value() + step
    first = draw(st.integers(low, high))
    last = low + (first - low + draw(st.integers(1, size - 1))) % size  # another; see the test of a range of one value
    if step:
        return f"{min(first, last)}-{max(first, last)}{step}"
    return f"{names[first]}-{names[last]}" if names and draw(st.booleans()) else f"{first}-{last}"


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """Any crontab without "#" and "L" that is allowed to be written, if not one that ever comes."""
    return " ".join(",".join(draw(st.lists(tokens(field), min_size=1, max_size=3))) for field in range(5))


@settings(max_examples=150, deadline=None)
@given(expressions())
def test_the_fields_mean_what_they_say(expression: str):
    oracle = Oracle(expression)
    try:
        fields = fields_of(expression)
    except InvalidSchedule:
        longest = max(29 if month == 2 else 30 if month in {4, 6, 9, 11} else 31 for month in oracle.months)
        assert min(oracle.days) > longest
        return
    assert set(fields.minutes) == oracle.minutes
    assert set(fields.hours) == oracle.hours
    assert set(fields.months) == oracle.months
    assert fields.elapsed == oracle.wildcard
    for number in range(date(2027, 1, 1).toordinal(), date(2029, 1, 1).toordinal()):
        day = datetime.fromordinal(number)
        assert (fields.first(day, day + timedelta(days=1)) is not None) == oracle.fits_date(day), day


def without_later_stars(expression: str) -> str:
    """Leave out stars behind a comma: "1,*" is every day, as in cron; croniter is not sure."""
    fields = [field.split(",") for field in expression.split()]
    return " ".join(",".join([field[0], *(part for part in field[1:] if part[0] != "*")]) for field in fields)


@settings(max_examples=100, deadline=None)
@given(expressions().map(without_later_stars), st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_the_next_one_is_the_one_that_croniter_finds_where_no_clock_is_changed(expression: str, wall: datetime):
    try:
        fields = fields_of(expression)
    except InvalidSchedule:
        return
    found = fields.first(wall + timedelta(microseconds=1), wall + timedelta(days=365 * 45))
    assert found == croniter(expression, wall, implement_cron_bug=True).get_next(datetime)
    assert found is not None
    assert fields.last(wall, found + timedelta(microseconds=1)) == found
    assert fields.last(wall + timedelta(microseconds=1), found) is None


@pytest.mark.parametrize(("alias", "meaning"), ALIASES.items())
def test_aliases(alias: str, meaning: str):
    found = Crontab(alias).moments(NEW_YEAR, UTC, NEW_YEAR)
    same = Crontab(meaning).moments(NEW_YEAR, UTC, NEW_YEAR)
    assert [next(found) for _ in range(5)] == [next(same) for _ in range(5)]
    assert str(Crontab(alias)) == alias


def test_either_day_fits_unless_one_of_the_fields_begins_with_a_star():
    assert dates("0 0 13 * fri", 4, utc(2026, 3, 6)) == ["2026-03-13", "2026-03-20", "2026-03-27", "2026-04-03"]
    assert dates("0 0 */13 * fri", 3) == ["2026-02-27", "2026-03-27", "2026-05-01"]


def test_days_that_are_counted_within_a_month():
    assert dates("0 0 * * mon#1") == ["2026-01-05", "2026-02-02", "2026-03-02"]
    assert dates("0 0 * * 5#5") == ["2026-01-30", "2026-05-29", "2026-07-31"]
    assert dates("0 0 * * L5") == ["2026-01-30", "2026-02-27", "2026-03-27"]
    assert dates("0 0 * * 0#2,7#4") == ["2026-01-11", "2026-01-25", "2026-02-08"]
    assert dates("0 0 L * *") == ["2026-01-31", "2026-02-28", "2026-03-31"]
    assert dates("0 0 L 2 *", 3) == ["2026-02-28", "2027-02-28", "2028-02-29"]
    assert dates("0 0 15,L * *") == ["2026-01-15", "2026-01-31", "2026-02-15"]
    assert dates("0 0 1 * mon#1") == ["2026-01-05", "2026-02-01", "2026-02-02"]


def test_sunday_is_0_and_7_and_names_may_be_long():
    assert dates("0 0 * * 0") == dates("0 0 * * 7") == dates("0 0 * * SUN") == dates("0 0 * * Sunday")
    assert dates("0 0 * * fri-7") == dates("0 0 * * 5,6,0")
    assert dates("0 0 1 JANUARY,march *") == dates("0 0 1 1,3 *")


def test_a_range_of_one_value_is_that_value():
    assert Oracle("30 2-2 * * *").hours == {2}
    assert fields_of("30 2-2 * * *").hours == (2,)
    assert fields_of("30 2 * * mon-mon").days.of_week == {0}
    assert fields_of("5-5/10 2 * * *").minutes == (5,)
    assert fields_of("0 0 * 1-jan 2-TUE").months == (1,)
    assert fields_of("0 0 * * 0-7").days.of_week == fields_of("0 0 * * sun-7").days.of_week == set(range(7))


def test_what_is_rare_is_found_and_ends():
    assert dates("0 0 29 2 *", 3, utc(2090, 1, 1)) == ["2092-02-29", "2096-02-29", "2104-02-29"]
    assert dates("0 0 29 2 */7", 2, utc(2072, 1, 1)) == ["2088-02-29", "2128-02-29"], "40 years: 2100 is no leap year"
    crontab = Crontab("0 0 29 2 */7")
    assert crontab.preceding(utc(2128, 2, 28), UTC, NEW_YEAR) == utc(2088, 2, 29)
    assert crontab.following(utc(9989, 1, 1), UTC, NEW_YEAR) is None, "years end somewhere"
    assert crontab.preceding(utc(1900, 1, 1), UTC, NEW_YEAR) is None
    for zone in (UTC, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("America/Los_Angeles")):
        first, last = datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone)
        assert crontab.following(last, zone, NEW_YEAR) is None
        assert crontab.preceding(first, zone, NEW_YEAR) is None
        assert crontab.following(first, zone, NEW_YEAR) is not None
        assert crontab.preceding(last, zone, NEW_YEAR) is not None


def test_no_date_is_rarer_than_what_is_searched():
    leap_days = [date(year, 2, 29) for year in range(1904, 2404) if year % 4 == 0 and (year % 100 or year % 400 == 0)]
    for weekday in range(7):
        years = [day.year for day in leap_days if day.weekday() == weekday]
        assert max(later - earlier for earlier, later in pairwise(years)) == 40


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("* * * *", "has 4 fields; a crontab has five: minute hour day-of-month month day-of-week."),
        ("0 * * * * *", "has 6 fields; a crontab has five: minute hour day-of-month month day-of-week. Seconds"),
        ("0 0 1 1 * 2027 *", "has 7 fields"),
        ("60 * * * *", "'60' in '60 * * * *' is no minute: expected are * or 0 to 59, lists (1,2), ranges (1-5)"),
        ("0 24 * * *", "'24' in '0 24 * * *' is no hour: expected are * or 0 to 23"),
        ("0 0 0 * *", "is no day of the month: expected are * or 1 to 31 or L (the last)"),
        ("0 0 1 13 *", "is no month: expected are * or 1 to 12 or jan to dec"),
        ("0 0 * * 8", "is no day of the week: expected are * or 0 to 6 or sun to sat (7 is Sunday, as 0 is)"),
        ("0 0 * * mondy", "'mondy' in '0 0 * * mondy' is no day of the week"),
        ("0 0 * mon *", "'mon' in '0 0 * mon *' is no month"),
        ("1,,2 * * * *", "'' in '1,,2 * * * *' is no minute"),
        ("1- * * * *", "'1-' in '1- * * * *' is no minute"),
        ("-5 * * * *", "'-5' in '-5 * * * *' is no minute"),
        ("** * * * *", "'**' in '** * * * *' is no minute"),
        ("1.5 * * * *", "is no minute"),
        ("٣ * * * *", "is no minute"),
        ("5#2 * * * *", "is no minute"),
        ("0 0 * * mon#6", "is no day of the week"),
        ("0 0 * * mon#0", "is no day of the week"),
        ("H * * * *", "'h', the minute of 'H * * * *', is random or hashed"),
        ("0 R(0-5) * * *", "is random or hashed"),
        ("H/15 * * * *", "is random or hashed"),
        ("0 0 ? * mon", "'?', the day of the month of '0 0 ? * mon', is from Quartz: write '*'."),
        ("0 0 15W * *", "is the nearest working day, which no cron knows"),
        ("0 0 LW * *", "is the nearest working day, which no cron knows"),
        ("*/90 * * * *", "has a step of 90; 1 to 60 are possible. For every 90 minutes say 'every 90 minutes'."),
        ("*/0 * * * *", "has a step of 0; 1 to 60 are possible."),
        ("0 22-2/2 * * *", "'22-2/2', the hour of '0 22-2/2 * * *', steps over the end of the field"),
        ("0 0 * * fri-sun/2", "steps over the end of the field"),
        ("0 0 * * mon,tue#1", "mixes days of every week (mon) with days that are counted within a month (mon#1)"),
        ("30 2 30 2 *", "'30 2 30 2 *' never comes: month '2' has no day '30'."),
        ("0 0 31 feb,apr,jun,sep,nov *", "never comes"),
        ("0 0 30 2 mon", "never comes"),
        ("0 0 */5 2 mon#5", "never comes: month '2' has no day '*/5' that is 'mon#5'."),
        ("@reboot", "'@reboot' is no time"),
        (
            "@dayly",
            "'@dayly' is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly. Did you mean",
        ),
        ("@every 5m", "Write 'every 5 minutes', without the @."),
        ("", "'' has 0 fields"),
    ],
)
def test_what_is_wrong_is_said(expression: str, complaint: str):
    with pytest.raises(InvalidSchedule) as caught:
        Crontab(expression)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789*/,-#@hrlw? jansumo", max_size=25))
def test_no_text_is_answered_with_anything_but_a_sentence(text: str):
    try:
        found = parse(text)
    except InvalidSchedule:
        return
    assert parse(str(found)) == found
    assert found.following(NEW_YEAR, UTC, NEW_YEAR) is not None


# crontab(): Celery's names, and Celery's order


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (crontab(), "* * * * *"),
        (crontab(hour=3, minute=0), "0 3 * * *"),
        (crontab(hour=3), "* 3 * * *"),
        (crontab(0, 3, "mon-fri"), "0 3 * * mon-fri"),
        (crontab(0, 3, 1), "0 3 * * 1"),
        (crontab(0, 0, "*", 1, 6), "0 0 1 6 *"),
        (crontab(0, 0, day_of_month="2-30/2", month_of_year="*/3"), "0 0 2-30/2 */3 *"),
        (crontab(minute={30, 0}, hour=[20, 8], day_of_week=("sunday", 3)), "0,30 8,20 * * 3,sunday"),
        (crontab(minute=range(0, 60, 20)), "0,20,40 * * * *"),
        (crontab(minute="*/10", hour="3,17, 22", day_of_week="thu,fri"), "*/10 3,17,22 * * thu,fri"),
        (crontab("0 3 * * mon-fri"), "0 3 * * mon-fri"),
        (crontab("  0  3 *\t* *\n"), "0 3 * * *"),
        (crontab("@daily"), "@daily"),
    ],
)
def test_crontab_is_called_as_in_celery(made: Crontab, expected: str):
    assert str(made) == expected
    assert parse(expected) == made


def test_crontab_is_public():
    assert public_crontab is crontab


def test_what_celery_means_otherwise_is_refused():
    with pytest.raises(InvalidSchedule, match=r"both in Celery, and either in cron.*'mon#1'"):
        crontab(0, 0, day_of_week="mon", day_of_month="1-7")
    assert str(crontab(0, 0, day_of_week="mon", day_of_month="*/2")) == "0 0 */2 * mon", "both, in either"


@pytest.mark.parametrize("value", [True, None, 1.5, b"1", set(), "", [None, 1], [[]]])
def test_a_field_that_is_none_is_named(value: object):
    with pytest.raises(InvalidSchedule, match=r"hour=.* should be a number, a text such as '\*/15', or a set of them"):
        crontab(0, value)  # type: ignore[arg-type]


def test_crontabs_are_values():
    assert crontab(0, 3) == Crontab("0 3 * * *")
    assert len({crontab(0, 3), Crontab("0 3 * * *"), crontab(0, 4)}) == 2
    assert repr(crontab(0, 3)) == "Crontab(expression='0 3 * * *')"


@pytest.mark.parametrize(
    ("stranger", "hint"),
    [
        ("tz", "'timezone' of DJANGO_JOBS['SCHEDULE']"),
        ("nowfun", "the database"),
        ("second", "There are no seconds"),
        ("hours", "Did you mean 'hour'?"),
        ("day_of_weeks", "Did you mean 'day_of_week'?"),
    ],
)
def test_what_crontabs_have_elsewhere(stranger: str, hint: str):
    with pytest.raises(InvalidSchedule) as raised:
        crontab(**{stranger: 3})  # type: ignore[arg-type]
    assert hint in str(raised.value)
