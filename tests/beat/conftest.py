"""Periodic tasks on every kind of database, with a broker in the same one and with Redis. Rows are committed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import override_settings

from django_jobs import relay
from django_jobs.beat import firing, rows
from django_jobs.beat.firing import Fired
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Found
from django_jobs.models import JobResult, PeriodicRun, PeriodicTask
from django_jobs.models.outbox import OutboxJob
from django_jobs.models.queue import QueuedJob
from django_jobs.states import Place
from tests.services import alias_of, named_redis, why_missing
from tests.worker.conftest import wait_for

DATABASES = ("sqlite", "postgres", "mariadb")
LATE = timedelta(seconds=60)
MakeRow = Callable[..., PeriodicTask]
#: By vendor: what SQL writes into a row that nobody can read then, and what is said of it.
UNREADABLE = {
    "postgresql": ("ends = 'infinity'", "ends is 'infinity'"),
    "mysql": ("created = '0000-00-00 00:00:00'", "created is '0000-00-00 00:00:00.000000'"),
    "sqlite": ("ends = '2026-02-30 10:00:00'", "ends is '2026-02-30 10:00:00'"),
}
#: What refers to others comes before them.
MODELS = (PeriodicRun, PeriodicTask, OutboxJob, QueuedJob, JobResult)


@pytest.fixture(params=DATABASES)
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    found = alias_of(request.param)
    if found is None:
        pytest.skip(why_missing(request.param))
    request.getfixturevalue("django_db_setup")
    with request.getfixturevalue("django_db_blocker").unblock():
        empty(found)
        yield found
        relay.finish(5.0)
        empty(found)
        connections[found].close()


def empty(alias: str) -> None:
    """Delete everything without reading it: a test may have left what no model can read."""
    for model in MODELS:
        model.objects.using(alias).all()._raw_delete(alias)


@pytest.fixture(params=["database", "redis"])
def beat_settings(request: pytest.FixtureRequest, alias: str) -> Iterator[dict[str, Any]]:
    """The DJANGO_JOBS of this test: the broker is in the database of the periodic tasks, or is Redis."""
    given: dict[str, Any] = {"PREFIX": f"t{uuid4().hex[:12]}", "DATABASE": alias, "BROKER": f"database://{alias}"}
    if request.param == "redis":
        url = named_redis().get("redis7") or named_redis().get("redis62")
        if url is None:
            pytest.skip(why_missing("redis7"))
        given["BROKER"] = url
    with override_settings(DJANGO_JOBS=given):
        yield given
        relay.finish(5.0)
        get_broker().close()


@pytest.fixture
def make_row(alias: str) -> MakeRow:
    """Return a function that makes a row which is due since some seconds."""

    def make(name: str = "row", *, due: float = 0.0, **fields: Any) -> PeriodicTask:
        moment = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=due)
        values = {"task": "tests.app.jobs.nothing", "schedule": "every hour", "created": moment - timedelta(hours=1)}
        values |= fields
        row = PeriodicTask(name=name, **values)
        row.next_run = moment
        row.planned_schedule, row.planned_timezone, row.planned_enabled = row.schedule, row.timezone, row.enabled
        row.planned_starts, row.planned_ends = row.starts, row.ends
        row.save(using=alias)
        return row

    return make


def fire(alias: str) -> Fired:
    """Fire what is due right now."""
    outlook = rows.look(alias)
    return firing.fire_due(alias, outlook.now, late=LATE) if outlook else Fired(0, ())


def runs_of(alias: str, **conditions: Any) -> list[PeriodicRun]:
    return list(PeriodicRun.objects.using(alias).filter(**conditions).order_by("due", "id"))


def waiting(queue: str = "default") -> list[Found]:
    """Return what the broker has, in the order in which it will be claimed, when all that was sent has got there."""
    assert relay.finish(10.0)
    broker = get_broker()
    return [found for place in (Place.READY, Place.SCHEDULED) for found in broker.peek(queue, place, limit=10_000)]


class Process:
    """A beat, or whatever runs some, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, *, seconds: float = 20.0) -> None:
        wait_for(lambda: text in self.output(), seconds=seconds, what=f"{text!r} in its output")

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 20.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)


@pytest.fixture
def start(
    beat_settings: dict[str, Any], child_environment: Callable[..., dict[str, str]], tmp_path: Path
) -> Iterator[Callable[..., Process]]:
    """Return a function that starts ``python -m ...`` in this project."""
    started: list[Process] = []

    def begin(*words: str, environment: Mapping[str, str] | None = None, **changed: Any) -> Process:
        log = tmp_path / f"process-{len(started)}.log"
        given = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps(beat_settings | changed), **(environment or {}))
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *words], env=given, stdout=output, stderr=subprocess.STDOUT, text=True,
                cwd=Path(__file__).parents[2],
            )  # fmt: skip
        started.append(Process(process, log))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(10)
        print(f"--- {each.log.name}\n{each.output()}")


@pytest.fixture
def start_beat(start: Callable[..., Process]) -> Callable[..., Process]:
    """Return a function that starts ``manage.py runbeat``, and comes back when it runs."""

    def begin(*flags: str, **changed: Any) -> Process:
        beat = start("django", "runbeat", "--loglevel", "INFO", *flags, **changed)
        beat.wait_for("  stop      Ctrl-C")
        return beat

    return begin


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask for all databases once: pytest-django makes those that some test of the run is marked with."""
    for item in items:
        if "alias" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.django_db(transaction=True, databases="__all__"))
            break
