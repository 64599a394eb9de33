"""What a real worker makes of a random canvas is what a plain recursive evaluation makes of it."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from django_jobs.async_result import AsyncResult, GroupResult
from django_jobs.canvas import Chain
from tests.canvas.evaluate import Meaning
from tests.canvas.strategies import draw
from tests.workflow.actors import Ledger, embody, plain
from tests.workflow.conftest import Stage

CASES = int(os.environ.get("DJANGO_JOBS_TEST_REAL_CANVASES", "40"))


@pytest.mark.parametrize("batch", range(3))
def test_a_random_canvas_does_what_it_means(stage: Stage, ledger: Ledger, batch: int):
    for number in range(CASES // 3 + 1):
        seed = batch * 1_000_000 + number
        try:
            check(stage, ledger, seed)
        except BaseException:
            print(f"seed {seed}")
            raise


def check(stage: Stage, ledger: Ledger, seed: int) -> None:
    rng = random.Random(seed)
    canvas, world = draw(rng, depth=4, width=8)
    flaky = frozenset(label for label in _labels(canvas) if rng.random() < 0.05)
    meaning = Meaning(world)
    expected = meaning.run(canvas)
    ledger.path.write_text("")
    handle = embody(canvas, world, str(ledger.path), flaky=flaky).delay()
    stage.work(rng)
    assert ledger.calls == meaning.calls
    assert ledger.told == _by_label(meaning.errors)
    if isinstance(canvas, Chain) and not canvas.tasks:
        assert handle is None
        return
    assert isinstance(handle, AsyncResult | GroupResult)
    assert handle.ready(), handle
    if not expected.failed:
        assert plain(handle.get(timeout=0)) == expected.value


def _labels(canvas: object) -> list[str]:
    found: list[str] = []
    todo = [canvas]
    while todo:
        one = todo.pop()
        if hasattr(one, "task") and hasattr(one, "kwargs"):
            found.append(one.kwargs["label"])
        todo += [*one.parts, *one.links]  # type: ignore[attr-defined]
    return found


def _by_label(errors: Counter[tuple[str, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (label, _), count in errors.items():
        found[label] += count
    return found
