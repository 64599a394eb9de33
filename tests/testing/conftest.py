from __future__ import annotations

import pytest

from tests.testing import tasks


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    tasks.done.clear()
