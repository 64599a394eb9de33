"""Long chains: their ends stay, what needs to be looked at too, and one node stands for the steps between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_jobs.admin.workflow_graph import Edge, Follows, Kind, Node, graph_of
from django_jobs.admin.workflow_merging import Merging
from django_jobs.admin.workflow_records import NEVER_RAN, Records
from django_jobs.states import State

#: How many members of a group that are alike are shown one by one, in a graph that has room for them.
MOST_MEMBERS = 12
#: How many nodes a graph has room for; with more, groups are drawn smaller, and then it is not drawn.
ROOM, MOST_NODES = 120, 300
#: The longest run of steps that is shown as a whole; of a longer one, so many at each end.
LONGEST_RUN, ENDS = 6, 2
#: How many steps in the middle of a run are shown because of how they stand.
MOST_STANDING_OUT = 4
#: What needs no look of its own in the middle of a chain.
_UNREMARKABLE = frozenset({State.SUCCESS.value, State.BLOCKED.value, NEVER_RAN})

Drawing = tuple[dict[str, Node], list[Edge]]


def drawing_of(records: Records) -> Drawing | None:
    """Return what is drawn of a workflow, small enough to be read; None: it cannot be made small enough."""
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for most in (MOST_MEMBERS, MOST_MEMBERS // 2, 3, 1):
        nodes, edges = fold(*Merging(graph_of(records), most).drawn())
        if len(nodes) <= ROOM:
            break
    return (nodes, edges) if len(nodes) <= MOST_NODES else None


def fold(nodes: dict[str, Node], edges: list[Edge]) -> Drawing:
    """Fold the long runs of a graph."""
    stand_in: dict[str, str] = {}
    folds: dict[str, Node] = {}
    for run in _runs(nodes, edges):
        for part in _foldable(nodes, run):
            made = Node(id=f"fold-{part[0]}", kind=Kind.FOLD, number=0, role=nodes[part[0]].role)
            for one in part:
                made.take(nodes[one])
            folds[made.id] = made
            stand_in |= dict.fromkeys(part, made.id)
    if not stand_in:
        return nodes, edges
    # Where the first of a part stood, so that the order of the nodes stays that of the workflow.
    kept: dict[str, Node] = {}
    for one, node in nodes.items():
        kept.setdefault(stand_in.get(one, one), folds.get(stand_in.get(one, ""), node))
    changed = dict.fromkeys(
        edge._replace(source=stand_in.get(edge.source, edge.source), target=stand_in.get(edge.target, edge.target))
        for edge in edges
    )
    return kept, [edge for edge in changed if edge.source != edge.target]


def _runs(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> list[list[str]]:
    """Return the runs of steps that have nothing beside them: each follows the one before it, and only that."""
    out: dict[str, list[Edge]] = {}
    into: dict[str, list[Edge]] = {}
    for edge in edges:
        out.setdefault(edge.source, []).append(edge)
        into.setdefault(edge.target, []).append(edge)

    def next_of(one: str) -> str | None:
        leaving = out.get(one, [])
        if len(leaving) != 1 or leaving[0].follows is not Follows.THEN:
            return None
        target = leaving[0].target
        is_step = nodes[one].kind is Kind.STEP and nodes[target].kind is Kind.STEP
        return target if is_step and len(into[target]) == 1 else None

    following = {one: other for one in nodes if (other := next_of(one)) is not None}
    continued = set(following.values())
    runs = []
    for first in (one for one in following if one not in continued):
        run = [first]
        while run[-1] in following:
            run.append(following[run[-1]])
        runs.append(run)
    return runs


def _foldable(nodes: Mapping[str, Node], run: list[str]) -> list[list[str]]:
    """Return the parts of a run that are folded, each of two steps at least."""
    if len(run) <= LONGEST_RUN:
        return []
    middle = run[ENDS:-ENDS]
    standing_out = [one for one in middle if nodes[one].state not in _UNREMARKABLE]
    shown = set(sorted(standing_out, key=lambda one: nodes[one].urgency)[:MOST_STANDING_OUT])
    parts: list[list[str]] = [[]]
    for one in middle:
        if one in shown:
            parts.append([])
        else:
            parts[-1].append(one)
    return [part for part in parts if len(part) > 1]
