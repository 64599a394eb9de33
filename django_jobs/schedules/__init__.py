"""
When things recur: crontabs, intervals, moments and the sun.

Pure, and the same code for what fires and for what is shown.
"""

from __future__ import annotations

from django_jobs.schedules.base import Schedule
from django_jobs.schedules.crontab import Crontab, crontab
from django_jobs.schedules.interval import Interval
from django_jobs.schedules.once import Once
from django_jobs.schedules.parsing import as_schedule, parse
from django_jobs.schedules.solar import Solar
from django_jobs.schedules.zones import zone_named

__all__ = ["Crontab", "Interval", "Once", "Schedule", "Solar", "as_schedule", "crontab", "parse", "zone_named"]
