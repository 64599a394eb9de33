"""Periodic tasks as the entries of ``DJANGO_JOBS["SCHEDULE"]``: to move them into code, or to another project."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django_jobs.beat.declared import of_row
from django_jobs.conf import SCHEDULE_KEYS
from django_jobs.models import PeriodicTask

#: Columns that are JSON in a row, and values in an entry.
JSON_COLUMNS = ("args", "kwargs", "headers")


def entries_of(rows: Iterable[PeriodicTask]) -> dict[str, dict[str, Any]]:
    """Return name to entry. What has its default is left out, so that the entry says what somebody would write."""
    return {row.name: _entry(row) for row in rows}


def _entry(row: PeriodicTask) -> dict[str, Any]:
    said = {name: _value(name, value) for name, value in of_row(row).items()}
    needed = ("task", "schedule")
    return {name: value for name, value in said.items() if name in needed or not _is_default(name, value)}


def _value(name: str, value: Any) -> Any:
    if name not in JSON_COLUMNS:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value  # somebody has written nonsense into the row: it is shown, not lost


def _is_default(name: str, value: Any) -> bool:
    default = SCHEDULE_KEYS[name].default
    return bool(value == (list(default) if isinstance(default, tuple) else default))
