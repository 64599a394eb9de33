"""What a real worker makes of a random canvas is what a plain recursive evaluation makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workflow.cases import Case
from tests.workflow.conftest import Stage

CASES = int(os.environ.get("DJANGO_JOBS_TEST_REAL_CANVASES", "40"))


@pytest.mark.parametrize("batch", range(3))
def test_a_random_canvas_does_what_it_means(stage: Stage, tmp_path: Path, batch: int):
    for number in range(CASES // 3 + 1):
        case = Case(batch * 1_000_000 + number, tmp_path / str(number))
        handle = case.canvas.delay()
        stage.work(case.rng)
        assert case.problems(handle) == []
