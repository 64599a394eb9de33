"""The states of a job as users see them, and its places as a broker sees them."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class State(TextChoices):
    """
    How a job stands. A task may add states of its own through ``update_state``; they count as running.

    UNKNOWN is never stored: it is the answer for an id that neither the broker nor the database knows.
    """

    PENDING = "PENDING", _("waiting in its queue")
    SCHEDULED = "SCHEDULED", _("waiting for its moment")
    BLOCKED = "BLOCKED", _("waiting for a limit or a step before it")
    STARTED = "STARTED", _("running")
    RETRY = "RETRY", _("failed, will run again")
    SUCCESS = "SUCCESS", _("succeeded")
    FAILURE = "FAILURE", _("failed")
    REVOKED = "REVOKED", _("revoked or expired")
    UNKNOWN = "UNKNOWN", _("not known")


#: A job in one of these never runs again, unless somebody asks for it.
TERMINAL_STATES = frozenset({State.SUCCESS.value, State.FAILURE.value, State.REVOKED.value})


class Place(StrEnum):
    """Where a broker holds a job: in exactly one of these."""

    READY = "ready"
    SCHEDULED = "scheduled"
    IN_FLIGHT = "in_flight"
    DEAD = "dead"
