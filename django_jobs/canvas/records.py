"""
A canvas as records: steps, barriers, and what follows each.

There are two ways to go on, ``Then`` and ``Join``, and every nesting is made of them. A chain is steps that open one
another. A group is a barrier: its members join it, and with the last of them it opens what follows. A chord is a group
that something follows. Nothing here knows of brokers or tables, and nothing but the id of a step has to travel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from django_jobs.canvas.composition import OnMemberFailure
from django_jobs.canvas.expression import Expression, from_dict
from django_jobs.canvas.signature import Signature


@dataclass(frozen=True, slots=True)
class Then:
    """Run a step with the value; or, with ``fan_out``, all steps that enter a barrier."""

    target: str
    fan_out: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Report the value to a barrier, as that of the member with this index."""

    barrier: str
    index: int


Continuation = Then | Join


class Opener(Protocol):
    """What of a step is needed to say what follows it."""

    @property
    def id(self) -> str: ...
    @property
    def continuation(self) -> Continuation | None: ...
    @property
    def callbacks(self) -> tuple[Continuation, ...]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...


class Step(NamedTuple):
    """A job of a canvas. A tuple, because a group may have a hundred thousand."""

    #: The id of its job, too.
    id: str
    workflow_id: str
    #: Without callbacks, and without what it gets from what comes before it.
    signature: Signature
    #: What follows; None: nothing does.
    continuation: Continuation | None = None
    #: What else is to be done with its value: callbacks run by themselves, nothing waits for them.
    callbacks: tuple[Continuation, ...] = ()
    #: The barrier whose fan-out starts it; None: it is started by its own id.
    entry: str | None = None
    #: Does it get the value of what comes before it, as its first argument?
    takes_value: bool = False
    #: Whose errbacks run when it fails, outermost first.
    scopes: tuple[str, ...] = ()
    #: Whose errbacks run when a barrier in its place fails: those of what would have followed.
    leads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """What the members of a group report to. Its value is the list of theirs."""

    #: The id of the group, too.
    id: str
    workflow_id: str
    size: int
    continuation: Continuation | None = None
    callbacks: tuple[Continuation, ...] = ()
    on_member_failure: OnMemberFailure = "fail_fast"
    allow_failures: int = 0
    #: Whose errbacks run when it fails: those of what would have followed. Without that, those of the members say all.
    scopes: tuple[str, ...] = ()


#: Of a task whose signature cannot be read.
UNREADABLE = "(unreadable)"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptErrback:
    """
    An error callback as it is kept, which becomes an expression when it is called, and not before: what is in it may be
    gone by then, and a failure has its other consequences all the same.
    """

    #: What ``to_dict`` returned; or anything else, of other code.
    data: Any

    def __hash__(self) -> int:
        return hash(json.dumps(self.data, sort_keys=True))

    @property
    def task(self) -> str:
        """The name of its task, as far as it can be told."""
        name = self.data.get("task") if isinstance(self.data, Mapping) else None
        return name if isinstance(name, str) and name else UNREADABLE

    def expression(self) -> Expression:
        """Make the expression. Raises what making the values in it raises."""
        return from_dict(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The error callbacks of an expression, shared by all steps in it. None of them is empty."""

    id: str
    workflow_id: str
    errbacks: tuple[Expression | KeptErrback, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A canvas as records."""

    workflow_id: str
    steps: tuple[Step, ...] = ()
    barriers: tuple[Barrier, ...] = ()
    scopes: tuple[Scope, ...] = ()
    #: The steps that nothing comes before.
    roots: tuple[str, ...] = ()
    #: The step or barrier whose value is that of the canvas; None: there was nothing to plan.
    result: str | None = None
