"""A random canvas, what it means, and how what has become of it is compared with that."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

from django_jobs.async_result import AsyncResult, GroupResult
from django_jobs.canvas import Chain, Expression, Signature
from tests.canvas.evaluate import Meaning
from tests.canvas.strategies import draw
from tests.workflow.actors import Ledger, embody, plain

#: Tasks are retried first that often.
FLAKY = 0.05


class Case:
    """The canvas of a seed: the same in every process."""

    def __init__(self, seed: int, ledger: Path, *, depth: int = 4, width: int = 8) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.drawn, world = draw(self.rng, depth=depth, width=width)
        self.flaky = frozenset(label for label in labels_in(self.drawn) if self.rng.random() < FLAKY)
        meaning = Meaning(world)
        self.expected = meaning.run(self.drawn)
        self.calls = meaning.calls
        self.told = _by_label(meaning.errors)
        self.ledger = Ledger(ledger)
        self.canvas = embody(self.drawn, world, str(ledger), flaky=self.flaky)

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
            *self._of(handle),
        ]
        return [f"seed {self.seed}: {one}" for one in found]

    def _of(self, handle: Any) -> list[str]:
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
