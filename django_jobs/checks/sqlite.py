"""How a database in a file is set up, for a project whose jobs or results live in it. Nothing here opens it."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, register
from django.core.checks import Warning as Caution
from django.db import connections

from django_jobs.checks.messages import TAG, databases_of_jobs, message

#: The modes in which a transaction takes the lock when it begins, not when it first writes.
LOCKING = ("IMMEDIATE", "EXCLUSIVE")


@register(TAG)
def check_transactions(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Say where requests can fail because a worker has written while they read (W028)."""
    return [
        message(
            Caution,
            "W028",
            f"DATABASES[{alias!r}] is SQLite with ATOMIC_REQUESTS, and workers write there: a request that reads and"
            " then writes can fail with 'database is locked'.",
            f"Set DATABASES[{alias!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE'}}.",
        )
        for alias in databases_of_jobs()
        if connections[alias].vendor == "sqlite" and _reads_before_it_locks(connections[alias].settings_dict)
    ]


def _reads_before_it_locks(database: dict[str, Any]) -> bool:
    mode = (database.get("OPTIONS") or {}).get("transaction_mode") or "DEFERRED"
    return bool(database.get("ATOMIC_REQUESTS")) and str(mode).upper() not in LOCKING
