"""
What is kept of workflows, whoever keeps it.

Everything is written in the transaction that records the end of a job, or sends a canvas, under the lock of the
workflow: of two processes that end two members of a group at the same moment one comes first, and the other sees that.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from django_jobs.canvas.expression import from_dict
from django_jobs.canvas.records import Barrier, Continuation, Join, Plan, Scope
from django_jobs.canvas.signature import Signature
from django_jobs.serializers import load_packed


class Head(NamedTuple):
    """A workflow."""

    id: str
    remaining: int
    failed: int = 0
    #: Must steps be looked at before they are opened? Some were revoked.
    is_touched: bool = False
    root_id: str | None = None
    parent_id: str | None = None
    #: What middleware has added to the headers of its first job.
    headers: Mapping[str, str] = MappingProxyType({})
    #: Was it revoked as a whole? Nothing starts any more.
    is_revoked: bool = False


class KeptStep(NamedTuple):
    """A step as it is kept."""

    id: str
    workflow_id: str
    task: str
    continuation: Continuation | None = None
    callbacks: tuple[Continuation, ...] = ()
    entry: str | None = None
    takes_value: bool = False
    scopes: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    opened_ms: int | None = None
    source: str | None = None
    cause: str | None = None
    #: The signature, as JSON.
    text: str = ""

    @property
    def signature(self) -> Signature:
        """The signature. Raises DecodeError."""
        made = from_dict(load_packed(self.text))
        assert isinstance(made, Signature)
        return made


class KeptBarrier(NamedTuple):
    """A barrier as it is kept, and what it knows."""

    barrier: Barrier
    reported: int = 0
    failed: int = 0
    cause: str | None = None
    resolved_ms: int | None = None


class Member(NamedTuple):
    """How a member of a barrier has ended: with the value of ``source``, or failed because of the step ``cause``."""

    barrier: str
    position: int
    source: str
    cause: str | None = None


@dataclass(slots=True)
class Changes:
    """What the ends of some jobs change in workflows."""

    members: list[Member] = field(default_factory=list)
    #: By id, as they are from now on.
    barriers: dict[str, KeptBarrier] = field(default_factory=dict)
    #: Steps whose jobs are sent: (id, source).
    opened: list[tuple[str, str | None]] = field(default_factory=list)
    #: Steps that will never run: (id, cause).
    ended: list[tuple[str, str]] = field(default_factory=list)
    #: Steps that were replaced: what was to follow them follows something else now.
    moved: list[str] = field(default_factory=list)
    #: By workflow: how many more steps there are to end, and how many have failed.
    remaining: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    def count(self, workflow_id: str, *, remaining: int = 0, failed: int = 0) -> None:
        """Note that so many steps more are to end, or have failed."""
        self.remaining[workflow_id] = self.remaining.get(workflow_id, 0) + remaining
        self.failed[workflow_id] = self.failed.get(workflow_id, 0) + failed


class BaseWorkflows(abc.ABC):
    """The contract. Ids that are not there are left out of what is returned."""

    def locked(self) -> BaseWorkflows:
        """
        Return the same as whoever holds the locks must read it: as it is now, in whatever transaction that is open.
        """
        return self

    @abc.abstractmethod
    def create(self, plan: Plan, *, name: str, root_id: str, parent_id: str | None, now_ms: int) -> None:
        """Keep a canvas that is sent."""

    @abc.abstractmethod
    def add_headers(self, workflow_id: str, headers: Mapping[str, str]) -> None:
        """Let all steps that are sent from now on carry these headers, unless they have others of that name."""

    @abc.abstractmethod
    def extend(self, plan: Plan) -> None:
        """Keep a plan whose workflow is there."""

    @abc.abstractmethod
    def lock(self, workflow_ids: Sequence[str]) -> dict[str, Head]:
        """Lock workflows until the transaction ends, and return them."""

    @abc.abstractmethod
    def touch(self, workflow_id: str, *, revoke: bool = False) -> None:
        """Note that steps of a workflow must be looked at before they are opened; ``revoke``: that none is any more."""

    @abc.abstractmethod
    def reopen(
        self, workflow_id: str, *, steps: Sequence[str], barriers: Sequence[KeptBarrier], remaining: int
    ) -> None:
        """
        Let steps that never ran wait again, and barriers that have failed or hold failures stand as is said here,
        without what was reported to them. ``remaining``: so many steps more are to end.
        """

    @abc.abstractmethod
    def revive(self, workflow_id: str) -> None:
        """Take back that a workflow was revoked."""

    @abc.abstractmethod
    def unfinished(self, *, before_ms: int, limit: int) -> list[str]:
        """Return the ids of workflows that were sent before a moment and have not finished, oldest first."""

    @abc.abstractmethod
    def open_steps(self, *, before_ms: int, limit: int) -> list[KeptStep]:
        """
        Return the steps of unfinished workflows that were sent before a moment and have no row, oldest first. Those
        that are known to have ended, by a report or by what follows them, may be left out.
        """

    @abc.abstractmethod
    def prune(self, *, limit: int) -> int:
        """Delete about ``limit`` rows of workflows whose time is over. Return how many; under the limit: all."""

    @abc.abstractmethod
    def head(self, workflow_id: str) -> Head | None:
        """Return a workflow, without a lock."""

    @abc.abstractmethod
    def steps(self, step_ids: Sequence[str], *, texts: bool = False) -> dict[str, KeptStep]:
        """Return steps; ``texts``: with their signatures."""

    @abc.abstractmethod
    def steps_of(self, workflow_id: str) -> list[KeptStep]:
        """Return all steps of a workflow, without their signatures, in the order of their ids."""

    @abc.abstractmethod
    def entering(self, barrier_id: str) -> list[KeptStep]:
        """Return the steps whose ``entry`` is this barrier, in the order of their ids, without their signatures."""

    @abc.abstractmethod
    def barriers(self, barrier_ids: Sequence[str]) -> dict[str, KeptBarrier]:
        """Return barriers."""

    @abc.abstractmethod
    def barriers_of(self, workflow_id: str) -> list[KeptBarrier]:
        """Return all barriers of a workflow."""

    @abc.abstractmethod
    def scopes(self, scope_ids: Sequence[str]) -> dict[str, Scope]:
        """Return scopes."""

    @abc.abstractmethod
    def reported(self, joins: Sequence[Join]) -> set[tuple[str, int]]:
        """Return (barrier, position) of those of these members that have reported."""

    @abc.abstractmethod
    def members(self, barrier_ids: Sequence[str]) -> dict[str, list[Member]]:
        """Return the members of barriers that have reported, in their order; each barrier is there, with or without."""

    @abc.abstractmethod
    def joining(self, barrier_ids: Sequence[str]) -> dict[str, list[tuple[str, bool]]]:
        """
        Return who is to report to barriers, in their order: ids, and whether each is a barrier itself. Each barrier is
        there, with or without.
        """

    @abc.abstractmethod
    def before(self, step_id: str) -> list[str]:
        """Return the ids of the steps and barriers that a step or barrier follows."""

    @abc.abstractmethod
    def note(self, changes: Changes, now_ms: int) -> None:
        """Keep what has changed, and which workflows have finished with it."""


def text_of(ids: Iterable[str]) -> str:
    """Return ids as one text."""
    return ",".join(ids)


def ids_in(text: str) -> tuple[str, ...]:
    """Return the ids in what ``text_of`` returned."""
    return tuple(text.split(",")) if text else ()


__all__ = [
    "BaseWorkflows", "Changes", "Head", "KeptBarrier", "KeptStep", "Member", "ids_in", "text_of",
]  # fmt: skip
