"""Random canvases."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from django_jobs.canvas import Expression, Signature, chain, chord, group
from tests.canvas.evaluate import World


class Maker:
    """Draws a canvas: each task and errback has a label of its own."""

    def __init__(self, rng: random.Random, *, depth: int, width: int, prefix: str = "") -> None:
        self.rng, self.depth, self.width, self.prefix = rng, depth, width, prefix
        self.labels: list[str] = []
        #: So many tasks at most, roughly, whatever depth and width allow.
        self.budget = rng.choice([5, 30, 200])

    def canvas(self, depth: int | None = None) -> Expression:
        depth = self.depth if depth is None else depth
        kind = self.rng.choice(["task", "chain", "group", "chord", "or"]) if depth and self.budget > 0 else "task"
        made: Expression
        match kind:
            case "chain":
                made = chain(self._several(depth))
            case "group":
                made = group(self._several(depth), **self._rules())
                if made.has_rules:
                    made = chain([made])
            case "chord":
                made = chord(self._several(depth), self.canvas(depth - 1), **self._rules())
            case "or":
                made = self.canvas(depth - 1) | self.canvas(depth - 1)
            case _:
                made = self._task()
        return self._with_callbacks(made, depth)

    def _several(self, depth: int) -> list[Expression]:
        # Few are wide, and many have one member or none, which is where rules differ.
        count = self.rng.choice([0, 1, 1, 2, 2, 3, 4, self.rng.randint(0, self.width)])
        return [self.canvas(depth - 1) for _ in range(count)]

    def _task(self) -> Signature:
        args = self.rng.choice([(), (1,), (1, "two")])
        return replace(self._label("t"), args=args, immutable=self.rng.random() < 0.2)

    def _label(self, kind: str) -> Signature:
        self.budget -= 1
        label = f"{self.prefix}{kind}{len(self.labels)}"
        self.labels.append(label)
        return Signature.s("tests.task", label=label)

    def _rules(self) -> dict[str, Any]:
        return self.rng.choice([{}, {}, {"on_member_failure": "wait"}, {"allow_failures": self.rng.randint(0, 3)},
                                {"on_member_failure": "wait", "allow_failures": 1}])  # fmt: skip

    def _with_callbacks(self, made: Expression, depth: int) -> Expression:
        if self.rng.random() < 0.15:
            made = made.link(self.canvas(max(0, depth - 2)))
        while self.rng.random() < 0.2:
            made = made.on_error(self._label("e"))
        return made


def draw(rng: random.Random, *, depth: int = 5, width: int = 20) -> tuple[Expression, World]:
    """Draw a canvas, and what its tasks do."""
    maker = Maker(rng, depth=depth, width=width)
    canvas = maker.canvas()
    labels = list(maker.labels)
    replacements: dict[str, Expression] = {}
    for label in rng.sample(maker.labels, k=min(len(maker.labels), rng.choice([0, 0, 1, 3]))):
        other = Maker(rng, depth=rng.randint(0, 2), width=3, prefix=f"{label}.")
        replacement = other.canvas()
        if not replacement.is_empty:
            replacements[label] = replacement
            labels += other.labels
    share = rng.choice([0, 0, 0.02, 0.1, 0.5])
    return canvas, World(frozenset(label for label in labels if rng.random() < share), replacements)
