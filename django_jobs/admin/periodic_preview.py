"""What a schedule means: its words and its next moments, by the code that fires it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime
from django.utils import formats
from django.utils import timezone as django_timezone
from django.utils.translation import gettext as _

from django_jobs import clock
from django_jobs.admin.periodic_schedule import ScheduleField
from django_jobs.exceptions import InvalidSchedule
from django_jobs.models import PeriodicTask
from django_jobs.models.validation import aware
from django_jobs.schedules import Crontab, Once, Schedule, parse, zone_named
from django_jobs.schedules.preview import Coming, coming, remarks

#: How many moments a preview shows.
SHOWN = 5
#: What the calendar has no room for; a moment of the year 9999 in a zone that is ahead, say.
CALENDAR_ERRORS = (ValueError, OverflowError, ArithmeticError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One of the next moments, as the wall clock of the schedule shows it."""

    at: datetime
    away: str

    @property
    def day(self) -> str:
        """The day, with its year."""
        return formats.date_format(self.at, "D j M Y")

    @property
    def time(self) -> str:
        """The time of day; seconds only where there are some."""
        return f"{self.at:%H:%M:%S}" if self.at.second else f"{self.at:%H:%M}"

    @property
    def offset(self) -> str:
        """How far the zone is from UTC at that moment."""
        text = f"{self.at:%z}"
        return f"{text[:3]}:{text[3:5]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a schedule means; or what is wrong with it, and nothing else."""

    words: str = ""
    runs: tuple[Moment, ...] = ()
    remarks: tuple[str, ...] = ()
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it for the script that shows it while somebody types."""
        return {
            "description": self.words,
            "runs": [
                {"at": run.at.isoformat(), "day": run.day, "time": run.time, "offset": run.offset, "away": run.away}
                for run in self.runs
            ],
            "warnings": list(self.remarks),
            "error": self.error,
        }


def preview_of(row: PeriodicTask) -> Preview:
    """Say what a row will do from now on, whether it is enabled or not; never raises."""
    try:
        schedule, zone = parse(row.schedule), zone_of(row)
    except InvalidSchedule as error:
        return Preview(error=str(error))
    words = with_zone(schedule, zone)
    try:
        found = _coming(row, schedule, zone, 1 if row.one_off else SHOWN)
        runs = tuple(Moment(at=moment.astimezone(zone), away=away(moment)) for moment, _remark in found)
        told = [remark for _moment, remark in found if remark] + remarks(schedule, zone, _since(row))
    except CALENDAR_ERRORS as error:
        return Preview(words=words, error=str(error))
    if not runs:
        told = [_("It will not run again.")]
    return Preview(words=words, runs=runs, remarks=tuple(dict.fromkeys(told)))


class _Typed(forms.Form):
    """What of a form decides when it runs."""

    schedule = ScheduleField()
    timezone = forms.CharField(required=False, max_length=64)
    starts = forms.SplitDateTimeField(required=False, widget=AdminSplitDateTime)
    ends = forms.SplitDateTimeField(required=False, widget=AdminSplitDateTime)
    one_off = forms.BooleanField(required=False)


def typed(data: Mapping[str, Any], row: PeriodicTask) -> Preview:
    """Say what a row would do if it said what somebody has typed; never raises."""
    form = _Typed(data)
    if not form.is_valid():
        return Preview(error=" ".join(str(text) for errors in form.errors.values() for text in errors))
    for name, value in form.cleaned_data.items():
        setattr(row, name, value)
    return preview_of(row)


def zone_of(row: PeriodicTask) -> ZoneInfo:
    """Return the zone whose wall clock counts. Raises InvalidSchedule."""
    return zone_named(row.timezone or django_timezone.get_default_timezone_name())


def with_zone(schedule: Schedule, zone: ZoneInfo) -> str:
    """Say a schedule, and whose clock it means, if it means one."""
    if isinstance(schedule, Once) and schedule.moment.tzinfo:
        # Said by the clock that all the others are said by, whatever offset it was written with.
        schedule = Once(schedule.moment.astimezone(zone).replace(tzinfo=None))
    words = schedule.words()
    return f"{words} ({zone.key})" if isinstance(schedule, Crontab | Once) else words


def next_of(row: PeriodicTask) -> datetime | None:
    """Return the next moment by the row's own schedule; None: there is none, or it cannot be known."""
    try:
        return next((moment for moment, _remark in _coming(row, parse(row.schedule), zone_of(row), 1)), None)
    except (InvalidSchedule, *CALENDAR_ERRORS):
        return None


def _coming(row: PeriodicTask, schedule: Schedule, zone: ZoneInfo, count: int) -> list[Coming]:
    ends = None if row.ends is None else aware(row.ends)
    return coming(schedule, zone, _since(row), aware(row.starts or row.created), count, ends)


def _since(row: PeriodicTask) -> datetime:
    """Return the moment after which the first is looked for: a row may run at its very start."""
    now = clock.now()
    return now if row.starts is None else max(now, aware(row.starts) - timedelta(microseconds=1))


def away(moment: datetime) -> str:
    """Say how far away a moment is, in one unit: "in 8 h", "3 d ago"."""
    seconds = (moment - clock.now()).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if size >= 2 * length or (unit == "min" and size >= 60):
            text = f"{round(size / length)} {unit}"
            break
    else:
        text = f"{round(size)} s"
    return _("in %(time)s") % {"time": text} if seconds > 0 else _("%(time)s ago") % {"time": text}
