"""The process that enqueues: ``python -m benchmarks.client ACTION [JSON]`` prints one line of JSON.

Each sample has a fresh one, so that no contender shares a process with another.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import django

from benchmarks.apps.client import Client, TaskName
from benchmarks.scenario import Scenario

DJANGO_PROJECTS = {"django_jobs", "celery"}
# Enqueued before the clock starts, so that connections are open and modules imported.
WARM_UP = 20
# The same for results. Few: a client that polls takes half a second for each.
WARM_UP_RESULTS = 3


def connect() -> Client:
    contender = Scenario.from_environment().variant.contender
    if contender in DJANGO_PROJECTS:
        django.setup()
    app = import_module(f"benchmarks.apps.{contender}_app")
    client: Client = app.make_client()
    return client


def fill(client: Client, *, task: TaskName, count: int) -> None:
    """Put ``count`` jobs into the queue, unmeasured."""
    client.enqueue_many(task, count)


def enqueue(client: Client, *, count: int) -> float:
    """Return the jobs per second of one ``delay()`` after the other."""
    send = client.sender("noop")
    for index in range(WARM_UP):
        send(index)
    start = time.perf_counter()
    for index in range(count):
        send(index)
    return count / (time.perf_counter() - start)


def enqueue_many(client: Client, *, count: int, method: str) -> float:
    """Return the jobs per second of one call of the bulk method."""
    call = getattr(client, method)
    call("noop", WARM_UP)
    start = time.perf_counter()
    call("noop", count)
    return float(count / (time.perf_counter() - start))


def pace(client: Client, *, count: int, per_second: float) -> list[int]:
    """Enqueue at a steady pace with jitter, and return when each call began."""
    send = client.sender("noop")
    jitter = random.Random(count)
    moments = []
    for index in range(count):
        time.sleep(jitter.uniform(0.5, 1.5) / per_second)
        moments.append(time.monotonic_ns())
        send(index)
    return moments


def round_trips(client: Client, *, count: int, per_second: float, seconds: float) -> list[int]:
    """Enqueue, wait for the result, and return how long each took; stop early after ``seconds``."""
    send = client.sender("noop")
    for index in range(WARM_UP_RESULTS):
        client.get(send(index), timeout=30)
    jitter = random.Random(count)
    durations: list[int] = []
    deadline = time.monotonic() + seconds
    for index in range(count):
        time.sleep(jitter.uniform(0.5, 1.5) / per_second)
        start = time.monotonic_ns()
        value = client.get(send(index), timeout=30)
        durations.append(time.monotonic_ns() - start)
        if value != index:
            raise RuntimeError(f"get() returned {value!r} for job {index}.")
        if time.monotonic() > deadline:
            break
    return durations


def enqueue_later(client: Client, *, count: int, delay_seconds: int) -> None:
    client.enqueue_later(count, delay_seconds)


ACTIONS: dict[str, Callable[..., Any]] = {
    action.__name__: action for action in (fill, enqueue, enqueue_many, pace, round_trips, enqueue_later)
}


def main() -> None:
    action, *arguments = sys.argv[1:]
    options = json.loads(arguments[0]) if arguments else {}
    print(json.dumps(ACTIONS[action](connect(), **options)))


if __name__ == "__main__":
    main()
