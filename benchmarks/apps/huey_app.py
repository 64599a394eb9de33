"""Huey on Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from huey import RedisHuey

from benchmarks.apps import body
from benchmarks.apps.client import Client, TaskName
from benchmarks.scenario import Scenario

_scenario = Scenario.from_environment()
_keeps_results = _scenario.variant.results == "redis"

# notify_result wakes the caller of get(); without it Huey asks again and again.
huey = RedisHuey("benchmarks", url=_scenario.redis_url, results=_keeps_results, notify_result=_keeps_results)


@huey.task()
def noop(index: int) -> int:
    return body.noop(index)


@huey.task()
def nap(index: int) -> int:
    return body.nap(index)


class HueyClient(Client):
    def __init__(self) -> None:
        self._tasks = {"noop": noop, "nap": nap}

    def sender(self, task: TaskName) -> Callable[[int], Any]:
        send: Callable[[int], Any] = self._tasks[task]
        return send

    def enqueue_later(self, count: int, delay_seconds: int) -> None:
        for index in range(count):
            noop.schedule((index,), delay=delay_seconds)

    def get(self, handle: Any, timeout: float) -> Any:
        return handle.get(blocking=True, timeout=timeout)


def make_client() -> HueyClient:
    return HueyClient()
