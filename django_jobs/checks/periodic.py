"""
What is wrong with periodic tasks: with what code declares, and, with ``--deploy``, with the rows.

Checks are registered before there are models, so what knows these is found by its path when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution
from django.db import DatabaseError, InterfaceError, connections, transaction
from django.utils.module_loading import import_string

from django_jobs.checks.deploy import LOOKS
from django_jobs.checks.messages import TAG, first_line, is_not_made_yet, message, readable
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.transactions import how_to_migrate, is_missing_table

MISTAKES = "django_jobs.beat.declared.mistakes"
EXAMINE = "django_jobs.beat.examination.examine"
#: By ``Trouble``.
NUMBERS: Mapping[str, str] = {
    "overdue": "W032",
    "unknown task": "W033",
    "unsynced": "W034",
    "unusable": "W035",
    "taken": "W036",
    "refused": "W037",
    "over": "W038",
    "damaged": "W039",
}


@register(TAG)
def check_declarations(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name what is wrong with ``SCHEDULE`` and with ``@job(schedule=...)`` (E017)."""
    try:
        return [message(Error, "E017", mistake) for mistake in import_string(MISTAKES)()]
    except JobsConfigurationError:
        return []  # E002 says it


@register(TAG, deploy=True)
def check_periodic_tasks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Say why periodic tasks do not run (W031 to W039)."""
    alias = readable("DATABASE")
    if alias not in connections.settings or is_not_made_yet(connections[alias]):
        return []  # E002 or E005 says it, or there is nothing to look at
    try:
        with transaction.atomic(alias):  # an error must not spoil a transaction that may be open
            found = import_string(EXAMINE)()
        return [message(Caution, NUMBERS[one.trouble], one.text, one.hint) for one in found]
    except (DatabaseError, InterfaceError) as error:
        missing = is_missing_table(error)
        if not missing and connections[alias].vendor in LOOKS:
            return []  # who asks how it is used says that it cannot be asked
        hint = f"Run {how_to_migrate(alias)}." if missing else None
        text = f"DATABASES[{alias!r}] cannot be asked about periodic tasks: {first_line(error)}"
        return [message(Caution, "W031", text, hint)]
