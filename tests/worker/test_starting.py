"""How ``runworker`` ends where it cannot work: by its exit code, and with a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connections, transaction

from tests.services import alias_of, named_redis, why_missing

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(child_environment: Callable[..., dict[str, str]], tmp_path: Path) -> Run:
    """Return a function that runs a burst in a project with these lines in its settings."""

    def run(*lines: str, stdout: Any = subprocess.PIPE, **given: Any) -> subprocess.CompletedProcess[str]:
        (tmp_path / "project.py").write_text("\n".join(["from tests.settings import *", *lines]))
        environment = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps(given), DJANGO_SETTINGS_MODULE="project")
        environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environment['PYTHONPATH']}"
        return subprocess.run(
            [sys.executable, "-m", "django", "runworker", "--burst", "-c", "1"],
            env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that was said."""
    assert done.returncode == 3, done
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    return line


# Databases that may be read


@pytest.fixture(params=["sqlite", "postgres"])
def read_only(request: pytest.FixtureRequest) -> str:
    """Settings of a database that can be read, as a line of settings."""
    alias = alias_of(request.param)
    if alias is None:
        pytest.skip(why_missing(request.param))
    if request.param == "sqlite":
        change = "'NAME': 'file:' + str(one['NAME']) + '?mode=ro'"
    else:
        change = "'OPTIONS': {'options': '-c default_transaction_read_only=on'}"
    return f"one = DATABASES[{alias!r}]; DATABASES['closed'] = one | {{{change}}}"


@pytest.mark.parametrize("broker", ["redis", "database"])
def test_results_that_cannot_be_written(run: Run, read_only: str, broker: str) -> None:
    url = named_redis().get("redis7") if broker == "redis" else "database://default"
    if url is None:
        pytest.skip(why_missing("redis7"))
    said = refused(run(read_only, BROKER=url, DATABASE="closed"))
    assert "The database 'closed', which keeps the results, cannot be used: " in said
    assert "read-only" in said or "readonly" in said


def test_a_queue_that_cannot_be_written(run: Run, read_only: str) -> None:
    said = refused(run(read_only, BROKER="database://closed"))
    assert "The database 'closed', which holds the queue, cannot be used: " in said
    assert "read-only" in said or "readonly" in said


# A Redis that may be read


@pytest.fixture
def reader() -> Iterator[str]:
    """The URL of a Redis for a user who may not write."""
    url = named_redis().get("redis7")
    if url is None:
        pytest.skip(why_missing("redis7"))
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">pass", "~*", "&*", "+@all", "-@write")
        yield url.replace("redis://", "redis://reader:pass@")
        client.execute_command("ACL", "DELUSER", "reader")


def test_a_redis_that_cannot_be_written(run: Run, reader: str) -> None:
    assert " refuses. It said: The user executing the script can't run this command" in refused(run(BROKER=reader))


# What is no reason


def test_others_that_write_are_waited_for(run: Run) -> None:
    """A database that is locked for longer than the worker waits for it may be free when a job has run."""
    if connections["default"].vendor != "sqlite":
        pytest.skip("about SQLite's one writer")
    given = {"RESULTS": {"OPTIONS": {"TIMEOUT": 0.1}}, "BROKER": named_redis().get("redis7")}
    if given["BROKER"] is None:
        pytest.skip(why_missing("redis7"))
    with transaction.atomic(), connections["default"].cursor() as cursor:
        cursor.execute("UPDATE django_jobs_jobresult SET task = task WHERE 0 = 1")
        done = run(**given, PREFIX="tlocked")
    assert done.returncode == 0, done


def test_a_screen_that_cannot_be_written(run: Run) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(stdout=full)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "The start screen cannot be written: [Errno 28]" in done.stderr


# Settings


@pytest.mark.parametrize(
    ("given", "number"),
    [({"PREFIX": "a b"}, "E002"), ({"BROKER": "nonsense"}, "E001"), ({"QUEUES": {"..": {}}}, "E006")],
)
def test_wrong_settings_are_an_error_of_use(run: Run, given: dict[str, Any], number: str) -> None:
    done = run(**given)
    assert done.returncode == 2
    assert f"(django_jobs.{number})" in done.stderr
    assert "Traceback" not in done.stderr
