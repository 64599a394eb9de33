"""
The plain, recursive meaning of a canvas: what a reader of it expects, without barriers, rows or order.

A task is called by its ``label``. It returns ``[label, *arguments]``; or fails, or replaces itself by another canvas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django_jobs.canvas import Chain, Chord, Expression, Group, Signature

#: Stands in a list of values where a member failed that was allowed to.
FAILED = "failed"
#: No value comes before.
NOTHING = object()
#: What error callbacks are called for: a step, by its label, or what a header kept from running.
BARRIER = "barrier"


def label_of(expression: Expression) -> str:
    assert isinstance(expression, Signature)
    return str(expression.kwargs["label"])


@dataclass
class World:
    """What the tasks do, whoever runs them."""

    failing: frozenset[str] = frozenset()
    replacements: Mapping[str, Expression] = field(default_factory=dict)


@dataclass
class End:
    """How an expression ended."""

    value: Any = None
    failed: bool = False
    #: What it failed for, as far as all that is around it shall know.
    events: list[str] = field(default_factory=list)
    #: What members of the group failed for that it ends with: known around it, unless something follows that group.
    members: list[str] = field(default_factory=list)


class Meaning:
    """What happens in a world when a canvas is run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: Counter[str] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()

    def run(self, expression: Expression, given: Any = NOTHING) -> End:
        end = self._run(expression, given)
        if not (isinstance(expression, Chain) and not expression.tasks):  # it has no end that anything could follow
            self._finish(expression, end)
        return end

    def _finish(self, expression: Expression, end: End) -> None:
        """Call what is to be called when an expression has ended."""
        if not end.failed:
            for link in expression.links:
                if not link.is_empty:
                    self.run(link, end.value)
        for event in (*end.events, *end.members):
            self._call_errbacks(expression, event)

    def _call_errbacks(self, expression: Expression, event: str) -> None:
        self.errors.update((label_of(errback), event) for errback in expression.errbacks)

    def _run(self, expression: Expression, given: Any) -> End:
        match expression:
            case Signature():
                return self._task(expression, given)
            case Chain():
                return self._chain(expression, given)
            case Group():
                return self._group(expression, given)
            case Chord():
                return self._chord(expression, given)
        raise AssertionError(expression)

    def _task(self, signature: Signature, given: Any) -> End:
        label = label_of(signature)
        args = list(signature.args) if given is NOTHING or signature.immutable else [given, *signature.args]
        self.calls[f"{label}{args}"] += 1
        if label in self.world.failing:
            return End(failed=True, events=[label])
        if label in self.world.replacements:
            return self.run(self.world.replacements[label])
        return End([label, *args])

    def _chain(self, chain: Chain, given: Any) -> End:
        end, events = End(given if chain.tasks else None), []
        for position, task in enumerate(chain.tasks):
            end = self.run(task, end.value)
            events += end.events
            if end.failed and position < len(chain.tasks) - 1:
                if end.members:  # it was a header
                    self._prevent(chain.tasks[position + 1])
                    events.append(BARRIER)
                return End(failed=True, events=events)
        return End(end.value, end.failed, events, end.members)

    def _group(self, group: Group, given: Any) -> End:
        values, events = self._members(group, given)
        failed = sum(value is FAILED for value in values) > (group.allow_failures or 0)
        return End(values, failed, members=events)

    def _members(self, group: Group, given: Any) -> tuple[list[Any], list[str]]:
        values: list[Any] = []
        events: list[str] = []
        for task in group.tasks:
            if task.is_empty:
                continue
            if isinstance(task, Group):
                inner, told = self._members(task, given)
                self._finish(task, End(inner, any(value is FAILED for value in inner), members=told))
            else:
                end = self.run(task, given)
                inner, told = [FAILED if end.failed else end.value], [*end.events, *end.members]
            values += inner
            events += told
        return values, events

    def _chord(self, chord: Chord, given: Any) -> End:
        assert chord.body is not None
        if chord.body.is_empty:
            return self.run(chord.header, given)
        if chord.header.is_empty:
            return self.run(chord.body.clone(([],)))
        end = self.run(chord.header, given)
        if end.failed:
            self._prevent(chord.body)
            return End(failed=True, events=[BARRIER])
        return self.run(chord.body, end.value)

    def _prevent(self, expression: Expression) -> None:
        """Tell what a failed header keeps from starting, and all that would have started with it."""
        if expression.is_empty:
            return
        self._call_errbacks(expression, BARRIER)
        match expression:
            case Chain():
                self._prevent(expression.tasks[0])
            case Group():
                for task in expression.tasks:
                    self._prevent(task)
            case Chord(header=header, body=body):
                self._prevent(body if header.is_empty and body is not None else header)
