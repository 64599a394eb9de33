"""What is said when moments have come: signals for the project, log lines for the operator."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta, tzinfo

from django.utils import timezone

from django_jobs import signals
from django_jobs.beat import rows
from django_jobs.exceptions import InvalidSchedule
from django_jobs.models.periodic import Outcome, PeriodicRun
from django_jobs.registry import registry
from django_jobs.schedules import zone_named

logger = logging.getLogger("django_jobs.beat")

#: That beat is late is said in the log this often at most; after a downtime thousands of runs are late at once.
LATE_PAUSE_SECONDS = 60.0

_LEVELS = {
    Outcome.SENT: logging.INFO,
    Outcome.SKIPPED: logging.INFO,
    Outcome.MISSED: logging.WARNING,
    Outcome.REFUSED: logging.ERROR,
}


class _Lateness:
    """Says that beat is late: the worst since it was said last."""

    def __init__(self) -> None:
        self._silent_until = 0.0
        self._count = 0
        self._worst: PeriodicRun | None = None

    def add(self, runs: Sequence[PeriodicRun]) -> None:
        """Note runs that were late, and say so when it is time."""
        self._count += len(runs)
        self._worst = max([*runs, *([self._worst] if self._worst else [])], key=lambda run: run.lateness)
        if time.monotonic() < self._silent_until:
            return
        logger.warning(
            "Beat is late: %d runs, the worst of them that of %r, which was due at %s, %.1f s before",
            self._count,
            self._worst.periodic_task.name,
            _due(self._worst),
            self._worst.lateness.total_seconds(),
        )
        self._silent_until = time.monotonic() + LATE_PAUSE_SECONDS
        self._count, self._worst = 0, None


_lateness = _Lateness()


def announce(runs: Sequence[PeriodicRun], late: timedelta) -> None:
    """Say what became of moments, after the commit. What is later than ``late`` is late."""
    for run in runs:
        _log(run)
        row = run.periodic_task
        signals.send(signals.periodic_task_fired, registry.get(row.task), periodic_task=row, run=run)
    too_late = [run for run in runs if run.lateness > late]
    for run in too_late:
        row = run.periodic_task
        signals.send(signals.beat_late, registry.get(row.task), periodic_task=row, due=run.due, lateness=run.lateness)
    if too_late:
        _lateness.add(too_late)


def _log(run: PeriodicRun) -> None:
    outcome = Outcome(run.outcome)
    level = _LEVELS[outcome]
    if not logger.isEnabledFor(level):
        return
    others = f", and {run.missed} before it" if run.missed else ""
    how = f": {run.detail}" if run.detail else ""
    logger.log(
        level,
        "%s, due at %s%s: %s%s%s",
        run.periodic_task.name,
        _due(run),
        others,
        outcome.value,
        f" as {run.job_id}, {run.lateness.total_seconds():.3f} s late" if outcome is Outcome.SENT else "",
        how,
    )


def _due(run: PeriodicRun) -> str:
    """Write the moment of a run on the clock of its periodic task, with the offset."""
    try:
        zone: tzinfo = zone_named(run.periodic_task.timezone)
    except InvalidSchedule:
        zone = timezone.get_default_timezone()
    return rows.aware(run.due).astimezone(zone).isoformat(sep=" ", timespec="seconds")
