"""
What an execution says: one of these, and nothing else.

``execute`` returns a value; what is done about it (rows, acks, sending again) is the worker's business, or the testing
kit's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_jobs.canvas.expression import Expression


@dataclass(frozen=True, slots=True)
class Error:
    """An exception, in words that can be stored and shown."""

    #: Import path of its class.
    type: str
    #: Its message, cut to a storable length.
    text: str
    traceback: str
    #: One of the task's ``throws``: logged without a traceback.
    expected: bool = False


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function returned. ``result`` is its encoded value; None when results of this job are ignored."""

    result: bytes | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job has failed for good."""

    error: Error
    #: The raised exception, for signals and for the testing kit in the same process; never stored.
    exception: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Retried:
    """The attempt failed; there will be another one in ``delay`` seconds."""

    error: Error
    delay: float
    exception: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The task asked to be run again later, with no attempt counted."""

    delay: float


@dataclass(frozen=True, slots=True)
class Replaced:
    """The task asked that a canvas take its place."""

    expression: Expression
    #: Of the job. What takes its place carries them, too; within a workflow, those of that.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """The task said that it must fail at once."""

    error: Error


@dataclass(frozen=True, slots=True)
class Ignored:
    """The task asked that nothing be recorded."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """The job need not run any more: it expired, somebody revoked it, or what it was about is gone."""

    error: Error


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """This code cannot run the job (unknown task, newer message); another may: it goes back, until its time is over."""

    error: Error
    #: When the job was sent, where only the message's date could be read; None: unknown.
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The job ended like this, and that is recorded already, in the transaction of its body."""

    outcome: Succeeded | Ignored | Replaced


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another run of this job has ended first, or a newer one is under way: what this one has done was undone."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Nobody knows whether the transaction of the job was committed, or it could not begin: it goes back."""

    error: Error


Outcome = (
    Succeeded | Failed | Retried | Snoozed | Replaced | Rejected | Ignored | Revoked | Undeliverable
    | Recorded | Superseded | Unsettled
)  # fmt: skip


def plain(outcome: Outcome) -> Outcome:
    """Return how a job ended, whoever has recorded it."""
    return outcome.outcome if isinstance(outcome, Recorded) else outcome
