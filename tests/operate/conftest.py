"""``manage.py jobs`` in the test's own process, beside projects on every kind of broker and real workers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.handles.conftest import aside, on_database, on_redis, project, worker
from tests.worker.conftest import jobs_settings, ledger, start_worker

__all__ = ["aside", "jobs_settings", "ledger", "on_database", "on_redis", "project", "start_worker", "worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command has said, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def table(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


def run_jobs(*arguments: str) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command("jobs", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        err.write(str(error))
        code = error.returncode
    except SystemExit as error:
        code = int(error.code or 0)
    return Answer(out=out.getvalue(), err=err.getvalue(), code=code)


@pytest.fixture
def jobs_command() -> Callable[..., Answer]:
    """Return a function that runs ``manage.py jobs`` with these arguments."""
    return run_jobs
