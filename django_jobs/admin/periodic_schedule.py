"""
A schedule as a form has it: one text in the database, a handful of fields for people.

Whoever knows no crontab says "every 15 minutes" or "at 09:00, Monday to Friday"; what these fields cannot say is typed
as text. Reading a text into fields and writing it back leaves it as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs.exceptions import InvalidSchedule
from django_jobs.schedules import parse

#: What a form says of a schedule: the name of a field, without its prefix, to what is in it.
Parts = dict[str, Any]

UNITS: Mapping[str, str | Promise] = {
    "seconds": _("seconds"),
    "minutes": _("minutes"),
    "hours": _("hours"),
    "days": _("days"),
    "weeks": _("weeks"),
}
DAYS: Mapping[str, str | Promise] = {
    "mon": _("Mon"),
    "tue": _("Tue"),
    "wed": _("Wed"),
    "thu": _("Thu"),
    "fri": _("Fri"),
    "sat": _("Sat"),
    "sun": _("Sun"),
}
EVENTS: Mapping[str, str | Promise] = {
    "dawn": _("dawn"),
    "sunrise": _("sunrise"),
    "noon": _("noon"),
    "sunset": _("sunset"),
    "dusk": _("dusk"),
}
#: What the fields say as long as nobody has said anything.
BLANK: Parts = {
    "kind": "clock",
    "count": "15",
    "unit": "minutes",
    "time": "03:00",
    "days": [],
    "moment": "",
    # From UTC, of a moment that was written with one: it is no time of the row's zone.
    "offset": "",
    "event": "sunset",
    "latitude": "",
    "longitude": "",
    "text": "",
}

_EVERY = re.compile(r"every(?: (\d+(?:\.\d+)?))? (second|minute|hour|day|week)s?", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* (\S+)")
_SUN = re.compile(rf"({'|'.join(EVENTS)}) (-?\d+(?:\.\d+)?) (-?\d+(?:\.\d+)?)", re.IGNORECASE)


def parts_of(text: str) -> Parts:
    """Return what the fields say when a row has this text. What only the text can say stays text."""
    text = " ".join(text.split())
    said: Parts = {"kind": "text", "text": text}
    if found := _EVERY.fullmatch(text):
        said = {"kind": "every", "count": found[1] or "1", "unit": found[2].lower() + "s"}
    elif (found := _CLOCK.fullmatch(text)) and (days := _days_of(found[3])) is not None:
        if int(found[1]) < 60 and int(found[2]) < 24:
            said = {"kind": "clock", "time": f"{int(found[2]):02d}:{int(found[1]):02d}", "days": days}
    elif found := _SUN.fullmatch(text):
        said = {"kind": "sun", "event": found[1].lower(), "latitude": found[2], "longitude": found[3]}
    elif text.lower().startswith("at ") and (found_moment := _moment_of(text[3:])):
        said = {"kind": "once", **found_moment}
    return BLANK | said


def text_of(parts: Parts) -> str:
    """Return the text that says what the fields say. Raises ValidationError when one is empty that must not be."""
    write = _WRITERS.get(parts["kind"])
    if write is None:
        raise ValidationError(_("Choose when it is to run."), code="required")
    return write(parts)


def _every(parts: Parts) -> str:
    if not parts["count"]:
        raise ValidationError(_("Say how many seconds, minutes, hours, days or weeks."), code="required")
    # One minute, two minutes: as the text is written by hand.
    unit = parts["unit"][:-1] if parts["count"] == "1" else parts["unit"]
    return f"every {parts['count']} {unit}"


def _clock(parts: Parts) -> str:
    found = re.fullmatch(r"(\d{1,2}):(\d{2})(?::00)?", parts["time"])
    if not found:
        raise ValidationError(_("Say the time of day, such as 09:00."), code="required")
    return f"{int(found[2])} {int(found[1])} * * {_days_text(parts['days'])}"


def _once(parts: Parts) -> str:
    if not parts["moment"]:
        raise ValidationError(_("Say at which moment."), code="required")
    return f"at {parts['moment'].replace('T', ' ')}{parts['offset']}"


def _sun(parts: Parts) -> str:
    if not parts["latitude"] or not parts["longitude"]:
        raise ValidationError(_("Say the latitude and longitude, such as 52.52 and 13.40."), code="required")
    return f"{parts['event']} {parts['latitude']} {parts['longitude']}"


def _text(parts: Parts) -> str:
    if not parts["text"]:
        raise ValidationError(_("Write a crontab, such as 30 2 * * *."), code="required")
    return str(parts["text"])


_WRITERS: Mapping[str, Callable[[Parts], str]] = {
    "every": _every,
    "clock": _clock,
    "text": _text,
    "once": _once,
    "sun": _sun,
}


def _days_of(text: str) -> list[str] | None:
    """Read the last field of a crontab: the days it names, none for all of them; None: it says something else."""
    if text == "*":
        return []
    names = list(DAYS)
    days: set[str] = set()
    for part in text.lower().split(","):
        ends = [_day(end) for end in part.split("-")]
        if not 1 <= len(ends) <= 2 or None in ends:
            return None
        first, last = names.index(str(ends[0])), names.index(str(ends[-1]))
        if first > last:
            return None
        days.update(names[first : last + 1])
    return [name for name in names if name in days]


def _day(text: str) -> str | None:
    if text in DAYS:
        return text
    # 0 and 7 are Sundays.
    return list(DAYS)[int(text) - 1 if text != "0" else 6] if re.fullmatch("[0-7]", text) else None


def _days_text(days: list[str]) -> str:
    chosen = [name for name in DAYS if name in days]
    if len(chosen) in (0, len(DAYS)):
        return "*"
    names = list(DAYS)
    first, last = names.index(chosen[0]), names.index(chosen[-1])
    # Not past Saturday: some count Sunday as the first day.
    if len(chosen) > 2 and last - first == len(chosen) - 1 and chosen[-1] != "sun":
        return f"{chosen[0]}-{chosen[-1]}"
    return ",".join(chosen)


def _moment_of(text: str) -> Parts:
    """Return what the fields for a moment have; empty: it is none. They have no room for less than a second."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return {}
    wall = moment.replace(tzinfo=None, microsecond=0)
    offset = moment.isoformat().removeprefix(moment.replace(tzinfo=None).isoformat())
    return {"moment": wall.isoformat(timespec="seconds" if wall.second else "minutes"), "offset": offset}


class ScheduleWidget(forms.Widget):
    """One row of fields for each kind of schedule, with a button to choose it. Works without JavaScript."""

    template_name = "admin/django_jobs/periodic_schedule.html"

    def id_for_label(self, id_: str) -> str:
        """Return none: the label is that of a group."""
        return ""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return what the template shows."""
        context = super().get_context(name, None, attrs)
        parts = value if isinstance(value, dict) else parts_of(value) if value else BLANK
        context["widget"] |= {"parts": parts, "units": UNITS, "days": DAYS, "events": EVENTS}
        return context

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Parts | str:
        """Return what was said: a text as such, or the fields."""
        if name in data:
            return str(data[name]).strip()
        parts = {key: str(data.get(f"{name}_{key}") or "").strip() for key in BLANK if key != "days"}
        listed: Any = getattr(data, "getlist", None)
        days = listed(f"{name}_days") if listed is not None else data.get(f"{name}_days", [])
        return {**parts, "days": [day for day in days if day in DAYS]}

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        """Say whether nothing was said at all."""
        return name not in data and f"{name}_kind" not in data


class ScheduleField(forms.Field):
    """A schedule: its value is the text that a row stores."""

    widget = ScheduleWidget

    def to_python(self, value: Any) -> str:
        """Return the text, if it is a schedule."""
        text = text_of(value) if isinstance(value, dict) else str(value or "")
        text = " ".join(text.split())
        if not text:
            return ""
        if len(text) > 255:
            raise ValidationError(_("A schedule has at most 255 characters."), code="max_length")
        try:
            parse(text)
        except InvalidSchedule as error:
            raise ValidationError(gettext("%(error)s") % {"error": error}, code="invalid") from error
        return text

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Say whether something else was said: the same said in other words is no change."""
        before = parts_of(str(initial or ""))
        try:
            return before != (parts_of(text_of(data)) if isinstance(data, dict) else parts_of(str(data or "")))
        except ValidationError:
            return True
