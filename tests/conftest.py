"""Fixtures that reach the servers of tests/services."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connections

from tests.services import REDIS_VARIABLES, named_redis, why_missing


@pytest.fixture(params=REDIS_VARIABLES)
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of each Redis server in turn; parametrize it indirectly with names of REDIS_VARIABLES to choose some."""
    url = named_redis().get(request.param)
    if url is None:
        pytest.skip(why_missing(request.param))
    return url


@pytest.fixture
def redis7_url() -> str:
    """The URL of the one Redis that a test needs when the version does not matter."""
    url = named_redis().get("redis7") or named_redis().get("redis62")
    if url is None:
        pytest.skip(why_missing("redis7"))
    return url


@pytest.fixture
def reachable_path() -> Iterator[Path]:
    """A directory that a server of another user reaches: pytest makes its own for one user only, again and again."""
    with tempfile.TemporaryDirectory(prefix="django-jobs-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def child_environment() -> Callable[..., dict[str, str]]:
    """Return the environment for a process that a test starts: it uses the test databases of this test run."""

    def environment(**extra: str) -> dict[str, str]:
        names = {alias: str(connections[alias].settings_dict["NAME"]) for alias in connections}
        root = str(Path(__file__).resolve().parent.parent)
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DJANGO_JOBS_TEST_NAMES": json.dumps(names),
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
            **extra,
        }

    return environment


@pytest.fixture(autouse=True)
def _audible() -> None:
    """Let our loggers speak as they do by default: a command that ran in this process has given them a level."""
    logging.disable(logging.NOTSET)
    for name, logger in logging.Logger.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == "django_jobs":
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
