"""
Callables around sending and running, nested the way Django nests its middleware.

``DJANGO_JOBS["MIDDLEWARE"]`` names classes, outermost first. One instance of each is made per process, on first use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_jobs.conf import SETTING, settings
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsConfigurationError


class Middleware:
    """
    The base of a middleware: override what you need, and call ``call_next``.

    ``enqueue`` runs in the sender when delay() is called, also inside a transaction (not at its commit); it may pass on
    a changed job (``job.evolve(headers={**job.headers, "request_id": ...})``), or none: then nothing is sent. ``run``
    wraps the function of every ``def`` task, ``arun`` that of every ``async def`` task; what they return is the result
    of the job, and what they raise is its error.
    """

    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        """Wrap the sending of a job."""
        call_next(job)

    def run(self, job: Job, call_next: Callable[[Job], Any]) -> Any:
        """Wrap the running of a job."""
        return call_next(job)

    async def arun(self, job: Job, call_next: Callable[[Job], Awaitable[Any]]) -> Any:
        """Wrap the running of a job of an ``async def`` task."""
        return await call_next(job)


_loaded: tuple[Middleware, ...] | None = None


def loaded() -> tuple[Middleware, ...]:
    """Return the project's middleware, outermost first. Raises JobsConfigurationError."""
    global _loaded
    if _loaded is None:
        _loaded = tuple(load(path) for path in settings.top["MIDDLEWARE"])
    return _loaded


def load(path: str) -> Middleware:
    """Make the middleware that a dotted path names. Raises JobsConfigurationError."""
    try:
        cls = import_string(path)
    except ImportError as error:
        raise JobsConfigurationError(f"The middleware {path!r} cannot be imported: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, Middleware)):
        raise JobsConfigurationError(
            f"The middleware {path!r} must be a subclass of django_jobs.middleware.Middleware."
        )
    return cls()


def around_enqueue(innermost: Callable[[Job], None]) -> Callable[[Job], None]:
    """Nest the project's middleware around sending."""
    call = innermost
    for layer in reversed(loaded()):
        call = partial(_enqueue, layer, call)
    return call


def _enqueue(layer: Middleware, call_next: Callable[[Job], None], job: Job) -> None:
    layer.enqueue(job, call_next)


def around_run(innermost: Callable[[Job], Any]) -> Callable[[Job], Any]:
    """Nest the project's middleware around a function."""
    call = innermost
    for layer in reversed(loaded()):
        call = partial(_run, layer, call)
    return call


def _run(layer: Middleware, call_next: Callable[[Job], Any], job: Job) -> Any:
    return layer.run(job, call_next)


def around_arun(innermost: Callable[[Job], Awaitable[Any]]) -> Callable[[Job], Awaitable[Any]]:
    """Nest the project's middleware around a coroutine function."""
    call = innermost
    for layer in reversed(loaded()):
        call = partial(_arun, layer, call)
    return call


def _arun(layer: Middleware, call_next: Callable[[Job], Awaitable[Any]], job: Job) -> Awaitable[Any]:
    return layer.arun(job, call_next)


def _forget(*, setting: str, **kwargs: Any) -> None:
    global _loaded
    if setting == SETTING:
        _loaded = None


setting_changed.connect(_forget, dispatch_uid="django_jobs.middleware")
