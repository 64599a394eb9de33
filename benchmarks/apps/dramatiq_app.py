"""Dramatiq on Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.apps import body
from benchmarks.apps.client import Client, TaskName
from benchmarks.scenario import Scenario

_scenario = Scenario.from_environment()
_keeps_results = _scenario.variant.results == "redis"
_options = {"store_results": True} if _keeps_results else {}

broker = RedisBroker(url=_scenario.redis_url)
if _keeps_results:
    broker.add_middleware(Results(backend=RedisBackend(url=_scenario.redis_url)))
dramatiq.set_broker(broker)


@dramatiq.actor(**_options)
def noop(index: int) -> int | None:
    # Without a result store Dramatiq warns about each value that an actor returns.
    value = body.noop(index)
    return value if _keeps_results else None


@dramatiq.actor(**_options)
def nap(index: int) -> int | None:
    value = body.nap(index)
    return value if _keeps_results else None


class DramatiqClient(Client):
    def __init__(self) -> None:
        self._tasks = {"noop": noop, "nap": nap}

    def sender(self, task: TaskName) -> Callable[[int], Any]:
        send: Callable[[int], Any] = self._tasks[task].send
        return send

    def enqueue_later(self, count: int, delay_seconds: int) -> None:
        for index in range(count):
            noop.send_with_options(args=(index,), delay=delay_seconds * 1000)

    def get(self, handle: Any, timeout: float) -> Any:
        return handle.get_result(block=True, timeout=int(timeout * 1000))


def make_client() -> DramatiqClient:
    return DramatiqClient()
