"""Real worker processes for the tests, on every kind of broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings

from django_jobs.brokers import get_broker
from tests.services import named_redis, why_missing

#: Short enough that a test sees a lease run out, long enough that a busy machine does not.
TIMES = {"HEARTBEAT": 0.3, "LEASE": 1.5, "SUSPECT_TIME": 0.6, "GRACE": 20}


def wait_for(condition: Callable[[], Any], *, seconds: float = 20.0, what: str = "") -> Any:
    """Wait until the condition holds, and return what it returned. Fails the test after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain for {what or condition}")
        time.sleep(0.01)


def title_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class Worker:
    """A ``manage.py runworker`` of its own."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text()

    def children(self) -> list[int]:
        """Return the processes that the supervisor has forked, the keeper among them."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def keeper(self) -> int | None:
        """Return the process that says it is the keeper (setproctitle is installed for the tests)."""
        return next((pid for pid in self.children() if "keeper" in title_of(pid)), None)

    def runners(self) -> list[int]:
        """Return the processes that run jobs."""
        return [pid for pid in self.children() if "django-jobs" in title_of(pid) and "keeper" not in title_of(pid)]

    def wait_ready(self, processes: int) -> None:
        wait_for(lambda: len(self.children()) == processes + 1, what="the worker's processes")

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 30.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill_all(self) -> None:
        """End whatever is left of it."""
        children = self.children() if self.process.poll() is None else []
        # The supervisor first: it would replace its children.
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def launch(flags: Sequence[str], environment: Mapping[str, str], log: Path) -> Worker:
    """Start a worker with these flags."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "runworker", "--no-reload", *flags],
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    return Worker(process, log)


@pytest.fixture(params=["redis", "database"])
def jobs_settings(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[dict[str, Any]]:
    """The DJANGO_JOBS of this test and of its workers."""
    given: dict[str, Any] = {"PREFIX": f"t{uuid4().hex[:12]}", "WORKER": TIMES}
    if request.param == "redis":
        url = named_redis().get("redis7") or named_redis().get("redis62")
        if url is None:
            pytest.skip(why_missing("redis7"))
        given["BROKER"] = url
    with override_settings(DJANGO_JOBS=given):
        yield given
        get_broker().close()


@pytest.fixture
def start_worker(
    jobs_settings: dict[str, Any], child_environment: Callable[..., dict[str, str]], tmp_path: Path
) -> Iterator[Callable[..., Worker]]:
    """Return a function that starts a worker with these flags."""
    started: list[Worker] = []

    def start(*flags: str, **changed: Any) -> Worker:
        environment = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps(jobs_settings | changed))
        started.append(launch(("--loglevel", "INFO", *flags), environment, tmp_path / f"worker-{len(started)}.log"))
        return started[-1]

    yield start
    for worker in started:
        worker.kill_all()
    for worker in started:
        if worker.output():
            print(f"--- {worker.log.name}\n{worker.output()}")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A file that jobs write to."""
    path = tmp_path / "ledger"
    path.touch()
    return path
