"""Celery as its page "First steps with Django" sets it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, group

from benchmarks.apps import body
from benchmarks.apps.client import Client, TaskName
from benchmarks.scenario import Scenario

_scenario = Scenario.from_environment()
_results = _scenario.variant.results
_backends = {"none": None, "redis": _scenario.redis_url, "sqlite": "django-db", "postgresql": "django-db"}

app = Celery("benchmarks", broker=_scenario.redis_url, backend=_backends[_results])
app.conf.task_ignore_result = _results == "none"
app.conf.broker_connection_retry_on_startup = True


@app.task(name="noop")
def noop(index: int) -> int:
    return body.noop(index)


@app.task(name="nap")
def nap(index: int) -> int:
    return body.nap(index)


class CeleryClient(Client):
    def __init__(self) -> None:
        self._tasks = {"noop": noop, "nap": nap}

    def sender(self, task: TaskName) -> Callable[[int], Any]:
        send: Callable[[int], Any] = self._tasks[task].delay
        return send

    def enqueue_group(self, task: TaskName, count: int) -> None:
        signature = self._tasks[task].s
        group(signature(index) for index in range(count)).delay()

    def enqueue_later(self, count: int, delay_seconds: int) -> None:
        for index in range(count):
            noop.apply_async((index,), countdown=delay_seconds)

    def get(self, handle: Any, timeout: float) -> Any:
        return handle.get(timeout=timeout)


def make_client() -> CeleryClient:
    return CeleryClient()
