"""Functions that the tests make tasks of, each test with its own options; see the fixture ``task_of``."""

from __future__ import annotations

import asyncio
from typing import Any

from django_jobs.context import JobContext, current_job, current_job_or_none


def add(a: int, b: int = 1) -> int:
    return a + b


def everything(a: int, /, b: int, *rest: int, key: str, other: str = "o", **more: Any) -> None:
    pass


def keyword_only(*, key: int) -> None:
    pass


def anything(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def returns(value: Any) -> Any:
    return value


def run(what: Any) -> Any:
    """Call what a test has put into ``CALLS`` under this name."""
    return CALLS[what]()


async def arun(what: Any) -> Any:
    await asyncio.sleep(0)
    return CALLS[what]()


def bound(self: JobContext, what: Any) -> Any:
    return CALLS[what](self)


def who() -> str | None:
    context = current_job_or_none()
    return None if context is None else context.id


def me() -> str:
    return str(current_job().id)


async def awho() -> str:
    await asyncio.sleep(0)
    return str(current_job().id)


def numbers() -> Any:
    yield 1


async def anumbers() -> Any:
    yield 1


class Holder:
    def method(self, a: int) -> int:
        return a

    @staticmethod
    def static(a: int) -> int:
        return a


CALLS: dict[Any, Any] = {}
