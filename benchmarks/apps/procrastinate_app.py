"""Procrastinate on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import procrastinate

from benchmarks.apps import body
from benchmarks.apps.client import Client, TaskName
from benchmarks.scenario import Scenario

_dsn = Scenario.from_environment().require_postgresql().dsn

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=_dsn))


@app.task(name="noop")
async def noop(index: int) -> int:
    return body.noop(index)


class ProcrastinateClient(Client):
    def __init__(self) -> None:
        app.open()

    def sender(self, task: TaskName) -> Callable[[int], Any]:
        defer = noop.defer

        def send(index: int) -> Any:
            return defer(index=index)

        return send

    def enqueue_many(self, task: TaskName, count: int) -> None:
        for start in range(0, count, 500):
            noop.batch_defer(*({"index": index} for index in range(start, min(start + 500, count))))

    def enqueue_later(self, count: int, delay_seconds: int) -> None:
        raise NotImplementedError("Procrastinate takes part in the rows of the database broker only.")


def make_client() -> ProcrastinateClient:
    return ProcrastinateClient()
