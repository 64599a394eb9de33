"""A beat that is frozen in the middle of the transaction that fires: others fire, and nothing is fired twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.test import override_settings

from django_jobs import bounds, dispatch
from django_jobs.envelope import Job
from django_jobs.middleware import Middleware
from django_jobs.models import PeriodicTask
from tests.beat.conftest import MakeRow, fire, runs_of, waiting
from tests.chaos.hosts import state_of
from tests.worker.conftest import wait_for

pytestmark = pytest.mark.usefixtures("beat_settings")
only_servers = pytest.mark.parametrize("alias", ["postgres", "mariadb"], indirect=True)

#: Fires what is due, and stops itself when its rows are locked, or when its jobs are made. Says how many runs that were
#: in the end.
FROZEN = """
import os, signal, sys
import django
django.setup()
from django_jobs import bounds
from django_jobs.beat import firing
from tests.beat.conftest import fire

bounds.SILENCE_MS = int(sys.argv[2])
before = {"locked": (firing, "_busy"), "made": (firing.rows, "insert_runs")}[sys.argv[3]]
real = getattr(*before)
stops = [1]

def stop(*args):
    if stops:
        stops.clear()
        os.kill(os.getpid(), signal.SIGSTOP)
    return real(*args)

setattr(*before, stop)
print(len(fire(sys.argv[1]).runs))
"""


@only_servers
@pytest.mark.parametrize("beat_settings", ["database"], indirect=True)
@pytest.mark.parametrize("when", ["locked", "made"])
def test_one_that_is_frozen_keeps_no_moment(
    alias: str,
    make_row: MakeRow,
    beat_settings: dict[str, Any],
    child_environment: Callable[..., dict[str, str]],
    when: str,
) -> None:
    make_row(due=5)
    frozen = subprocess.Popen(
        [sys.executable, "-c", FROZEN, alias, "1000", when],
        env=child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps(beat_settings)),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: state_of(frozen.pid) == "T", what="it to be frozen")
        assert fire(alias).rows == 0, "its rows are locked, and passed over"
        wait_for(lambda: fire(alias).rows == 1, seconds=10, what="its rows")
        assert state_of(frozen.pid) == "T"
        os.kill(frozen.pid, signal.SIGCONT)
        said, _ = frozen.communicate(timeout=30)
        assert (frozen.returncode, said.strip()) == (0, "0"), said
    finally:
        frozen.kill()
        frozen.communicate()
    assert [run.outcome for run in runs_of(alias)] == ["sent"], "and nothing is refused because of it"
    assert len(waiting()) == 1


@only_servers
@pytest.mark.parametrize("beat_settings", ["database"], indirect=True)
def test_a_connection_that_is_lost_is_the_fault_of_no_row(
    alias: str, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dispatch.send

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(2.5)
        return real(*args, **options)

    make_row(due=5)
    with monkeypatch.context() as patch:
        patch.setattr(bounds, "SILENCE_MS", 1000)
        patch.setattr(dispatch, "send", slow)
        with pytest.raises(OperationalError):
            fire(alias)
    assert runs_of(alias) == []
    assert [run.outcome for run in fire(alias).runs] == ["sent"]


class Slow(Middleware):
    """Takes its time with each job."""

    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        time.sleep(2.5)
        call_next(job)


@only_servers
@pytest.mark.parametrize("beat_settings", ["database"], indirect=True)
def test_middleware_that_is_slow_may_be(
    alias: str, make_row: MakeRow, beat_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SILENCE_MS", 1000)
    make_row(due=5)
    with override_settings(DJANGO_JOBS=beat_settings | {"MIDDLEWARE": [f"{__name__}.Slow"]}):
        assert [run.outcome for run in fire(alias).runs] == ["sent"]
    assert len(waiting()) == 1
    assert PeriodicTask.objects.using(alias).get().total_runs == 1
