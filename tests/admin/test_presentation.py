from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from django_jobs import clock, serializers
from django_jobs.admin.presentation import duration, first_line, moment, readable
from django_jobs.states import State


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-1, "0 ms"),
        (0.0004, "0 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 m 00 s"),
        (131, "2 m 11 s"),
        (3 * 3600 + 240, "3 h 04 m"),
        (50 * 3600, "2 d 2 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(None if seconds is None else timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True]}, "{'a': [1, None, True]}"),
        ((1, "x"), "(1, 'x')"),
        ({1: "one"}, "{1: 'one'}"),
        ({"$": 1}, "{'$': 1}"),
        (set(), "set({})"),
        (frozenset([1]), "frozenset({1})"),
        (Decimal("1.50"), "decimal('1.50')"),
        (datetime(2026, 11, 20, 14, tzinfo=UTC), "datetime(2026-11-20T14:00:00+00:00)"),
        (date(2026, 11, 20), "date('2026-11-20')"),
        (timedelta(seconds=90), "0:01:30"),
        (UUID(int=7), "uuid('00000000000000000000000000000007')"),
        (float("inf"), "inf"),
        (State.FAILURE, "State.FAILURE"),
    ],
)
def test_values_as_python_writes_them(value, text):
    assert readable(serializers.dumps(value).decode()) == text


@pytest.mark.parametrize("text", ["[1, 2, …", "{'a': 1}", '{"$": "tuple"}', '{"$": "model", "v": 1}', "[" * 100_000])
def test_what_cannot_be_read_is_shown_as_it_is(text):
    assert readable(text)[:1000] == text[:1000]


def test_long_values_are_cut():
    assert len(readable(serializers.dumps("x" * 1_000_000).decode())) < 50_000


def test_today_needs_no_date():
    now = datetime(2026, 11, 20, 14, 6, 2, tzinfo=UTC)
    with clock.use(now.timestamp):
        assert ">14:06:02</time>" in moment(now, short=True)
        assert ">2026-11-19 14:06</time>" in moment(now - timedelta(days=1), short=True)
        assert ">2026-11-20 14:06:02 UTC</time>" in moment(now)


def test_the_first_line_that_says_something():
    assert first_line("\n  \n boom \nmore") == "boom"
    assert first_line("") == ""
    assert len(first_line("x" * 500)) == 120
