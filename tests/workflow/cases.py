"""A random canvas, what it means, and how what has become of it is compared with that."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django_jobs.async_result import AsyncResult, GroupResult
from django_jobs.canvas import Chain, Expression, Signature
from tests.canvas.evaluate import Meaning
from tests.canvas.strategies import draw
from tests.workflow.actors import Ledger, embody, plain

#: Tasks are retried first that often.
FLAKY = 0.05
#: Tasks are done in another way than the usual one that often, where there are ``ways``.
VARIED = 0.3

Way = tuple[str, Mapping[str, Any]]


class Case:
    """The canvas of a seed: the same in every process."""

    def __init__(self, seed: int, ledger: Path, *, depth: int = 4, width: int = 8, ways: Sequence[Way] = ()) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.drawn, world = draw(self.rng, depth=depth, width=width)
        self.flaky = frozenset(label for label in labels_in(self.drawn) if self.rng.random() < FLAKY)
        other = {label: self.rng.choice(ways) for label in labels_in(self.drawn) if ways and self.rng.random() < VARIED}
        meaning = Meaning(world)
        self.expected = meaning.run(self.drawn)
        self.calls = meaning.calls
        self.told = _by_label(meaning.errors)
        self.ledger = Ledger(ledger)
        self.canvas = embody(self.drawn, world, str(ledger), flaky=self.flaky, ways=other)

    @property
    def is_nothing(self) -> bool:
        """Is it an empty chain, which has no handle?"""
        return isinstance(self.drawn, Chain) and not self.drawn.tasks

    @property
    def is_one_task(self) -> bool:
        """Is it no canvas at all?"""
        return isinstance(self.drawn, Signature) and not (self.drawn.links or self.drawn.errbacks)

    def problems(self, handle: Any) -> list[str]:
        """Say what is not as it must be, now that everything has ended."""
        found = [
            *differences("calls", self.ledger.calls, self.calls),
            *differences("errors told", self.ledger.told, self.told),
            *self.value_problems(handle),
        ]
        return [f"seed {self.seed}: {one}" for one in found]

    def value_problems(self, handle: Any) -> list[str]:
        """Say what is not as it must be of the handle and its value."""
        if self.is_nothing:
            return [] if handle is None else [f"a handle of nothing: {handle}"]
        assert isinstance(handle, AsyncResult | GroupResult)
        if not handle.ready():
            return [f"{handle} has not ended"]
        if self.expected.failed:
            return [f"{handle} has succeeded"] if handle.successful() else []
        value = plain(handle.get(timeout=0))
        return [] if value == self.expected.value else [f"the value is {value}, not {self.expected.value}"]


def differences(what: str, found: Counter[str], expected: Counter[str]) -> list[str]:
    """Say what two counts do not have in common."""
    more, less = found - expected, expected - found
    return [f"{what}: {dict(more)} too many, {dict(less)} missing"] if more or less else []


def labels_in(expression: Expression) -> list[str]:
    """Return the labels of the tasks of a canvas, those of its links included."""
    found: list[str] = []
    todo = [expression]
    while todo:
        one = todo.pop()
        if isinstance(one, Signature):
            found.append(str(one.kwargs["label"]))
        todo += [*one.parts, *one.links]
    return found


def _by_label(errors: Counter[tuple[str, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (label, _), count in errors.items():
        found[label] += count
    return found
