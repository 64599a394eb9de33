"""
Schedules in words, in the language of the reader.

A crontab is said from its expanded fields, so that what is said is what fires. What has no short and exact wording is
not described: the expression itself says it better than half a page, and much better than something near it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils.dates import MONTHS, WEEKDAYS
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobs.schedules.fields import Days, Fields
from django_jobs.schedules.syntax import LAST

#: So many members of a list can be taken in at a glance.
MOST = 6
ALL_MINUTES, ALL_HOURS = tuple(range(60)), tuple(range(24))


def of_crontab(fields: Fields) -> str:
    """Say a crontab: "At 02:30, every day"; "": that has no short and exact wording."""
    days = _days(fields.days, fields.months)
    if days is None:
        return ""
    if times := _recurring(fields):
        return times if days == "" else _("%(times)s, %(days)s") % {"times": times, "days": days}
    if len(fields.times) > MOST:
        return ""
    times = _("At %(times)s") % {"times": listed([clock(*divmod(minute, 60)) for minute in fields.times])}
    if days == "":
        return _("%(times)s, every day") % {"times": times}
    if _any_day(fields.days):
        return _("%(times)s, every day %(days)s") % {"times": times, "days": days}
    return _("%(times)s %(days)s") % {"times": times, "days": days}


def of_interval(number: str, unit: str) -> str:
    """Say an interval: "Every 15 minutes"."""
    count = 1 if number == "1" else 2
    text = {
        "weeks": lambda: ngettext("Every week", "Every %(number)s weeks", count),
        "days": lambda: ngettext("Every day", "Every %(number)s days", count),
        "hours": lambda: ngettext("Every hour", "Every %(number)s hours", count),
        "minutes": lambda: ngettext("Every minute", "Every %(number)s minutes", count),
        "seconds": lambda: ngettext("Every second", "Every %(number)s seconds", count),
    }[unit]()
    return text % {"number": number}


def of_once(moment: datetime) -> str:
    """Say a moment: "Once, at 18:00 on Thu 24 Dec 2026"."""
    time = moment.strftime("%H:%M:%S" if moment.second else "%H:%M")
    offset = moment.isoformat().removeprefix(moment.replace(tzinfo=None).isoformat())
    values = {"time": f"{time} ({offset})" if offset else time, "date": dated(moment)}
    return _("Once, at %(time)s on %(date)s") % values


def of_solar(event: str, latitude: float, longitude: float) -> str:
    """Say an event: "At sunset (52.52° N, 13.4° E)"."""
    text = {
        "dawn": _("At dawn (%(place)s)"),
        "sunrise": _("At sunrise (%(place)s)"),
        "noon": _("At solar noon (%(place)s)"),
        "sunset": _("At sunset (%(place)s)"),
        "dusk": _("At dusk (%(place)s)"),
    }[event]
    north = f"{_degrees(latitude)}° {_('N') if latitude >= 0 else _('S')}"
    east = f"{_degrees(longitude)}° {_('E') if longitude >= 0 else _('W')}"
    return text % {"place": f"{north}, {east}"}


def clock(hour: int, minute: int) -> str:
    """Say what a clock shows."""
    return f"{hour:02}:{minute:02}"


def dated(moment: datetime) -> str:
    """Say a date: "Thu 24 Dec 2026"."""
    return date_format(moment, "D j M Y")


def listed(items: Sequence[str]) -> str:
    """Say a list: "a, b and c"."""
    if len(items) == 1:
        return items[0]
    return _("%(items)s and %(last)s") % {"items": ", ".join(items[:-1]), "last": items[-1]}


def _degrees(number: float) -> str:
    return f"{abs(number):.4f}".rstrip("0").rstrip(".")


def _any_day(days: Days) -> bool:
    """Whether the days of the month and of the week leave out none."""
    if days.both:
        return days.any_of_month and days.any_of_week
    return days.any_of_month or days.any_of_week


def _recurring(fields: Fields) -> str:
    """Say times that go on through the day: "Every 15 minutes"; "" if they do not."""
    minutes, hours = fields.minutes, fields.hours
    if hours == ALL_HOURS:
        return _through_the_hour(minutes)
    if len(minutes) == 1:
        return _once_in_hours(minutes[0], hours)
    if _run(hours) and (every := _through_the_hour(minutes)) and (minutes == ALL_MINUTES or _step(minutes, 60)):
        values = {"every": every, "first": clock(hours[0], 0), "last": clock(hours[-1], 59)}
        return _("%(every)s from %(first)s to %(last)s") % values
    return ""


def _through_the_hour(minutes: tuple[int, ...]) -> str:
    """Say the minutes of every hour."""
    if minutes == ALL_MINUTES:
        return _("Every minute")
    if minutes == (0,):
        return _("Every hour, on the hour")
    if step := _step(minutes, 60):
        return _("Every %(step)d minutes") % {"step": step}
    if len(minutes) > MOST:
        return ""
    text = ngettext("At minute %(minutes)s of every hour", "At minutes %(minutes)s of every hour", len(minutes))
    return text % {"minutes": listed([str(minute) for minute in minutes])}


def _once_in_hours(minute: int, hours: tuple[int, ...]) -> str:
    """Say many hours with the same minute: "Every 2 hours from 00:30 to 22:30"."""
    step = hours[1] - hours[0] if len(hours) > MOST else 0
    if not step or hours != tuple(range(hours[0], hours[-1] + 1, step)):
        return ""
    values = {"step": step, "first": clock(hours[0], minute), "last": clock(hours[-1], minute)}
    return (
        ngettext("Every hour from %(first)s to %(last)s", "Every %(step)d hours from %(first)s to %(last)s", step)
        % values
    )


def _step(values: tuple[int, ...], size: int) -> int:
    """Return the step of values that go round from 0 evenly; 0: they do not."""
    step = values[1] if len(values) > 1 else 0
    return step if step and size % step == 0 and values == tuple(range(0, size, step)) else 0


def _run(values: Sequence[int]) -> bool:
    """Whether values follow each other."""
    return list(values) == list(range(values[0], values[-1] + 1))


def _days(days: Days, months: tuple[int, ...]) -> str | None:
    """Say the days; "": all of them; None: not to be said in short."""
    every_month = len(months) == 12
    in_months = "" if every_month else _names([str(MONTHS[month]) for month in months], months)
    if _any_day(days):
        return "" if every_month else _("in %(months)s") % {"months": in_months}
    if days.any_of_month:
        return _and_months(_of_week(days), in_months)
    of_month = _of_month(days.of_month, _("the month") if every_month or not days.both else in_months)
    if days.any_of_week:
        return of_month
    of_week = _of_week(days)
    if days.both or of_month is None or of_week is None:
        return None
    return _and_months(_("%(day)s or %(weekday)s") % {"day": of_month, "weekday": of_week}, in_months)


def _and_months(text: str | None, months: str) -> str | None:
    if text is None or months == "":
        return text
    return _("%(days)s, in %(months)s") % {"days": text, "months": months}


def _of_month(numbers: frozenset[int], month: str) -> str | None:
    """Say the days of a month: "on days 1 and 15 of the month"."""
    ordered = sorted(numbers - {LAST})
    last = _("on the last day of %(month)s") % {"month": month}
    if not ordered:
        return last
    if len(ordered) > 2 and _run(ordered):
        text = _("on days %(first)d to %(last)d of %(month)s")
        text %= {"first": ordered[0], "last": ordered[-1], "month": month}
    elif len(ordered) > MOST:
        return None
    else:
        text = ngettext("on day %(days)s of %(month)s", "on days %(days)s of %(month)s", len(ordered))
        text %= {"days": listed([str(number) for number in ordered]), "month": month}
    return _("%(days)s and %(last)s") % {"days": text, "last": last} if LAST in numbers else text


def _of_week(days: Days) -> str | None:
    """Say the days of the week: "on Monday to Friday", "on the first Monday of the month"."""
    if not days.counted:
        weekdays = sorted(days.of_week)
        return _("on %(weekdays)s") % {"weekdays": _names([str(WEEKDAYS[day]) for day in weekdays], weekdays)}
    if len(days.counted) > 1:
        return None
    ((weekday, nth),) = days.counted
    text = {
        1: _("on the first %(weekday)s of the month"),
        2: _("on the second %(weekday)s of the month"),
        3: _("on the third %(weekday)s of the month"),
        4: _("on the fourth %(weekday)s of the month"),
        5: _("on the fifth %(weekday)s of the month"),
        LAST: _("on the last %(weekday)s of the month"),
    }[nth]
    return text % {"weekday": WEEKDAYS[weekday]}


def _names(names: list[str], numbers: Sequence[int]) -> str:
    """Say names: "Monday to Friday", or all of them."""
    if len(numbers) > 2 and _run(numbers):
        return _("%(first)s to %(last)s") % {"first": names[0], "last": names[-1]}
    return listed(names)
