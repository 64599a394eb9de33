"""Several processes sync at once, of one version of the code or of two: nothing is made twice, and no edit is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_jobs.models import PeriodicTask
from tests.beat_code.conftest import NOTHING, edit
from tests.worker.conftest import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = [f"task {number:02}" for number in range(30)]
#: Says that it is ready, waits for the others, and says what its sync has changed.
PROGRAM = """
import json, sys, time
from pathlib import Path
import django
django.setup()
from django.db import connection
from django_jobs.beat.declared import declarations
from django_jobs.beat.sync import sync
declarations()
connection.ensure_connection()
here = Path(sys.argv[1])
(here / sys.argv[2]).touch()
while not (here / "go").exists():
    time.sleep(0.001)
said = [change for _ in range(5) for change in sync()]
print(json.dumps([(change.kind.value, change.name) for change in said]))
"""


def code(schedule: str, **given: Any) -> dict[str, Any]:
    return {name: {"task": NOTHING, "schedule": schedule, **given} for name in NAMES}


@pytest.fixture
def together(tmp_path: Path, child_environment: Callable[..., dict[str, str]]) -> Callable[..., list[tuple[str, str]]]:
    """Return a function that lets processes sync at once, each with its declarations; it returns what they said."""

    def run(*versions: dict[str, Any]) -> list[tuple[str, str]]:
        for file in tmp_path.iterdir():
            file.unlink()
        started = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(tmp_path), str(number)],
                env=child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps({"SCHEDULE": version})),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number, version in enumerate(versions)
        ]
        try:
            wait_for(lambda: len(list(tmp_path.iterdir())) == len(versions), seconds=60)
            (tmp_path / "go").touch()
            answers = [process.communicate(timeout=60) for process in started]
        finally:
            for process in started:
                process.kill()
        assert [(process.returncode, err) for process, (_, err) in zip(started, answers, strict=True)] == [
            (0, "") for _ in started
        ]
        return [tuple(said) for out, _ in answers for said in json.loads(out)]

    return run


def test_the_same_code(together: Callable[..., list[tuple[str, str]]]):
    said = together(*[code("@daily")] * 4)
    assert sorted(said) == [("created", name) for name in NAMES], "each is made once, and said once"
    assert list(PeriodicTask.objects.order_by("name").values_list("name", flat=True)) == NAMES
    said = together(*[code("@hourly")] * 4)
    assert sorted(said) == [("updated", name) for name in NAMES]


def test_old_and_new_code(together: Callable[..., list[tuple[str, str]]]):
    old, new = code("0 1 * * *"), {**code("0 2 * * *"), "new": {"task": NOTHING, "schedule": "@daily"}}
    together(old)
    edit("task 00", schedule="0 1 * * 1")
    edit("task 01", enabled=False)
    together(old, new, old, new)
    edit("task 02", schedule="0 3 * * *")
    together(old, new, old, new)
    together(new)
    rows = {row.name: row for row in PeriodicTask.objects.all()}
    assert (rows["task 00"].schedule, rows["task 01"].enabled) == ("0 1 * * 1", False)
    assert rows["task 02"].schedule == "0 3 * * *"
    assert {rows[name].schedule for name in NAMES[3:]} == {"0 2 * * *"}
    assert all(row.enabled for name, row in rows.items() if name != "task 01")
