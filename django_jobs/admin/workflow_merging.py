"""
Nodes that are alike become one: the members of a group, when there are many, with all that is in them.

Members are alike when they are made alike, of the same tasks in the same order, however they have ended. So a group of
500 chains is drawn as one chain, each of whose nodes says how many steps it stands for, and how these stand.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from typing import Any

from django_jobs.admin.workflow_graph import Edge, Follows, Graph, Kind, Node

#: Callbacks that are longer are not compared to their ends.
_LONGEST, _DEEPEST = 100, 20

#: The nodes of a callback, and what makes it like another one.
Line = tuple[list[str], tuple[Any, ...]]


class Merging:
    """A graph, and which node stands for which."""

    def __init__(self, graph: Graph, most: int) -> None:
        """``most``: how many members of one barrier that are alike stay apart."""
        self.graph = graph
        self.most = most
        self._stand_in: dict[str, str] = {}
        self._then = {previous: one for one, before in graph.before.items() for previous in before}
        self._leads = {one: barrier for barrier, members in graph.members.items() for one in members}
        self._leads |= {one: barrier for barrier, one in graph.opener.items()}
        self._lines: dict[str, Line] = {}
        self._order = self._in_order()
        self._shapes = self._shapes_of_all()

    def drawn(self) -> tuple[dict[str, Node], list[Edge]]:
        """Return the nodes that are left, each with what it stands for, and their edges."""
        for barrier in reversed(self._order):  # what is around comes before what is in it
            if barrier in self.graph.members and barrier not in self._stand_in:
                self._merge_members(barrier)
        self._merge_callbacks()
        nodes = {one: _copy(node) for one, node in self.graph.nodes.items() if one not in self._stand_in}
        for one in self._stand_in:
            nodes[self._find(one)].take(self.graph.nodes[one])
        edges = dict.fromkeys(
            edge._replace(source=self._find(edge.source), target=self._find(edge.target)) for edge in self.graph.edges()
        )
        return nodes, [edge for edge in edges if edge.source != edge.target]

    def _find(self, node_id: str) -> str:
        while node_id in self._stand_in:
            node_id = self._stand_in[node_id]
        return node_id

    def _in_order(self) -> list[str]:
        """Return all nodes, each after what it follows."""
        after: dict[str, list[str]] = {}
        waiting: Counter[str] = Counter()
        for one in self.graph.nodes:
            for previous in self._previous(one):
                after.setdefault(previous, []).append(one)
                waiting[one] += 1
        todo = deque(one for one in self.graph.nodes if not waiting[one])
        found: list[str] = []
        while todo:
            one = todo.popleft()
            found.append(one)
            for other in after.get(one, ()):
                waiting[other] -= 1
                if not waiting[other]:
                    todo.append(other)
        return found

    def _previous(self, one: str) -> list[str]:
        return [other for other in self.graph.previous(one) if other in self.graph.nodes]

    def _shapes_of_all(self) -> dict[str, int]:
        """Number nodes by what they are and what is before them in the same expression: alike, the same number."""
        known: dict[Hashable, int] = {}
        shapes: dict[str, int] = {}
        for one in self._order:
            node = self.graph.nodes[one]
            before: Counter[int] = Counter()
            for other in self._previous(one):
                before[shapes[other]] += self.graph.nodes[other].number
            callbacks = [self._line(edge.target)[1] for edge in self._callbacks(one)]
            what = (node.kind, node.task, tuple(sorted(callbacks)), frozenset(before.items()))
            shapes[one] = known.setdefault(what, len(known))
        return shapes

    def _callbacks(self, one: str) -> list[Edge]:
        return [edge for edge in self.graph.aside.get(one, ()) if edge.follows is Follows.CALLBACK]

    def _line(self, first: str, depth: int = 0) -> Line:
        """Return the callback that begins here: its nodes, and what another one has to be to be like it."""
        if first not in self._lines:
            line = [first]
            while (following := self._then.get(line[-1])) in self.graph.nodes and len(line) < _LONGEST:
                line.append(str(following))
            like = tuple(self._like(one, depth) for one in line)
            self._lines[first] = line, (*like, (self._leads.get(line[-1], ""), ()))
        return self._lines[first]

    def _like(self, one: str, depth: int) -> tuple[str, tuple[Any, ...]]:
        if one not in self.graph.nodes or depth > _DEEPEST:
            return one, ()
        callbacks = (self._line(edge.target, depth + 1)[1] for edge in self._callbacks(one))
        return self.graph.nodes[one].task, tuple(sorted(callbacks))

    # Members

    def _merge_members(self, barrier: str) -> None:
        alike: dict[int, list[str]] = {}
        for one in self.graph.members[barrier]:
            if one in self._shapes and one not in self._stand_in:
                alike.setdefault(self._shapes[one], []).append(one)
        for members in alike.values():
            if sum(self.graph.nodes[one].number for one in members) > self.most:
                for other in members[1:]:
                    self._let_stand(members[0], other)
        rest = [members for members in alike.values() if len(members) <= self.most]
        self._fold_unlike(barrier, [one for members in rest for one in members if one not in self._stand_in])

    def _let_stand(self, one: str, other: str) -> None:
        """Let a member, and all that is in it, stand for another one that is like it."""
        todo = [(one, other)]
        while todo:
            kept, gone = todo.pop()
            if kept == gone or gone in self._stand_in or gone not in self.graph.nodes:
                continue
            self._stand_in[gone] = kept
            todo += self._pairs_before(kept, gone)
            for mine, its in zip(self._sorted_callbacks(kept), self._sorted_callbacks(gone), strict=True):
                todo += zip(mine, its, strict=True)

    def _pairs_before(self, kept: str, gone: str) -> Iterator[tuple[str, str]]:
        """Pair what is directly before two that are alike."""
        mine, its = self._previous_by_shape(kept), self._previous_by_shape(gone)
        for shape, others in its.items():
            if len(others) == len(mine[shape]):
                yield from zip(mine[shape], others, strict=True)
            else:  # one of them was counted by the database: it becomes one node in any case
                yield from ((mine[shape][0], other) for other in others)

    def _previous_by_shape(self, one: str) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for other in self._previous(one):
            found.setdefault(self._shapes[other], []).append(other)
        return found

    def _sorted_callbacks(self, one: str) -> list[list[str]]:
        found = [self._line(edge.target) for edge in self._callbacks(one)]
        return [line for line, _ in sorted(found, key=lambda pair: pair[1])]

    def _fold_unlike(self, barrier: str, members: list[str]) -> None:
        """Of many members that are unlike, show some, the most urgent first, and let one node stand for the others."""
        shown = max(2, 2 * self.most)
        if len(members) <= shown:
            return
        fold = Node(id=f"rest-{barrier}", kind=Kind.FOLD, number=0)
        self.graph.nodes[fold.id] = fold
        todo = sorted(members, key=lambda one: self.graph.nodes[one].urgency)[shown - 1 :]
        while todo:
            one = todo.pop()
            if one not in self._stand_in:
                self._stand_in[one] = fold.id
                todo += self._previous(one)

    # Callbacks

    def _merge_callbacks(self) -> None:
        """Let one stand for callbacks that are alike and follow the same, or what one node stands for."""
        alike: dict[tuple[str, Follows, tuple[Any, ...]], list[list[str]]] = {}
        for one, edges in self.graph.aside.items():
            for edge in edges:
                line, what = self._line(edge.target)
                if not any(each in self._stand_in or each not in self.graph.nodes for each in line):
                    alike.setdefault((self._find(one), edge.follows, what), []).append(line)
        stands_for_many = {self._find(one) for one in self._stand_in}
        stands_for_many |= {one for one, node in self.graph.nodes.items() if node.number > 1}
        for (source, _, _), lines in alike.items():
            if len(lines) > (1 if source in stands_for_many else self.most):
                for line in lines[1:]:
                    for kept, gone in zip(lines[0], line, strict=True):
                        self._let_stand(kept, gone)


def _copy(node: Node) -> Node:
    made = Node(id=node.id, kind=node.kind, task=node.task, number=0, has_row=node.has_row, role=node.role)
    made.rule = node.rule
    made.take(node)
    return made
