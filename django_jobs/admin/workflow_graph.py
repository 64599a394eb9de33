"""
A workflow as a graph: what there is to draw, and what follows what. Pure, like all that becomes of it until it is SVG.

A node stands for one step or barrier, or for many that are alike (see ``workflow_merging``), or for a part of a chain
that is not shown (``workflow_folding``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from django_jobs.admin.workflow_records import (
    FAILURE_OF,
    FAN_OUT,
    NEVER_RAN,
    SENT,
    BarrierRow,
    CrowdRow,
    Records,
    StepRow,
    places,
)
from django_jobs.states import State


class Kind(Enum):
    """What a node stands for."""

    STEP = "step"
    BARRIER = "barrier"
    #: Steps that are not shown one by one.
    FOLD = "fold"
    #: Members of a barrier that were not read.
    HIDDEN = "hidden"


class Follows(Enum):
    """How something follows another."""

    THEN = "then"
    FAN_OUT = "fan"
    JOIN = "join"
    CALLBACK = "callback"
    ERROR = "error"


#: The worst first: what a node shows of many states, and in this order.
URGENCY = (
    State.FAILURE.value, State.RETRY.value, NEVER_RAN, State.REVOKED.value, State.STARTED.value, SENT,
    State.PENDING.value, State.SCHEDULED.value, State.BLOCKED.value, State.SUCCESS.value,
)  # fmt: skip
_ORDER = {state: n for n, state in enumerate(URGENCY)}


class Edge(NamedTuple):
    """What follows what."""

    source: str
    target: str
    follows: Follows


@dataclass(slots=True, kw_only=True)
class Node:
    """Something to draw."""

    id: str
    kind: Kind = Kind.STEP
    task: str = ""
    #: How many steps it stands for in each state; of barriers: blocked, succeeded, failed, or never ran.
    counts: Counter[str] = field(default_factory=Counter)
    #: How many steps or barriers it stands for.
    number: int = 1
    attempts: int = 0
    started: datetime | None = None
    finished: datetime | None = None
    #: Has the job of the one step left a row?
    has_row: bool = False
    #: What it is beside the work itself: Follows.CALLBACK or Follows.ERROR.
    role: Follows | None = None
    #: Of barriers.
    size: int = 0
    reported: int = 0
    failed: int = 0
    rule: tuple[bool, int] = (False, 0)

    @property
    def states(self) -> list[tuple[str, int]]:
        """How many there are in each state, the most urgent first; a state that a task invented counts as running."""
        return sorted(self.counts.items(), key=lambda pair: (_ORDER.get(pair[0], _ORDER[State.STARTED]), pair[0]))

    @property
    def state(self) -> str:
        """The most urgent state."""
        return self.states[0][0] if self.counts else ""

    @property
    def urgency(self) -> int:
        """Where its state stands among all: 0 is the most urgent."""
        return _ORDER.get(self.state, _ORDER[State.STARTED])

    @property
    def duration(self) -> timedelta | None:
        """How long it took, from the first start to the last end."""
        return self.finished - self.started if self.started is not None and self.finished is not None else None

    def take(self, other: Node) -> None:
        """Stand for another one, too. What stands for parts of a workflow counts their steps."""
        if self.kind is not Kind.BARRIER and other.kind is Kind.BARRIER:
            return
        self.counts += other.counts
        self.number += other.number
        self.attempts = max(self.attempts, other.attempts)
        self.started = min((one for one in (self.started, other.started) if one is not None), default=None)
        self.finished = max((one for one in (self.finished, other.finished) if one is not None), default=None)
        self.size += other.size
        self.reported += other.reported
        self.failed += other.failed


class Graph:
    """Nodes, and how they follow one another, as the rows say it: what enters a barrier, and what goes on from it."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        #: By barrier: what reports to it, in the order of the positions.
        self.members: dict[str, list[str]] = {}
        #: By barrier: what starts with it; and what its members follow, if anything.
        self.entries: dict[str, list[str]] = {}
        self.opener: dict[str, str] = {}
        #: By node: what is directly before it in a chain.
        self.before: dict[str, list[str]] = {}
        #: By node: what was started beside what follows it, and how.
        self.aside: dict[str, list[Edge]] = {}

    def previous(self, node_id: str) -> list[str]:
        """Return what a node follows as part of the same expression."""
        opener = [self.opener[node_id]] if node_id in self.opener else []
        return [*self.members.get(node_id, ()), *self.before.get(node_id, ()), *opener]

    def edges(self) -> list[Edge]:
        """Return all that follows something, as it is drawn."""
        found = [Edge(one, barrier, Follows.JOIN) for barrier, members in self.members.items() for one in members]
        found += [
            Edge(opener, one, Follows.FAN_OUT)
            for barrier, opener in self.opener.items()
            for one in self.entries.get(barrier) or [barrier]
        ]
        found += [Edge(one, node, Follows.THEN) for node, before in self.before.items() for one in before]
        found += [edge for edges in self.aside.values() for edge in edges]
        known = self.nodes.keys()
        drawn = (edge for edge in found if edge.source in known and edge.target in known)
        return list(dict.fromkeys(edge for edge in drawn if edge.source != edge.target))


def graph_of(records: Records) -> Graph:
    """Return the graph of what was read."""
    graph = Graph()
    for step in records.steps:
        graph.nodes[step.id] = _step_node(step)
    for barrier in records.barriers:
        graph.nodes[barrier.id] = _barrier_node(barrier)
    joins: dict[str, list[tuple[int, str]]] = {}
    rows: list[StepRow | BarrierRow] = [*records.steps, *records.barriers]
    for row in rows:
        for target, position, is_callback in places(row):
            if position is not None and position >= 0:
                joins.setdefault(target, []).append((position, row.id))
            elif is_callback:
                graph.aside.setdefault(row.id, []).append(Edge(row.id, target, Follows.CALLBACK))
            elif position == FAN_OUT:
                graph.opener[target] = row.id
            else:
                graph.before.setdefault(target, []).append(row.id)
    graph.members = {barrier: [one for _, one in sorted(found)] for barrier, found in joins.items()}
    for step in records.steps:
        if step.entry is not None:
            graph.entries.setdefault(step.entry, []).append(step.id)
    _add_crowds(graph, records.crowds)
    _open_callbacks(graph)
    callbacks = [(row.id, row.source) for row in records.steps if row.is_error_callback]
    callbacks += [(_id_of(n), crowd.source) for n, crowd in enumerate(records.crowds) if crowd.source]
    _connect_failures(graph, callbacks, records.inside)
    _connect_replaced(graph, records.steps)
    if records.left_out:
        _add_hidden(graph, records.barriers)
    _spread_roles(graph)
    return graph


def _step_node(row: StepRow) -> Node:
    ran = row.started is not None
    return Node(
        id=row.id,
        task=row.task,
        counts=Counter({row.shown_state: 1}),
        attempts=row.retries + 1 if ran else 0,
        started=row.started,
        finished=row.finished if ran else None,
        has_row=row.state is not None,
    )


def _barrier_node(row: BarrierRow) -> Node:
    return Node(
        id=row.id,
        kind=Kind.BARRIER,
        counts=Counter({_state_of(row): 1}),
        size=row.size,
        reported=row.reported,
        failed=row.failed,
        rule=(row.waits, row.allow_failures),
    )


def _state_of(row: BarrierRow) -> str:
    if row.resolved is None:
        return State.BLOCKED.value
    if row.cause is None:
        return State.SUCCESS.value
    return State.FAILURE.value if row.failed > row.allow_failures else NEVER_RAN


def _id_of(crowd: int) -> str:
    return f"crowd-{crowd}"


def _add_crowds(graph: Graph, crowds: Iterable[CrowdRow]) -> None:
    for number, crowd in enumerate(crowds):
        one = _id_of(number)
        graph.nodes[one] = Node(
            id=one,
            task=crowd.task,
            counts=Counter(crowd.counts),
            number=sum(crowd.counts.values()),
            started=crowd.started,
            finished=crowd.finished,
        )
        if crowd.target is not None:
            graph.members.setdefault(crowd.target, []).append(one)
        if crowd.entry is not None:
            graph.entries.setdefault(crowd.entry, []).append(one)


def _add_hidden(graph: Graph, barriers: Iterable[BarrierRow]) -> None:
    """Let a node stand for the members of each barrier that were not read."""
    for barrier in barriers:
        known = sum(graph.nodes[one].number for one in graph.members.get(barrier.id, ()))
        if known < barrier.size:
            one = f"hidden-{barrier.id}"
            graph.nodes[one] = Node(id=one, kind=Kind.HIDDEN, number=barrier.size - known)
            graph.members.setdefault(barrier.id, []).append(one)
            graph.entries.setdefault(barrier.id, []).append(one)


def _open_callbacks(graph: Graph) -> None:
    """Lead a callback that is a group to its members."""
    for one, edges in graph.aside.items():
        opened = [(edge, graph.entries.get(edge.target) or [edge.target]) for edge in edges]
        graph.aside[one] = [edge._replace(target=target) for edge, targets in opened for target in targets]


def _connect_failures(graph: Graph, callbacks: Iterable[tuple[str, str]], inside: Mapping[str, int]) -> None:
    """Let error callbacks follow what has failed, or the crowd that it is in."""
    for one, source in callbacks:
        failed = source.removeprefix(FAILURE_OF)
        if failed in inside:
            failed = _id_of(inside[failed])
        graph.aside.setdefault(failed, []).append(Edge(failed, one, Follows.ERROR))
        graph.nodes[one].role = Follows.ERROR


def _connect_replaced(graph: Graph, steps: Iterable[StepRow]) -> None:
    """Let the beginning of a canvas follow the step whose place it has taken."""
    for row in steps:
        if row.replaced_by is None or row.replaced_by == row.id or row.replaced_by not in graph.nodes:
            continue
        for first in _beginnings(graph, row.replaced_by):
            if first != row.id:
                graph.before.setdefault(first, []).append(row.id)


def _beginnings(graph: Graph, end: str) -> list[str]:
    seen, todo, found = {end}, [end], []
    while todo:
        one = todo.pop()
        previous = [other for other in graph.previous(one) if other in graph.nodes]
        if not previous:
            found.append(one)
        todo += [other for other in previous if other not in seen]
        seen.update(previous)
    return found


def _spread_roles(graph: Graph) -> None:
    """Say of all that follows a callback that it is one."""
    after: dict[str, list[str]] = {}
    for edge in graph.edges():
        after.setdefault(edge.source, []).append(edge.target)
        if edge.follows is Follows.CALLBACK:
            graph.nodes[edge.target].role = Follows.CALLBACK
    todo = [node.id for node in graph.nodes.values() if node.role is not None]
    while todo:
        one = todo.pop()
        for other in after.get(one, ()):
            if graph.nodes[other].role is None:
                graph.nodes[other].role = graph.nodes[one].role
                todo.append(other)
