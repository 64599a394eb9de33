"""How a check says something, and reads a setting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobs.brokers import get_broker
from django_jobs.brokers.base import BaseBroker
from django_jobs.conf import SETTING, settings
from django_jobs.exceptions import JobsConfigurationError

TAG = "django_jobs"


def message(kind: Callable[..., CheckMessage], number: str, text: str, hint: str | None = None) -> CheckMessage:
    """Make a message about ``DJANGO_JOBS``."""
    return kind(text, hint=hint, obj=SETTING, id=f"{TAG}.{number}")


def readable(name: str) -> Any:
    """Return a setting, or None where it is of the wrong kind: that is said once, by ``check_settings``."""
    try:
        return settings.top[name]
    except JobsConfigurationError:
        return None


def usable_broker() -> BaseBroker | None:
    """Return the project's broker; None where none can be made: that is said once, by ``check_broker``."""
    try:
        return get_broker()
    except Exception:  # noqa: BLE001 - a broker of one's own may raise anything
        return None


def first_line(error: Exception) -> str:
    """Return what an error says, without what the driver adds."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_not_made_yet(connection: BaseDatabaseWrapper) -> bool:
    """Say whether this is SQLite, in memory or in a file that is not there: looking would make it."""
    return connection.vendor == "sqlite" and not Path(str(connection.settings_dict["NAME"])).is_file()


def databases_of_jobs() -> list[str]:
    """Return the aliases that jobs or our tables live on, as far as ``DATABASES`` has them."""
    broker, ours = usable_broker(), readable("DATABASE")
    return [alias for alias in connections if alias == ours or (broker is not None and broker.joins_transaction(alias))]
