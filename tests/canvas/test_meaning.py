"""What a plan does, whatever the order, is what its canvas means."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.canvas import Expression
from tests.canvas.evaluate import Meaning, World
from tests.canvas.memory import Run
from tests.canvas.strategies import draw

CASES = int(os.environ.get("DJANGO_JOBS_TEST_CANVASES", "3000"))
BATCHES = 10


def check(canvas: Expression, world: World, rng: random.Random) -> Run:
    meaning = Meaning(world)
    expected = meaning.run(canvas)
    run = Run(canvas, world, rng)
    assert run.calls == meaning.calls
    assert run.end() == (expected.failed, None if expected.failed else expected.value)
    assert run.errors == meaning.errors
    assert len(set(run.error_ids)) == len(run.error_ids)
    assert set(run.ran.values()) <= {1}
    assert run.ran.keys().isdisjoint(run.ended)
    assert run.ran.keys() | run.ended.keys() == run.book.steps.keys()
    assert run.book.resolved.keys() == run.book.barriers.keys()
    causes = {run.book.step(cause).signature.kwargs["label"] for cause in run.ended.values()}
    assert causes <= world.failing
    return run


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_random_canvas_does_what_it_means(batch: int):
    for number in range(CASES // BATCHES):
        seed = batch * 1_000_000 + number
        rng = random.Random(seed)
        canvas, world = draw(rng)
        try:
            check(canvas, world, rng)
        except BaseException:
            print(f"seed {seed}: {canvas!r} in {world!r}")
            raise


@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(0, 4))
def test_a_small_canvas_does_what_it_means(seed: int, depth: int, width: int):
    rng = random.Random(seed)
    canvas, world = draw(rng, depth=depth, width=width)
    check(canvas, world, rng)
