"""What a broker says about the service it stands on: not what is broken, but what will cost jobs one day."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


class Danger(StrEnum):
    """The kinds there are."""

    #: The service may throw jobs away when its memory is full.
    EVICTION = "eviction"
    #: The service writes nothing to disk.
    NO_PERSISTENCE = "no persistence"
    #: What the service writes to disk is minutes old.
    OLD_PERSISTENCE = "old persistence"
    #: Jobs and passwords can be read on their way.
    PLAIN_TEXT = "plain text"
    #: Somebody else may empty what the jobs are kept in.
    SHARED = "shared"
    #: Something could not be looked at.
    UNSEEN = "unseen"
    #: The service cannot be reached, or refuses.
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """One danger, in a sentence for an operator, and what to do about it."""

    danger: Danger
    text: str
    hint: str = ""


@runtime_checkable
class Examined(Protocol):
    """A broker that looks at its service."""

    def hazards(self) -> list[Hazard]:
        """Ask the service how it is set up. One that cannot be reached is a hazard, too, and raises nothing."""


def hazards_of(broker: object) -> list[Hazard]:
    """Return what a broker says of its service; nothing where it does not look."""
    return broker.hazards() if isinstance(broker, Examined) else []
