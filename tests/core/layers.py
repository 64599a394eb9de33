"""Middleware for the tests: each notes what passes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django_jobs.envelope import Job
from django_jobs.middleware import Middleware

SEEN: list[str] = []


class Outer(Middleware):
    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        SEEN.append(f"outer enqueue {dict(job.headers)}")
        call_next(job.evolve(headers={**job.headers, "tenant": "acme"}))
        SEEN.append("outer enqueued")

    def run(self, job: Job, call_next: Callable[[Job], Any]) -> Any:
        SEEN.append("outer run")
        try:
            return call_next(job)
        finally:
            SEEN.append("outer ran")

    async def arun(self, job: Job, call_next: Callable[[Job], Awaitable[Any]]) -> Any:
        SEEN.append("outer arun")
        return await call_next(job)


class Inner(Middleware):
    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        SEEN.append(f"inner enqueue {dict(job.headers)}")
        call_next(job)

    def run(self, job: Job, call_next: Callable[[Job], Any]) -> Any:
        SEEN.append("inner run")
        return ("wrapped", call_next(job))

    async def arun(self, job: Job, call_next: Callable[[Job], Awaitable[Any]]) -> Any:
        SEEN.append("inner arun")
        return ("wrapped", await call_next(job))


class Silent(Middleware):
    """Leaves everything as it is."""


class DropsMail(Middleware):
    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        if job.queue != "mail":
            call_next(job)


class Raises(Middleware):
    def run(self, job: Job, call_next: Callable[[Job], Any]) -> Any:
        raise OSError("from the middleware")


class NotOne:
    pass
