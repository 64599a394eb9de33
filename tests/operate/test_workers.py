"""``manage.py jobs`` beside real workers: what they say of themselves, and what they do when they are told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_jobs import State, inspection
from django_jobs.brokers import get_broker
from django_jobs.inspection import Worker as Described
from tests.app import jobs
from tests.worker.conftest import Worker, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

Start = Callable[..., Worker]
Run = Callable[..., Any]


def heard_of(name: str) -> Described | None:
    return next((worker for worker in inspection.workers() if worker.name == name), None)


def test_what_a_worker_says_of_itself(start_worker: Start, ledger: Path, tmp_path: Path, jobs_command: Run):
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("-c", "2", "--name", "real", "-q", "default,mail")
    wait_for(lambda: (found := heard_of("real")) and found.running == 1, what="the job in the worker's report")
    described = heard_of("real")
    assert described is not None
    assert (described.pid, described.pool, described.queues) == (worker.pid, "prefork", ("default", "mail"))
    assert (described.concurrency, described.threads, described.quiet) == (2, 1, False)
    assert sorted(child.pid for child in described.children) == sorted(worker.runners())
    (active,) = jobs_command("active", "--json").document
    assert (active["id"], active["task"], active["queue"]) == (running.id, "tests.app.jobs.held", "default")
    assert active["worker"].startswith("real/")
    assert active["since_ms"] is not None
    assert "on real/" in " ".join(inspection.explain(running.id).reasons)
    assert {finding["level"] for finding in jobs_command("doctor", "--json").document} <= {"warning"}
    gate.touch()
    assert running.get(timeout=20) == "released"
    wait_for(lambda: (found := heard_of("real")) and found.running == 0)
    assert worker.stop() == 0
    wait_for(lambda: heard_of("real") is None, what="the worker to be gone")


def test_quiet_then_stop(start_worker: Start, jobs_command: Run):
    worker = start_worker("-c", "1", "--name", "real")
    wait_for(lambda: heard_of("real"))
    assert jobs_command("tell", "real", "quiet", "--yes").code == 0
    wait_for(lambda: (found := heard_of("real")) and found.quiet, what="the worker to say that it is quiet")
    late = jobs.add.delay(1, 2)
    assert "are quiet, and claim nothing any more: real." in " ".join(inspection.explain(late.id).reasons)
    assert "quiet" in {finding["code"] for finding in jobs_command("doctor", "--json").document}
    assert jobs_command("tell", "re*", "stop", "--yes").code == 0
    assert worker.process.wait(20) == 0
    assert late.state == State.PENDING


def test_dump(start_worker: Start, ledger: Path, tmp_path: Path, jobs_command: Run):
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("-c", "1", "--name", "real")
    wait_for(ledger.read_text)
    wait_for(lambda: heard_of("real"))
    assert jobs_command("tell", "real", "dump").code == 0
    wait_for(lambda: "jobs.py" in worker.output() and "in held" in worker.output(), what="the stack of the job")
    gate.touch()
    assert running.get(timeout=20) == "released"


def test_terminating_what_runs(start_worker: Start, ledger: Path, tmp_path: Path, jobs_command: Run):
    running = jobs.held.delay(str(ledger), str(tmp_path / "never"))
    start_worker("-c", "1", "--name", "real")
    wait_for(ledger.read_text)
    answer = jobs_command("revoke", running.id, "--terminate", "--yes")
    assert answer.code == 0
    wait_for(lambda: running.state == State.REVOKED, seconds=30, what="the job to be revoked")
    assert "end" not in ledger.read_text()


def test_an_outage_of_its_worker_is_named(start_worker: Start, ledger: Path, tmp_path: Path, jobs_command: Run):
    running = jobs.held.delay(str(ledger), str(tmp_path / "never"))
    worker = start_worker("-c", "1", "--name", "real")
    wait_for(ledger.read_text)
    wait_for(lambda: heard_of("real"))
    worker.kill_all()
    wait_for(lambda: "silent" in {finding["code"] for finding in jobs_command("doctor", "--json").document})
    assert "Its worker has been silent since" in " ".join(inspection.explain(running.id).reasons)


@pytest.fixture
def manage(
    jobs_settings: dict[str, Any], child_environment: Callable[..., dict[str, str]]
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts ``manage.py jobs`` in a process of its own, without a terminal."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, code: str = "", **changed: Any) -> subprocess.Popen[str]:
        environment = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps(jobs_settings | changed))
        command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "django", "jobs", *arguments]
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


KILLED_PURGE = """
import os, signal, django
django.setup()
from django_jobs import operations
operations.queues.BATCH = 50
write = operations.queues.get_store().__class__.write
def write_twice_then_die(self, records, calls=[], **more):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, records, **more)
operations.queues.get_store().__class__.write = write_twice_then_die
operations.purge("default")
"""


def test_a_purge_that_is_killed_leaves_nothing_unrecorded(
    manage: Callable[..., subprocess.Popen[str]], jobs_command: Run
):
    sent = [jobs.add.delay(number, 1) for number in range(200)]
    killed = manage(code=KILLED_PURGE)
    assert killed.wait(60) == -signal.SIGKILL
    assert 0 < get_broker().counts(["default"])[0].ready < 200
    assert jobs_command("purge", "default", "--yes").code == 0
    assert {handle.state for handle in sent} == {State.REVOKED}
    (counts,) = get_broker().counts(["default"])
    assert (counts.ready, counts.dead) == (0, 0)


def test_exit_codes_and_no_traceback(manage: Callable[..., subprocess.Popen[str]]):
    jobs.add.delay(1, 2)
    expected: list[tuple[list[str], dict[str, Any], int, str]] = [
        (["queues", "--json"], {}, 0, ""),
        (["purge", "default"], {}, 2, "There is no terminal to ask at: pass --yes to do it."),
        (["retry"], {}, 2, "Name jobs by their ids"),
        (["dance"], {}, 2, "invalid choice: 'dance'"),
        (["queues"], {"BROKER": "redis://127.0.0.1:1/0"}, 3, "Redis at 127.0.0.1:1 cannot be reached"),
        (["queues"], {"BROKER": "radis://x"}, 2, "radis"),
        (["doctor"], {}, 1, ""),
    ]
    started = [manage(*arguments, **changed) for arguments, changed, _, _ in expected]
    for process, (arguments, _, code, said) in zip(started, expected, strict=True):
        out, err = process.communicate(timeout=120)
        assert (arguments, process.returncode) == (arguments, code), err
        assert said in err
        assert "Traceback" not in out + err


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_who_has_read_enough_gets_no_traceback(manage: Callable[..., subprocess.Popen[str]], flags: tuple[str, ...]):
    process = manage("queues", *flags)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert (process.wait(60), "Traceback" in said) == (141, False), said
