"""What comes before the first tick of beat, whichever command runs it."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandError
from django.db import Error, connections

from django_jobs import dispatch, transactions
from django_jobs.beat import rows
from django_jobs.beat.sync import Change, sync
from django_jobs.conf import settings
from django_jobs.management.service import UNREACHABLE
from django_jobs.models import PeriodicTask

#: So many changes are shown one by one.
MOST_SHOWN = 10


def prepare_beat(*, follow_code: bool = True) -> list[Change]:
    """
    See that periodic tasks can be fired from here, and have them follow the code. Hold no connection afterwards.

    Return what that has changed. Raises JobsConfigurationError; CommandError when the database cannot be used.
    """
    alias = settings.database
    dispatch.uses_outbox(alias, insists=True)
    try:
        rows.look(alias)
        return sync() if follow_code else []
    except Error as error:
        if transactions.is_missing_table(error):
            said = (
                f"The tables of the periodic tasks are missing in the database {alias!r}, or are not up to date: run"
                f" {transactions.how_to_migrate(alias)}. ({error})"
            )
        else:
            said = f"The database {alias!r}, which has the periodic tasks, cannot be used: {error}"
        raise CommandError(" ".join(said.split()), returncode=UNREACHABLE) from error
    finally:
        connections.close_all()


def counted() -> str:
    """Say how many periodic tasks there are. Hold no connection afterwards."""
    rows = PeriodicTask.objects.using(settings.database)
    try:
        total, enabled = rows.count(), rows.filter(enabled=True).count()
    finally:
        connections.close_all()
    return f"{total} periodic, {enabled} of them enabled, in the database {settings.database!r}"


def schedule_lines(changes: Sequence[Change]) -> list[str]:
    """Say on the start screen what following the code has changed."""
    shown = [str(change) for change in changes[:MOST_SHOWN]]
    if len(changes) > MOST_SHOWN:
        shown.append(f"and {len(changes) - MOST_SHOWN} more: manage.py jobs schedule sync --dry-run")
    return [f"  {'schedule' if not number else '':<8}  {line}" for number, line in enumerate(shown or ["as declared"])]
