"""
The graph of a workflow as SVG. Colours are classes, sizes are attributes: nothing in it is inline style or script.

A node is a link around an image with a title, and says its state as icon, word and colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_jobs.admin import workflow_words as words
from django_jobs.admin.presentation import number
from django_jobs.admin.workflow_folding import Drawing
from django_jobs.admin.workflow_graph import Follows, Kind, Node
from django_jobs.admin.workflow_layout import Box, Layout, Line, Size, layout
from django_jobs.admin.workflow_records import NEVER_RAN
from django_jobs.states import TERMINAL_STATES, State

STEP_WIDTH, CROWD_WIDTH = 172, 232
STEP_HEIGHT, BARRIER_HEIGHT = 50, 46
#: Of nodes that stand for many: the name, a row for two states, and what is below.
NAME_HEIGHT, ROW_HEIGHT, FOOT_HEIGHT = 30, 17, 14
#: How wide a character is, roughly: of a name, and of what is below it.
_NAME_CHARACTER, _FACTS_CHARACTER = 7.7, 6.3
#: A drawing up to here may shrink to what is there, and can still be read; a wider one is moved sideways.
_SHRINKS_UP_TO = 1150
_IN_BAR = TERMINAL_STATES | {NEVER_RAN}


class Links(NamedTuple):
    """Where the graph leads to; empty: nowhere, or not for this user."""

    #: To the page of the job of a step.
    job: Callable[[str], str]
    #: To the list of jobs of a task in a state, each of which may be empty.
    jobs: Callable[[str, str], str]


def draw(drawing: Drawing, links: Links) -> SafeString:
    """Return the graph as an image."""
    nodes, edges = drawing
    placed = layout({one: size_of(node) for one, node in nodes.items()}, edges)
    lines = format_html_join("\n", "{}", ((_line(line, nodes),) for line in placed.lines))
    drawn = format_html_join("\n", "{}", ((_node(node, placed.boxes[one], links),) for one, node in nodes.items()))
    return format_html(
        '<svg class="dj-graph{}" viewBox="0 0 {} {}" width="{}" height="{}" role="group" aria-label="{}">{}{}</svg>',
        " dj-graph-shrinks" if placed.width <= _SHRINKS_UP_TO else "",
        placed.width,
        placed.height,
        placed.width,
        placed.height,
        _summary(nodes, placed),
        lines,
        drawn,
    )


def size_of(node: Node) -> Size:
    """Return how much room a node needs."""
    if _is_crowd(node):
        rows = (len(node.states) + 1) // 2
        return Size(CROWD_WIDTH, NAME_HEIGHT + rows * ROW_HEIGHT + FOOT_HEIGHT)
    if node.kind is Kind.BARRIER:
        name, facts = words.name_of(node), _barrier_facts(node)
        wide = max(len(name) * _NAME_CHARACTER + 44, len(facts) * _FACTS_CHARACTER + 36)
        return Size(min(CROWD_WIDTH, max(76, int(wide))), BARRIER_HEIGHT)
    return Size(STEP_WIDTH, STEP_HEIGHT)


def _summary(nodes: Mapping[str, Node], placed: Layout) -> str:
    text = _(
        "Graph of the workflow, from left to right: %(nodes)d nodes, %(lines)d lines. The table below says the same."
    )
    return text % {"nodes": len(nodes), "lines": len(placed.lines)}


def _is_crowd(node: Node) -> bool:
    return node.kind is Kind.FOLD or (node.kind is Kind.STEP and node.number > 1)


# Lines


def _line(line: Line, nodes: Mapping[str, Node]) -> SafeString:
    end_x, end_y = line.points[-1]
    return format_html(
        '<g class="dj-line dj-line-{}{}" aria-hidden="true"><path d="{}"/>'
        '<path class="dj-tip" d="M{} {}l-7 -4v8z"/></g>',
        line.edge.follows.value,
        "" if nodes[line.edge.source].counts[State.SUCCESS] else " dj-line-waiting",
        _curve(line.points),
        end_x,
        end_y,
    )


def _curve(points: tuple[tuple[int, int], ...]) -> str:
    """Return a line that leaves and arrives level, bent between."""
    (x, y), *rest = points
    parts = [f"M{x} {y}"]
    (last_x, last_y) = rest.pop()
    for to_x, to_y in [*rest, (last_x - 5, last_y)]:  # its end is under the tip
        bend = (to_x - x) // 2
        parts.append(f"L{to_x} {to_y}" if abs(to_y - y) < 2 else f"C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}")
        x, y = to_x, to_y
    return "".join(parts)


# Nodes


def _node(node: Node, box: Box, links: Links) -> SafeString:
    look = words.look_of_node(node)
    classes = f"dj-node dj-node-{node.kind.value} dj-status-{look.tone}"
    classes += f" dj-node-{node.role.value}" if node.role is not None else ""
    inside = (
        _crowd(node, box, links)
        if _is_crowd(node)
        else _barrier(node, box)
        if node.kind is Kind.BARRIER
        else _step(node)
    )
    radius = box.height // 2 if node.kind is Kind.BARRIER else 6
    pile = _pile(box, radius) if node.number > 1 else ""
    made = format_html(
        '<g class="{}" transform="translate({} {})" role="{}"><title>{}</title>{}'
        '<rect class="dj-box" width="{}" height="{}" rx="{}"/>{}</g>',
        classes,
        box.x,
        box.y,
        "group" if _is_crowd(node) else "img",
        words.title_of(node),
        pile,
        box.width,
        box.height,
        radius,
        inside,
    )
    url = links.job(node.id) if node.has_row and node.number == 1 and node.kind is Kind.STEP else ""
    return _linked(made, url)


def _pile(box: Box, radius: int) -> SafeString:
    """Return the edge of the others below."""
    pile = '<rect class="dj-pile" x="4" y="4" width="{}" height="{}" rx="{}"/>'
    return format_html(pile, box.width, box.height, radius)


def _linked(made: SafeString, url: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, made) if url else made


def _step(node: Node) -> SafeString:
    return format_html(
        '{}{}<text class="dj-name" x="32" y="21">{}</text><text class="dj-facts-line" x="14" y="40">{}</text>{}',
        _stripe(STEP_HEIGHT),
        _icon(node, 11, 10),
        _cut(words.name_of(node), STEP_WIDTH - 40, _NAME_CHARACTER),
        _cut(" · ".join(words.facts_of(node)), STEP_WIDTH - 18, _FACTS_CHARACTER),
        _tag(node, STEP_WIDTH),
    )


def _barrier(node: Node, box: Box) -> SafeString:
    name, facts = words.name_of(node), _barrier_facts(node)
    middle = box.width // 2
    left = middle - (_text_width(name, _NAME_CHARACTER) + 18) // 2
    return format_html(
        '{}<text class="dj-name" x="{}" y="19">{}</text>'
        '<text class="dj-facts-line" text-anchor="middle" x="{}" y="35">{}</text>',
        _icon(node, left, 8),
        left + 18,
        _cut(name, box.width - 40, _NAME_CHARACTER),
        middle,
        _cut(facts, box.width - 28, _FACTS_CHARACTER),
    )


def _barrier_facts(node: Node) -> str:
    return " · ".join(words.facts_of(node) if node.number == 1 else words.counts_of(node))


def _text_width(text: str, character: float) -> int:
    return int(len(text) * character)


def _crowd(node: Node, box: Box, links: Links) -> SafeString:
    name = format_html(
        '<text class="dj-name" x="14" y="21">{}</text>', _cut(words.name_of(node), box.width - 26, _NAME_CHARACTER)
    )
    rows = [_count(node, n, box, links) for n in range(len(node.states))]
    return format_html(
        "{}{}{}{}{}",
        _stripe(box.height),
        _linked(name, links.jobs(node.task, "")),
        format_html_join("", "{}", ((row,) for row in rows)),
        _bar(node, box),
        _tag(node, box.width),
    )


def _count(node: Node, n: int, box: Box, links: Links) -> SafeString:
    state, count = node.states[n]
    look = words.look_of_step(state)
    x, y = 14 + n % 2 * (box.width // 2 - 4), NAME_HEIGHT + n // 2 * ROW_HEIGHT + 9
    made = format_html(
        '<g class="dj-status-{}"><path class="dj-icon" transform="translate({} {}) scale(.7)" d="{}"/>'
        '<text class="dj-count" x="{}" y="{}">{} {}</text></g>',
        look.tone,
        x,
        y - 10,
        look.path,
        x + 16,
        y,
        number(count),
        look.word,
    )
    return _linked(made, links.jobs(node.task, state))


def _bar(node: Node, box: Box) -> SafeString:
    """Return a bar of those that have ended, with a part for each state."""
    room, total = box.width - 28, max(1, sum(node.counts.values()))
    parts, x = [], 14.0
    for state, count in reversed(node.states):
        width = room * count / total
        if state in _IN_BAR:
            tone = words.look_of_step(state).tone
            parts.append((tone, f"{x:.1f}", box.height - 12, f"{max(width, 1.5):.1f}"))
            x += width
    track = format_html('<rect class="dj-track" x="14" y="{}" width="{}" height="4" rx="2"/>', box.height - 12, room)
    return track + format_html_join(
        "", '<rect class="dj-part dj-status-{}" x="{}" y="{}" width="{}" height="4"/>', parts
    )


def _stripe(height: int) -> SafeString:
    return format_html('<rect class="dj-stripe" x="4" y="6" width="3" height="{}" rx="1.5"/>', height - 12)


def _icon(node: Node, x: int, y: int) -> SafeString:
    return format_html(
        '<path class="dj-icon" transform="translate({} {}) scale(.9)" d="{}"/>', x, y, words.look_of_node(node).path
    )


def _tag(node: Node, width: int) -> SafeString | str:
    """Return the mark of what is beside the work itself."""
    if node.role is None:
        return ""
    text = _("on error") if node.role is Follows.ERROR else _("callback")
    return format_html('<text class="dj-tag" text-anchor="end" x="{}" y="12">{}</text>', width - 8, text)


def _cut(text: str, room: int, character: float) -> str:
    most = int(room / character)
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
