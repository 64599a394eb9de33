"""Beat as a process: its signals, what it leaves behind, and what goes away under it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.db import OperationalError, connections, transaction
from django.test import override_settings

from django_jobs.beat import beat as beat_module
from django_jobs.beat import rows
from django_jobs.beat.beat import Beat
from django_jobs.brokers import get_broker
from django_jobs.celery_names import BEAT_FLAGS
from django_jobs.envelope import decode
from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.models.outbox import OutboxJob
from django_jobs.states import Place
from tests.beat.conftest import MakeRow, Process, runs_of, waiting
from tests.beat.storm import Storm
from tests.services import ServiceError, private_postgres, private_redis
from tests.worker.conftest import title_of, wait_for

only_database = pytest.mark.parametrize("beat_settings", ["database"], indirect=True)
only_redis = pytest.mark.parametrize("beat_settings", ["redis"], indirect=True)
only_sqlite = pytest.mark.parametrize("alias", ["sqlite"], indirect=True)
StartBeat = Callable[..., Process]


# The command


def test_it_fires_and_stops_in_order(alias: str, make_row: MakeRow, start_beat: StartBeat, tmp_path: Path) -> None:
    make_row(schedule="every second", due=-1)
    pidfile = tmp_path / "beat.pid"
    beat = start_beat("--pidfile", str(pidfile), "--name", "berta")
    wait_for(lambda: pidfile.exists() and pidfile.read_text() == f"{beat.pid}\n", what="its file")
    assert "django_jobs beat berta\n" in beat.output()
    wait_for(lambda: len(runs_of(alias)) >= 3, what="three runs")
    began = time.monotonic()
    assert beat.stop() == 0
    assert time.monotonic() - began < 10
    assert not pidfile.exists()
    assert sorted(found.id for found in waiting()) == sorted(str(run.job_id) for run in runs_of(alias))


@only_database
@only_sqlite
def test_ctrl_c_stops_it_too(start_beat: StartBeat) -> None:
    assert start_beat().stop(signal.SIGINT) == 0


@only_database
@only_sqlite
def test_a_second_signal_ends_it_at_once(alias: str, make_row: MakeRow, start_beat: StartBeat, tmp_path: Path) -> None:
    pidfile = tmp_path / "beat.pid"
    beat = start_beat("--pidfile", str(pidfile))
    with transaction.atomic(alias), connections[alias].cursor() as cursor:
        cursor.execute("UPDATE django_jobs_periodictask SET name = name WHERE 0 = 1")  # the write lock is ours
        PeriodicTask.objects.using(alias).create(name="row", task="tests.app.jobs.nothing", schedule="every second")
        beat.process.send_signal(signal.SIGTERM)
        beat.process.send_signal(signal.SIGTERM)
        code = beat.process.wait(10)
    # Two signals that come together may be one.
    assert code in (0, 1)
    assert not pidfile.exists()


@only_database
@only_sqlite
def test_it_has_the_rows_follow_the_code(alias: str, start_beat: StartBeat) -> None:
    declared = {"nightly": {"task": "tests.app.jobs.nothing", "schedule": "0 3 * * *"}}
    beat = start_beat("--no-sync", SCHEDULE=declared)
    assert not PeriodicTask.objects.using(alias).exists()
    assert beat.stop() == 0
    beat = start_beat(SCHEDULE=declared)
    assert "  schedule  nightly: created\n" in beat.output()
    assert PeriodicTask.objects.using(alias).get().name == "nightly"
    assert beat.stop() == 0


def refused(environment: Mapping[str, str], *flags: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "django", "runbeat", *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert not done.stdout
    return done.returncode, done.stderr.splitlines()


def project(directory: Path, environment: dict[str, str], *lines: str) -> dict[str, str]:
    """Return the environment of a project with these lines in its settings."""
    (directory / "beat_project.py").write_text("\n".join(["from tests.settings import *", *lines]))
    path = os.pathsep.join([str(directory), environment["PYTHONPATH"]])
    return environment | {"DJANGO_SETTINGS_MODULE": "beat_project", "PYTHONPATH": path}


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        (["DATABASES['default'] = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'DIRECTORY/empty.sqlite3'}"], 3,
         "CommandError: The tables of the periodic tasks are missing in the database 'default', or are not up to"),
        (["DATABASES['default'] = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'DIRECTORY/no/such.sqlite3'}"], 3,
         "CommandError: The database 'default', which has the periodic tasks, cannot be used: unable to open"),
        (["DJANGO_JOBS['BROKER'] = 'redis://localhost:1'",
          "DJANGO_JOBS['RESULTS'] = {'STORE': 'django_jobs.testing.store.MemoryStore'}"], 2,
         "CommandError: outbox=True keeps jobs where results are kept; MemoryStore does not do that."),
    ],
)  # fmt: skip
def test_where_it_cannot_work_it_says_so_in_a_sentence(
    child_environment: Callable[..., dict[str, str]], tmp_path: Path, lines: list[str], code: int, said: str
) -> None:
    environment = project(tmp_path, child_environment(), *(line.replace("DIRECTORY", str(tmp_path)) for line in lines))
    returned, (line,) = refused(environment)
    assert returned == code
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("flags", "hints"),
    [
        *((f"{flag} x", [f"runbeat has no {flag}: {hint}."]) for flag, hint in BEAT_FLAGS.items()),
        ("--no-sink", ["runbeat has no --no-sink. Did you mean '--no-sync'?"]),
    ],
)
def test_flags_of_celery_beat_are_answered(flags: str, hints: list[str]) -> None:
    command: Any = load_command_class("django_jobs", "runbeat")
    with pytest.raises(CommandError, match=re.escape(hints[0])):
        command.create_parser("manage.py", "runbeat").parse_args(flags.split())


@pytest.mark.parametrize("flags", [["--pool", "solo"], ["--pool", "threads"], ["--burst"]])
def test_a_worker_without_a_family_has_no_beat(flags: list[str]) -> None:
    with pytest.raises(CommandError, match=r"^--beat does not go together with .+: start runbeat beside it"):
        call_command("runworker", "--beat", "--no-reload", *flags)


# What goes away


@only_redis
@only_sqlite
def test_a_broker_that_is_away_delays_no_run_and_loses_none(
    alias: str, start: StartBeat, beat_settings: dict[str, Any], tmp_path: Path
) -> None:
    """Two beats fire while Redis is away, and afterwards it has all jobs, in the order of their moments."""
    try:
        server = private_redis(tmp_path).start()
    except ServiceError as error:
        pytest.skip(str(error))
    with server, override_settings(DJANGO_JOBS=beat_settings | {"BROKER": server.url}):
        server.stop()
        storm = Storm.prepare(alias, per_second=20, seconds=5)
        start("tests.beat.storm", "2", "0", BROKER=server.url).wait_for("ready")
        wait_for(storm.is_over, seconds=60, what="the end of the moments")
        assert storm.mistakes() == []
        assert OutboxJob.objects.using(alias).filter(relays=0).count() == 100
        assert storm.lateness()[-1] < 5
        server.start()
        wait_for(lambda: not OutboxJob.objects.using(alias).filter(relays=0).exists(), seconds=60, what="the relay")
        found = get_broker().peek("default", Place.READY, limit=1000)
        moments = [decode(each.body, job_id=each.id, queue="default").headers["scheduled_for"] for each in found]
        assert len(moments) == 100
        assert moments == sorted(moments)
        get_broker().close()


@pytest.mark.usefixtures("beat_settings")
@only_database
@only_sqlite
def test_a_database_that_is_away_is_said_once_and_waited_for(
    alias: str, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_row()
    beat = Beat()

    def away(alias: str) -> None:
        raise OperationalError("the server has gone")

    with monkeypatch.context() as patch:
        patch.setattr(rows, "look", away)
        for _ in range(3):
            assert 0 < beat._tick() <= 1
    assert beat._tick() == 0
    said = [record.getMessage() for record in caplog.records if "can" in record.getMessage()]
    assert said[0].endswith("which has the periodic tasks, cannot be used: the server has gone")
    assert "can be used again" in said[1]
    assert len(said) == 2
    assert len(runs_of(alias)) == 1


@pytest.mark.usefixtures("beat_settings")
@only_database
@only_sqlite
def test_it_goes_on_after_an_error_of_its_own(
    alias: str, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beat = Beat()

    def broken(alias: str) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(rows, "look", broken)
        assert beat._tick() == beat_module.LONGEST_SLEEP
    assert "Beat has an error of its own, and goes on" in caplog.text
    make_row()
    assert beat._tick() == 0


@pytest.mark.chaos
def test_a_database_that_is_restarted(
    child_environment: Callable[..., dict[str, str]], tmp_path: Path, reachable_path: Path
) -> None:
    try:
        server = private_postgres(reachable_path)
    except ServiceError as error:  # there is none; one that is there and does not start is an error
        pytest.skip(f"NOT TESTED on postgres: {error}")
    with server:
        lines = [
            f"DATABASES = {{'default': server(ENGINES['postgres'], {server.url!r})}}",
            "DJANGO_JOBS = {'SCHEDULE': {'tick': {'task': 'tests.app.jobs.nothing', 'schedule': 'every second'}}}",
        ]
        environment = project(tmp_path, child_environment(DJANGO_JOBS_TEST_NAMES="{}"), *lines)
        subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=environment, check=True, timeout=120)
        log = tmp_path / "log"
        with log.open("w") as output:
            beat = subprocess.Popen([sys.executable, "-m", "django", "runbeat"], env=environment, stderr=output)

        def runs() -> int:
            with suppress(psycopg.Error), psycopg.connect(server.url) as connection:
                row = connection.execute("SELECT COUNT(*) FROM django_jobs_periodicrun").fetchone()
                return int(row[0]) if row else 0
            return 0

        try:
            wait_for(lambda: runs() >= 2, seconds=40, what="two runs")
            server.kill()
            wait_for(lambda: "cannot be used" in log.read_text(), what="a word about the database")
            before_restart = log.read_text().count("cannot be used")
            time.sleep(2)
            server.start()
            before = runs()
            wait_for(lambda: runs() >= before + 2, seconds=40, what="two more runs")
            assert before_restart == log.read_text().count("cannot be used") == 1
            assert "can be used again after" in log.read_text()
        finally:
            beat.terminate()
            assert beat.wait(20) == 0


# In the family of a worker


@only_sqlite
def test_a_worker_with_beat(alias: str, make_row: MakeRow, start: StartBeat) -> None:
    def children() -> dict[str, int]:
        text = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text()
        titles = {title_of(int(pid)).rstrip("\0"): int(pid) for pid in text.split()}
        return {title.split(" ")[-1]: pid for title, pid in titles.items()}

    make_row(schedule="every second", due=-1)
    worker = start("django", "runworker", "--loglevel", "INFO", "--no-reload", "-c", "1", "-B")
    worker.wait_for("  schedule  as declared")
    assert f"  beat      1 periodic, 1 of them enabled, in the database {alias!r}\n" in worker.output()
    wait_for(lambda: "succeeded" in worker.output(), what="a periodic job that ran")
    first = wait_for(lambda: children().get("beat"), what="beat")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: children().get("beat") not in (None, first), what="another beat")
    assert "The beat died (killed by SIGKILL): it is replaced" in worker.output()
    before = len(runs_of(alias))
    wait_for(lambda: len(runs_of(alias)) > before + 1, what="more runs")
    second = children()["beat"]
    assert worker.stop() == 0
    assert "The beat died (exit code 0)" not in worker.output()
    assert "Beat has stopped" in worker.output()
    wait_for(lambda: not title_of(second), what="the end of beat")


@only_database
@only_sqlite
def test_a_killed_worker_takes_its_beat_along(start: StartBeat) -> None:
    worker = start("django", "runworker", "--no-reload", "-c", "1", "--beat")

    def beat() -> int | None:
        text = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text()
        return next((int(pid) for pid in text.split() if title_of(int(pid)).rstrip("\0").endswith(" beat")), None)

    pid = wait_for(beat, what="beat")
    worker.process.kill()
    wait_for(lambda: not title_of(pid), what="its end")


# A storm


def weather(start: StartBeat, alias: str, *, beats: int, per_second: int, seconds: int) -> Storm:
    storm = Storm.prepare(alias, per_second=per_second, seconds=seconds)
    process = start("tests.beat.storm", str(beats), "0.25")
    process.wait_for("ready")
    wait_for(storm.is_over, seconds=90 + seconds, what="the end of the moments")
    assert process.stop() == 0
    return storm


@pytest.mark.chaos
@only_database
@pytest.mark.parametrize(
    ("alias", "beats", "per_second"), [("sqlite", 3, 20), ("postgres", 5, 60), ("mariadb", 5, 40)], indirect=["alias"]
)
def test_killing_beats_all_the_time_misses_nothing_and_doubles_nothing(
    alias: str, start: StartBeat, beats: int, per_second: int
) -> None:
    assert weather(start, alias, beats=beats, per_second=per_second, seconds=6).mistakes() == []


def test_the_ledger_of_a_storm_sees_what_is_wrong(alias: str) -> None:
    storm = Storm.prepare(alias, per_second=1, seconds=2)
    assert storm.mistakes() == [f"row 0 {storm.start + timedelta(seconds=second)}: missing" for second in range(2)]
    row = PeriodicTask.objects.using(alias).get()
    PeriodicRun.objects.using(alias).create(
        periodic_task=row, due=storm.start, fired=datetime.now(UTC), outcome="missed", lateness=timedelta(0), missed=3
    )
    assert len(storm.mistakes()) == 3
