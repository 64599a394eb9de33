"""Every row, briefly and in some of its modes. ``script/chaos`` runs them in all of them, and for long."""

from __future__ import annotations

import os

import pytest

from tests.chaos.laboratory import Laboratory, Missing
from tests.chaos.rows import ROWS, Row

#: Another seed, other moments and victims: DJANGO_JOBS_CHAOS_SEED=7 script/test tests/chaos
SEED = int(os.environ.get("DJANGO_JOBS_CHAOS_SEED", "1"))


def marks_of(row: Row) -> list[pytest.MarkDecorator]:
    """Say what is expected of a cell that does not hold."""
    if row.broken:
        return [pytest.mark.xfail(raises=AssertionError, strict=False, reason=row.broken)]
    return []


CASES = [
    pytest.param(
        row,
        mode,
        id=f"{row.label}-{mode}",
        marks=marks_of(row),
    )
    for row in ROWS
    for mode in row.brief
]


@pytest.mark.chaos
@pytest.mark.parametrize(("row", "mode"), CASES)
def test_row(laboratory: Laboratory, row: Row, mode: str) -> None:
    try:
        verdict = row.run(laboratory, mode, seed=SEED)
    except Missing as reason:
        pytest.skip(str(reason))
    verdict.require()
