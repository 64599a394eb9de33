"""The fields of a schedule: what people say is a text, and a text comes back as what people said."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.http import QueryDict

from django_jobs.admin.periodic_schedule import BLANK, ScheduleField, ScheduleWidget, parts_of, text_of


def said(**fields: object) -> str:
    data = QueryDict(mutable=True)
    for name, value in fields.items():
        data.setlist(f"schedule_{name}", value if isinstance(value, list) else [str(value)])
    return str(ScheduleField().clean(ScheduleWidget().value_from_datadict(data, {}, "schedule")))


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("every 15 minutes", "every", {"count": "15", "unit": "minutes"}),
        ("every hour", "every", {"count": "1", "unit": "hours"}),
        ("every 0.5 seconds", "every", {"count": "0.5", "unit": "seconds"}),
        ("0 9 * * mon-fri", "clock", {"time": "09:00", "days": ["mon", "tue", "wed", "thu", "fri"]}),
        ("0 9 * * 1-5", "clock", {"time": "09:00", "days": ["mon", "tue", "wed", "thu", "fri"]}),
        ("30 2 * * *", "clock", {"time": "02:30", "days": []}),
        ("5 4 * * sun", "clock", {"time": "04:05", "days": ["sun"]}),
        ("5 4 * * 0,6", "clock", {"time": "04:05", "days": ["sat", "sun"]}),
        ("5 4 * * 7", "clock", {"time": "04:05", "days": ["sun"]}),
        ("*/15 9-17 * * mon-fri", "text", {"text": "*/15 9-17 * * mon-fri"}),
        ("0 9 * * mon#1", "text", {}),
        ("0 9 * * 1/2", "text", {}),
        ("0 9 * * fri-mon", "text", {}),
        ("99 9 * * *", "text", {"text": "99 9 * * *"}),
        ("@daily", "text", {"text": "@daily"}),
        ("at 2026-12-24 18:00", "once", {"moment": "2026-12-24T18:00"}),
        ("at 2026-12-24 18:00:30", "once", {"moment": "2026-12-24T18:00:30"}),
        ("at 2026-12-24 18:00+01:00", "once", {"moment": "2026-12-24T18:00", "offset": "+01:00"}),
        ("at 2026-11-24 17:16:52.640050+00:00", "once", {"moment": "2026-11-24T17:16:52", "offset": "+00:00"}),
        ("at 2026-12-24 18:00Z", "once", {"moment": "2026-12-24T18:00", "offset": "+00:00"}),
        ("at tomorrow", "text", {}),
        ("sunset 52.52 13.40", "sun", {"event": "sunset", "latitude": "52.52", "longitude": "13.40"}),
        ("<script>", "text", {"text": "<script>"}),
        ("", "text", {"text": ""}),
    ],
)
def test_a_text_fills_the_fields_that_can_say_it(text, kind, parts):
    assert parts_of(text) == BLANK | parts | {"kind": kind} | ({"text": text} if kind == "text" else {})


@pytest.mark.parametrize(
    "text",
    [
        "every 15 minutes", "every 1 day", "every 0.5 seconds", "0 9 * * mon-fri", "0 9 * * mon,wed", "0 9 * * sat,sun",
        "30 2 * * *", "0 0 * * fri,sat,sun", "at 2099-12-24 18:00", "@daily", "*/15 9-17 * * mon-fri",
        "at 2099-12-24 18:00:30-05:00",
    ],
)  # fmt: skip
def test_fields_say_their_text_again(text):
    assert text_of(parts_of(text)) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "every", "count": 15, "unit": "minutes"}, "every 15 minutes"),
        ({"kind": "every", "count": 1, "unit": "hours"}, "every 1 hour"),
        ({"kind": "clock", "time": "09:00", "days": ["mon", "tue", "wed", "thu", "fri"]}, "0 9 * * mon-fri"),
        ({"kind": "clock", "time": "9:05", "days": []}, "5 9 * * *"),
        ({"kind": "clock", "time": "09:00", "days": ["<", "sun"]}, "0 9 * * sun"),
        ({"kind": "clock", "time": "09:00", "text": "@daily"}, "0 9 * * *"),
        ({"kind": "text", "text": "  0  9 * * *  "}, "0 9 * * *"),
        ({"kind": "once", "moment": "2099-12-24T18:00"}, "at 2099-12-24 18:00"),
    ],
)
def test_only_the_chosen_kind_counts(fields, text):
    assert said(**fields) == text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Choose when"),
        ({"kind": "nonsense"}, "Choose when"),
        ({"kind": "every", "unit": "minutes"}, "how many"),
        ({"kind": "every", "count": "abc", "unit": "minutes"}, "abc"),
        ({"kind": "every", "count": "5", "unit": "fortnights"}, "fortnight"),
        ({"kind": "clock", "time": "soon"}, "time of day"),
        ({"kind": "clock", "time": "99:00"}, "99"),
        ({"kind": "text", "text": ""}, "crontab"),
        ({"kind": "text", "text": "61 * * * *"}, "61"),
        ({"kind": "text", "text": "x" * 300}, "255"),
        ({"kind": "once", "moment": ""}, "which moment"),
        ({"kind": "once", "moment": "never"}, "never"),
        ({"kind": "once", "moment": "2099-12-24T18:00", "offset": "mars"}, "mars"),
        ({"kind": "sun", "event": "noon", "latitude": "1"}, "latitude and longitude"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(fields, says):
    with pytest.raises(ValidationError, match=says):
        said(**fields)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("0 9 * * 1-5", "0 9 * * mon-fri", False),
        ("every  15   minutes", "every 15 minutes", False),
        ("at 2099-12-24T18:00:00", "at 2099-12-24 18:00", False),
        ("at 2099-12-24 18:00:00.640050+00:00", "at 2099-12-24 18:00+00:00", False),
        ("at 2099-12-24 18:00+01:00", "at 2099-12-24 18:00+02:00", True),
        ("at 2099-12-24 18:00+01:00", "at 2099-12-24 18:00", True),
        ("30 2 * * *", "31 2 * * *", True),
        ("@daily", "0 0 * * *", True),
    ],
)
def test_the_same_in_other_words_is_no_change(before, after, changed):
    assert ScheduleField().has_changed(before, parts_of(after)) is changed
    assert ScheduleField().has_changed(before, after) is changed
