"""django_jobs as a Django project uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.apps.client import Client, TaskName
from benchmarks.apps.site import jobs

TASKS = {"noop": jobs.noop, "nap": jobs.nap, "async_nap": jobs.async_nap}


# A million scheduled jobs are sent in several calls, so that their arguments are not all in memory at once.
BATCH = 10_000


def call(index: int) -> tuple[tuple[int], dict[str, Any]]:
    return (index,), {}


class DjangoJobsClient(Client):
    def sender(self, task: TaskName) -> Callable[[int], Any]:
        return TASKS[task].delay

    def enqueue_many(self, task: TaskName, count: int) -> None:
        TASKS[task].enqueue_many([call(index) for index in range(count)])

    def enqueue_later(self, count: int, delay_seconds: int) -> None:
        for start in range(0, count, BATCH):
            calls = [call(index) for index in range(start, min(start + BATCH, count))]
            jobs.noop.enqueue_many(calls, countdown=delay_seconds)

    def get(self, handle: Any, timeout: float) -> Any:
        return handle.get(timeout=timeout)


def make_client() -> DjangoJobsClient:
    return DjangoJobsClient()
