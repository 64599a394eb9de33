"""The pytest plugin. Imports nothing of django_jobs at module level: pytest loads it before Django is configured."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_jobs.testing.jobs import Jobs


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """The jobs that this test sends, captured: see django_jobs.testing.capture_jobs()."""
    with import_module("django_jobs.testing").capture_jobs() as captured:
        yield captured


@pytest.fixture
def jobs_eager() -> Iterator[Jobs]:
    """The jobs that this test sends, run where they are sent: see django_jobs.testing.eager()."""
    with import_module("django_jobs.testing").eager() as captured:
        yield captured
