"""Tasks as Celery's guide has them, and some that tell what they were called with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django_jobs import job
from django_jobs.canvas import Expression
from django_jobs.context import JobContext
from django_jobs.exceptions import WouldDeadlock

#: What tasks were called with, as far as they tell; they run in the process of the test.
heard: list[Any] = []


@job
def add(x: int, y: int, debug: bool = False) -> int:
    return x + y


@job
def mul(x: int, y: int) -> int:
    return x * y


@job
def xsum(numbers: Iterable[int]) -> int:
    return sum(numbers)


@job(throws=(ValueError,))
def fails(*args: Any) -> None:
    raise ValueError("something")


@job
def hear(*args: Any, **kwargs: Any) -> Any:
    """Tell what it was called with."""
    heard.append((*args, kwargs) if kwargs else args)
    return args[0] if args else None


@job(bind=True)
def headers(self: JobContext, *args: Any) -> dict[str, str]:
    return self.request.headers


@job(bind=True)
def family(self: JobContext, *args: Any) -> tuple[str, str | None]:
    return self.request.root_id, self.request.parent_id


@job
def log_error(request: Any, exc: Exception, traceback: str, *more: Any) -> None:
    """Tell of a failure."""
    heard.append((request.id, repr(exc), "ValueError" in traceback, *more))


@job(bind=True)
def replaced(self: JobContext, canvas: Expression) -> Any:
    self.replace(canvas)


@job
def then(value: int, callback: Expression) -> Any:
    """Send a signature that was an argument."""
    return callback.delay(value).id


@job(throws=(WouldDeadlock,))
def waits() -> Any:
    """Wait inside of a job."""
    return add.delay(1, 1).get(timeout=1)


@job(bind=True)
def adds(self: JobContext, *canvases: Expression) -> int:
    """Add members to the group that it is a member of."""
    return len([self.add_to_chord(canvas) for canvas in canvases])


@job(throws=(ValueError,))
def once_broken() -> str:
    """Fail for the first time."""
    if "broken" not in heard:
        heard.append("broken")
        raise ValueError("broken")
    return "mended"
