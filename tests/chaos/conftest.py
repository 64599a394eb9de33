"""One laboratory for all rows of a run of pytest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.laboratory import Laboratory


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    made = Laboratory()
    yield made
    made.close()
