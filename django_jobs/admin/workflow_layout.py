"""
Where the nodes of a graph stand: from left to right by what follows what, and close to what they belong to.

Layers by the longest path, an order within each that crosses few lines, and heights that keep lines straight. A line
that is longer than one layer has a place in those between, so that it goes around what stands there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from django_jobs.admin.workflow_graph import Edge

#: Between two columns, between two nodes of a column, and around all.
GAP_X, GAP_Y, MARGIN = 36, 14, 8
#: How high the place of a line is.
LINE_HEIGHT = 6
_ORDERINGS, _SETTLINGS, _LEVELLINGS = 8, 12, 3


class Size(NamedTuple):
    """Width and height."""

    width: int
    height: int


class Box(NamedTuple):
    """Where a node stands."""

    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> int:
        """The height of its middle."""
        return self.y + self.height // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An edge, and the points that it goes through."""

    edge: Edge
    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A graph with places."""

    width: int
    height: int
    boxes: Mapping[str, Box]
    lines: Sequence[Line]


def layout(sizes: Mapping[str, Size], edges: Sequence[Edge]) -> Layout:
    """Place the nodes of a graph; their order is kept where nothing speaks against it."""
    layers = _layers(list(sizes), edges)
    routes = _Routes(layers, edges)
    columns = _columns(layers, routes)
    heights = {one: sizes[one].height if one in sizes else LINE_HEIGHT for column in columns for one in column}
    _order(columns, routes.links)
    middles = _heights(columns, routes.links, heights)
    boxes, lefts = _boxes(columns, sizes, heights, middles)
    lines = [Line(edge=edge, points=_points(edge, path, boxes)) for edge, path in routes.paths]
    real = {one: boxes[one] for one in sizes}
    return Layout(
        width=lefts + MARGIN,
        height=max((box.y + box.height for box in boxes.values()), default=0) + MARGIN,
        boxes=real,
        lines=lines,
    )


def _layers(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Return the layer of each node: one more than that of the farthest that it follows."""
    after: dict[str, list[str]] = defaultdict(list)
    waiting = dict.fromkeys(nodes, 0)
    for edge in edges:
        after[edge.source].append(edge.target)
        waiting[edge.target] += 1
    layers = dict.fromkeys(nodes, 0)
    todo = [one for one in nodes if not waiting[one]]
    while todo:
        one = todo.pop()
        for other in after[one]:
            layers[other] = max(layers[other], layers[one] + 1)
            waiting[other] -= 1
            if not waiting[other]:
                todo.append(other)
    return layers


class _Routes:
    """The edges as links from layer to layer, with places for those that go farther."""

    def __init__(self, layers: dict[str, int], edges: Sequence[Edge]) -> None:
        self.paths: list[tuple[Edge, list[str]]] = []
        self.links: list[tuple[str, str]] = []
        self.places: dict[str, int] = {}
        for number, edge in enumerate(edges):
            first, last = layers[edge.source], layers[edge.target]
            between = {f"\0{number}@{layer}": layer for layer in range(first + 1, last)}
            self.places |= between
            path = [edge.source, *between, edge.target]
            self.paths.append((edge, path))
            self.links += pairwise(path)


def _columns(layers: Mapping[str, int], routes: _Routes) -> list[list[str]]:
    all_layers = {**layers, **routes.places}
    columns: list[list[str]] = [[] for _ in range(max(all_layers.values(), default=-1) + 1)]
    for one, layer in all_layers.items():
        columns[layer].append(one)
    return columns


def _order(columns: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    """Sort each column by the average place of its neighbours, to and fro."""
    before, after = _neighbours(links)
    for sweep in range(_ORDERINGS):
        forwards = sweep % 2 == 0
        neighbours = before if forwards else after
        sequence = range(1, len(columns)) if forwards else range(len(columns) - 2, -1, -1)
        for n in sequence:
            other = columns[n - 1 if forwards else n + 1]
            place = {one: index / max(1, len(other)) for index, one in enumerate(other)}
            own = {one: index / max(1, len(columns[n])) for index, one in enumerate(columns[n])}
            columns[n].sort(key=lambda one: _average([place[x] for x in neighbours[one]], own[one]))


def _neighbours(links: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in links:
        before[target].append(source)
        after[source].append(target)
    return before, after


def _average(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _heights(
    columns: Sequence[Sequence[str]], links: Sequence[tuple[str, str]], heights: Mapping[str, int]
) -> dict[str, float]:
    """Return the middle of each node: as close to the middle of its neighbours as the others leave room."""
    before, after = _neighbours(links)
    middles: dict[str, float] = {}
    for column in columns:
        top = 0.0
        for one in column:
            middles[one] = top + heights[one] / 2
            top += heights[one] + GAP_Y
    for sweep in range(_SETTLINGS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = [_average([middles[x] for x in (*before[one], *after[one])], middles[one]) for one in column]
            middles |= zip(column, _apart(wanted, [heights[one] for one in column]), strict=True)
    lanes = _lanes(before, after)
    for _ in range(_LEVELLINGS):
        _level(lanes, columns, heights, middles)
    return middles


def _lanes(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the longest runs of places of which each follows the one before it, and nothing else."""
    following = {one: others[0] for one, others in after.items() if len(others) == 1 and len(before[others[0]]) == 1}
    continued = set(following.values())
    lanes = []
    for first in (one for one in following if one not in continued):
        lane = [first]
        while lane[-1] in following:
            lane.append(following[lane[-1]])
        lanes.append(lane)
    return sorted(lanes, key=len, reverse=True)


def _level(
    lanes: Sequence[Sequence[str]],
    columns: Sequence[Sequence[str]],
    heights: Mapping[str, int],
    middles: dict[str, float],
) -> None:
    """Bring each lane to one height, or its halves, where the others leave room for that."""
    beside = {one: (column, n) for column in columns for n, one in enumerate(column)}
    todo = list(reversed(lanes))
    while todo:
        lane = todo.pop()
        rooms = [_room(*beside[one], heights, middles) for one in lane]
        lowest, highest = max(low for low, _ in rooms), min(high for _, high in rooms)
        if lowest <= highest:
            mean = sum(middles[one] for one in lane) / len(lane)
            middles |= dict.fromkeys(lane, min(highest, max(lowest, mean)))
        elif len(lane) > 2:
            todo += [lane[len(lane) // 2 :], lane[: len(lane) // 2]]


def _room(
    column: Sequence[str], n: int, heights: Mapping[str, int], middles: Mapping[str, float]
) -> tuple[float, float]:
    """Return how far up and how far down a node can be moved."""
    own = heights[column[n]] / 2 + GAP_Y
    up, down = -math.inf, math.inf
    if n > 0:
        up = middles[column[n - 1]] + heights[column[n - 1]] / 2 + own
    if n < len(column) - 1:
        down = middles[column[n + 1]] - heights[column[n + 1]] / 2 - own
    return up, down


def _apart(wanted: Sequence[float], heights: Sequence[int]) -> list[float]:
    """Return places in this order, as close to the wanted ones as possible, and none on top of another."""
    offsets = [0.0]
    for above, below in pairwise(heights):
        offsets.append(offsets[-1] + (above + below) / 2 + GAP_Y)
    # Without the room that each needs, the places only have to ascend: neighbours that do not are put together.
    blocks: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=True):
        mean, count = place - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, number = blocks.pop()
            mean, count = (mean * count + other * number) / (count + number), count + number
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(flat, offsets, strict=True)]


def _boxes(
    columns: Sequence[Sequence[str]],
    sizes: Mapping[str, Size],
    heights: Mapping[str, int],
    middles: Mapping[str, float],
) -> tuple[dict[str, Box], int]:
    """Return where everything stands, and where the last column ends."""
    top = min((middles[one] - heights[one] / 2 for column in columns for one in column), default=0.0)
    boxes: dict[str, Box] = {}
    x = MARGIN
    for n, column in enumerate(columns):
        width = max((sizes[one].width for one in column if one in sizes), default=0)
        for one in column:
            own = sizes[one].width if one in sizes else width
            y = round(middles[one] - heights[one] / 2 - top) + MARGIN
            boxes[one] = Box(x + (width - own) // 2, y, own, heights[one])
        x += width + (GAP_X if n < len(columns) - 1 else 0)
    return boxes, x


def _points(edge: Edge, path: Sequence[str], boxes: Mapping[str, Box]) -> tuple[tuple[int, int], ...]:
    source, target = boxes[edge.source], boxes[edge.target]
    points = [(source.x + source.width, source.middle)]
    for one in path[1:-1]:
        box = boxes[one]
        points += [(box.x, box.middle), (box.x + box.width, box.middle)]
    return (*points, (target.x, target.middle))
