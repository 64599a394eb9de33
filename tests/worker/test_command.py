"""The command ``runworker``: its flags, its signals from the first moment on, and what it leaves behind."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class
from pytest_django import Settings

from django_jobs import State
from django_jobs.brokers import get_broker
from django_jobs.celery_names import FLAGS
from django_jobs.management import service
from django_jobs.management.commands.runworker import start_screen
from django_jobs.management.service import configure_logging
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.pidfile import PidFile
from tests.app import jobs
from tests.worker.conftest import Worker, wait_for

Start = Callable[..., Worker]
only_redis = pytest.mark.parametrize("jobs_settings", ["redis"], indirect=True)
every_kind = pytest.mark.parametrize("pool", ["prefork", "solo"])


# Flags


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--grace", "-1"), ("--grace", "nan"), ("--grace", "inf"), ("--grace", "1e+30"), ("--max-jobs-per-child", "-1"),
     ("--max-memory-per-child", "-5"), ("--threads", "0"), ("--concurrency", "-2")],
)  # fmt: skip
def test_a_number_that_cannot_be_is_an_error_of_use(flag: str, value: str) -> None:
    with pytest.raises(CommandError, match=f"^{flag} must be [01] or more, not {re.escape(value)}") as caught:
        call_command("runworker", f"{flag}={value}", "--no-reload")
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("flags", "hints"),
    [
        *((f"{flag} x", [f"runworker has no {flag}: {hint}."]) for flag, hint in FLAGS.items()),
        ("--autoscale=3,1", ["runworker has no --autoscale: processes are cheap here"]),
        ("-A proj -linfo -Ofair", ["runworker has no -A: ", "runworker has no -l: ", "runworker has no -O: "]),
        ("--pool gevent", ["there is no pool gevent: many jobs that wait at once are async def tasks here"]),
        ("--pool=eventlet", ["there is no pool eventlet: many jobs that wait at once are async def tasks here"]),
        ("--pool processes", ["there is no pool processes: it is prefork here"]),
        ("--pool thread", ["invalid choice: 'thread' (choose from"]),
        ("--concurency 3", ["runworker has no --concurency. Did you mean '--concurrency'?"]),
        ("--quques=mail", ["runworker has no --quques. Did you mean '--queues'?"]),
        ("--max-mem 3", ["runworker has no --max-mem. Did you mean '--max-memory-per-child'?"]),
        ("--max 3", ["Did you mean '--max-jobs-per-child' or '--max-memory-per-child'?"]),
    ],
)
def test_a_wrong_flag_is_answered_before_anything_else(
    flags: str, hints: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag of Celery's, a misspelt one, and one that was not written out."""
    command: Any = load_command_class("django_jobs", "runworker")
    command._called_from_command_line = True
    with pytest.raises(SystemExit) as caught:
        command.create_parser("manage.py", "runworker").parse_args(flags.split())
    said = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2
    assert said[0].startswith("manage.py runworker: error: ")
    for line, hint in zip(said[len(said) - 1 - len(hints) :], hints, strict=False):
        assert hint in line
    assert said[-1] == "manage.py runworker --help lists every flag."
    with pytest.raises(CommandError, match=re.escape(hints[0])):
        call_command("runworker", *flags.split())


@pytest.mark.parametrize(
    ("changed", "runs"),
    [
        ({}, "1 process, 1 thread, 100 async jobs"),
        ({"concurrency": 2, "async_concurrency": 1}, "2 processes, 1 thread each, 1 async job each"),
        ({"concurrency": 2, "threads": 3}, "2 processes, 3 threads each, 100 async jobs each"),
        ({"pool": "threads"}, "1 process, 1 thread, 100 async jobs"),
        ({"pool": "solo"}, "1 process, one job at a time, 100 async jobs"),
    ],
)
def test_the_start_screen_counts_in_english(changed: dict[str, Any], runs: str) -> None:
    config = WorkerConfig(name="w", **changed)
    assert f"  runs      {runs}\n" in start_screen(get_broker(), config, [("default", 1)])


# Logging


@pytest.fixture(autouse=True)
def ours() -> Iterator[logging.Logger]:
    """The logger that a worker in this process configures, put back afterwards."""
    logger = logging.getLogger("django_jobs")
    before = logger.level
    yield logger
    logger.setLevel(before)


@pytest.mark.parametrize(
    ("of_project", "flag", "debug", "found"),
    [
        (logging.NOTSET, None, False, logging.WARNING),
        (logging.NOTSET, None, True, logging.INFO),
        (logging.ERROR, None, True, logging.ERROR),
        (logging.DEBUG, None, False, logging.DEBUG),
        (logging.ERROR, "INFO", False, logging.INFO),
    ],
)
def test_the_level_of_the_project_is_kept_unless_a_flag_names_one(
    ours: logging.Logger, settings: Settings, of_project: int, flag: str | None, debug: bool, found: int
) -> None:
    settings.DEBUG = debug
    ours.setLevel(of_project)
    configure_logging(flag)
    assert ours.level == found


# The pidfile


def test_a_pidfile_is_left_to_whoever_has_written_it_last(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    pidfile = PidFile(path)
    pidfile.remove()
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"
    path.write_text("1\n")
    pidfile.remove()
    assert path.exists()
    pidfile.write()
    pidfile.remove()
    assert not path.exists()


def test_a_signal_right_after_it_was_written_leaves_no_pidfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "worker.pid"
    write_text = Path.write_text

    def write_and_end(self: Path, *args: Any, **kwargs: Any) -> None:
        write_text(self, *args, **kwargs)
        raise SystemExit(0)

    monkeypatch.setattr(Path, "write_text", write_and_end)
    with pytest.raises(SystemExit), service.pidfile(path):
        pytest.fail("it has ended before that")
    assert not path.exists()


def test_the_first_signal_before_a_service_answers_is_the_last_that_ends_it() -> None:
    code = """
import os, signal, time
from django_jobs.management.service import ServiceCommand

class Command(ServiceCommand):
    def execute(self, *args, **options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            print("cleaned", flush=True)

Command().run_from_argv(["manage.py", "command"])
"""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert (done.returncode, done.stdout) == (0, "cleaned\n"), done.stderr


@pytest.mark.django_db(transaction=True)
@only_redis
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize("times", [1, 2])
def test_the_pidfile_goes_with_the_worker(
    start_worker: Start, ledger: Path, tmp_path: Path, pool: str, times: int
) -> None:
    path, gate = tmp_path / "pid", tmp_path / "gate"
    jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("--pool", pool, "--pidfile", str(path))
    wait_for(ledger.read_text)
    assert path.read_text() == f"{worker.pid}\n"
    if times == 1:
        gate.touch()
    worker.process.send_signal(signal.SIGTERM)
    if times == 2:  # two that come at once are one
        wait_for(lambda: ended_after(worker, signal.SIGTERM))
    assert worker.process.wait(20) == times - 1
    assert not path.exists()


def ended_after(worker: Worker, number: int) -> bool:
    worker.process.send_signal(number)
    time.sleep(0.05)
    return worker.process.poll() is not None


def test_a_pidfile_that_cannot_be_written_is_an_error_of_use(tmp_path: Path, start_of: Callable[..., Any]) -> None:
    done = start_of("--pidfile", str(tmp_path / "nowhere" / "pid"))
    assert done.wait(20) == 2


# Signals


@pytest.fixture
def start_of(
    child_environment: Callable[..., dict[str, str]], db: None
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts a worker on a broker of this URL, whatever becomes of it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*flags: str, broker: str = "database://default") -> subprocess.Popen[bytes]:
        environment = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps({"BROKER": broker, "ENQUEUE_TIMEOUT": 60}))
        command = [sys.executable, "-m", "django", "runworker", "--no-reload", "--skip-checks", *flags]
        started.append(subprocess.Popen(command, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)


@every_kind
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_still_starting_obeys(
    start_of: Callable[..., subprocess.Popen[bytes]], pool: str, number: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        worker = start_of("--pool", pool, broker=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        silent.settimeout(20)
        connection, _ = silent.accept()
        with connection:
            worker.send_signal(number)
            assert worker.wait(20) == 0


@pytest.mark.django_db(transaction=True)
@only_redis
def test_a_process_that_is_replaced_stays_quiet(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("-c", "1")
    wait_for(ledger.read_text)
    worker.process.send_signal(signal.SIGTSTP)
    (before,) = wait_for(worker.runners)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: worker.runners() not in ([], [before]))
    late = jobs.add.delay(1, 2)
    wait_for(lambda: get_broker().counts(["default"])[0].in_flight == 0, what="the job of the dead process")
    other = start_worker("-c", "1")
    gate.touch()
    assert late.get(timeout=20) == 3
    assert running.get(timeout=20) == "released"
    other_pids = {str(pid) for pid in other.runners()}
    assert ledger.read_text().splitlines()[-1].split()[2] in other_pids
    assert worker.stop() == 0


# The watcher of --reload


@pytest.mark.django_db(transaction=True)
@only_redis
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_watcher_passes_a_signal_on_and_ends_like_its_worker(
    start_worker: Start, ledger: Path, tmp_path: Path, number: int
) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    watcher = start_worker("-c", "1", "--reload")
    wait_for(ledger.read_text)
    (worker,) = watcher.children()
    assert os.getsid(worker) == worker, "Ctrl-C must not come to it twice"
    watcher.process.send_signal(number)
    wait_for(lambda: "Stopping: running jobs" in watcher.output())
    gate.touch()
    assert watcher.process.wait(20) == 0
    assert running.state == State.SUCCESS
    wait_for(lambda: not Path(f"/proc/{worker}").exists())


@pytest.mark.django_db(transaction=True)
@only_redis
def test_a_second_signal_to_the_watcher_hands_back(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    jobs.held.delay(str(ledger), str(tmp_path / "gate"))
    watcher = start_worker("-c", "1", "--reload")
    wait_for(ledger.read_text)
    watcher.process.send_signal(signal.SIGINT)
    wait_for(lambda: "Stopping: running jobs" in watcher.output())
    watcher.process.send_signal(signal.SIGINT)
    assert watcher.process.wait(20) == 1
    assert get_broker().counts(["default"])[0].ready == 1


@pytest.mark.django_db(transaction=True)
@only_redis
def test_the_watcher_names_the_file_that_has_changed(
    start_worker: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "bakery" / "jobs.py"
    module.parent.mkdir()
    module.write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    watcher = start_worker("-c", "1", "--reload", AUTODISCOVER=["jobs", "bakery.jobs"])
    wait_for(lambda: watcher.output().count("django_jobs worker ") == 1, what="the worker")

    def named() -> bool:
        # Again and again: the first change may come before the watcher has looked for the first time.
        os.utime(module)
        return f"INFO {watcher.pid} {module} changed: starting anew" in watcher.output()

    wait_for(named, what="the name of the file")
    wait_for(lambda: watcher.output().count("django_jobs worker ") >= 2, what="the worker of the changed code")
    assert watcher.stop() == 0


@pytest.mark.django_db(transaction=True)
@only_redis
def test_a_worker_does_not_outlive_its_watcher(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    jobs.held.delay(str(ledger), str(tmp_path / "gate"))
    watcher = start_worker("-c", "1", "--reload")
    wait_for(ledger.read_text)
    (worker,) = watcher.children()
    watcher.process.kill()
    wait_for(lambda: not Path(f"/proc/{worker}").exists())
