"""What of a workflow its graph is drawn from: rows as they were read, of single steps or of a crowd of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from django_jobs.states import State

#: Shown of steps beside the states of jobs: sent, and nothing recorded of it yet; and kept from running by a failure.
SENT, NEVER_RAN = "SENT", "NEVER_RAN"
#: Begins the source of an error callback: what follows is the id of the step or barrier that has failed.
FAILURE_OF = "!"
#: The position of what starts all that enters a barrier.
FAN_OUT = -1


class StepRow(NamedTuple):
    """A step, and what the row of its job says."""

    id: str
    task: str
    target: str | None = None
    position: int | None = None
    callbacks: str = ""
    entry: str | None = None
    source: str = ""
    cause: str | None = None
    #: When its job was sent, in ms since the epoch.
    opened: int | None = None
    #: Of the row of its job; None: there is none.
    state: str | None = None
    retries: int = 0
    started: datetime | None = None
    finished: datetime | None = None
    exception_type: str = ""
    #: The step or barrier that has its value, if another canvas took its place.
    replaced_by: str | None = None

    @property
    def shown_state(self) -> str:
        """Its state, and what else may be said of a step."""
        return shown_state(self.state, was_sent=self.opened is not None, never_ran=self.cause not in (None, self.id))

    @property
    def is_error_callback(self) -> bool:
        """Whether it was started because something failed."""
        return self.source.startswith(FAILURE_OF)


class BarrierRow(NamedTuple):
    """A barrier."""

    id: str
    target: str | None = None
    position: int | None = None
    callbacks: str = ""
    size: int = 0
    reported: int = 0
    failed: int = 0
    waits: bool = False
    allow_failures: int = 0
    resolved: int | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdRow:
    """Many steps of one task that do the same in one place, counted by the database."""

    task: str
    #: The barrier that they report to; None: error callbacks.
    target: str | None = None
    entry: str | None = None
    #: Of error callbacks: the source of one of them.
    source: str = ""
    #: How many there are in each state, as it is shown.
    counts: Mapping[str, int] = field(default_factory=dict)
    started: datetime | None = None
    finished: datetime | None = None


class Records(NamedTuple):
    """All that is drawn of a workflow."""

    steps: list[StepRow]
    barriers: list[BarrierRow]
    crowds: list[CrowdRow]
    #: By the id of a step that is in a crowd, and whose failure was followed by a callback: the number of the crowd.
    inside: Mapping[str, int] = MappingProxyType({})
    #: How many steps were left out, because there are too many.
    left_out: int = 0


def shown_state(state: str | None, *, was_sent: bool, never_ran: bool) -> str:
    """Return what is shown of a step as its state."""
    if state is None:
        return SENT if was_sent else State.BLOCKED.value
    return NEVER_RAN if never_ran and state == State.REVOKED else state


def places(row: StepRow | BarrierRow) -> Iterable[tuple[str, int | None, bool]]:
    """Return what follows: target, position, and whether as a callback."""
    if row.target is not None and not (isinstance(row, StepRow) and row.replaced_by):
        yield row.target, row.position, False
    if row.callbacks and not (isinstance(row, StepRow) and row.replaced_by):
        found: list[tuple[Any, Any]] = json.loads(row.callbacks)
        yield from ((target, position, True) for target, position in found)
