"""The verbs about what a broker can lose without saying so: jobs that it has taken, and ends that it was told of."""

from __future__ import annotations

from typing import Protocol

from django_jobs import clock


class Located(Protocol):
    """A broker, as far as it can be told from others."""

    prefix: str

    def describe(self) -> str:
        """Name it for an operator."""


def identity_of(broker: Located) -> str:
    """Return what a broker is remembered by: where it is, and whose jobs it holds there."""
    return f"{broker.describe()} {broker.prefix}"


class ContinuityVerbs:
    """What those who keep a copy of the jobs, or a record of their ends, ask a broker. A broker may have no answer."""

    #: Rises whenever this instance has opened a connection: until ``continuity`` is asked anew, whoever is at its other
    #: end may be somebody else, or without a memory.
    connects: int = 0

    def continuity(self) -> str:
        """
        Return an opaque text that is the same for as long as the broker cannot have lost what it acknowledged, for
        every instance on the same data. Empty: it loses nothing that was committed.
        """
        return ""

    def now_ms(self) -> int:
        """Return the broker's clock, the one that the moments of jobs are of."""
        return clock.now_ms()
