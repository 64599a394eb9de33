"""Tasks of our own, which canvases use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from asgiref.sync import async_to_sync

from django_jobs.canvas.maps import XMAP, XSTARMAP
from django_jobs.context import current
from django_jobs.exceptions import UnknownTask
from django_jobs.registry import registry
from django_jobs.task import Task, job


@job(name=XMAP)
def xmap(task: str, it: Iterable[Any]) -> list[Any]:
    """Call a task with each of these arguments, one after the other."""
    return [_call(task, (argument,)) for argument in it]


@job(name=XSTARMAP)
def xstarmap(task: str, it: Iterable[Iterable[Any]]) -> list[Any]:
    """Call a task with each of these tuples of arguments, one after the other."""
    return [_call(task, tuple(arguments)) for arguments in it]


def _call(name: str, args: tuple[Any, ...]) -> Any:
    task = cast("Task[..., Any] | None", registry.get(name))
    if task is None:
        raise UnknownTask(f"No task is called {name!r} in this worker.")
    function = async_to_sync(task.function) if task.is_async else task.function
    return function(current.get(), *args) if task.bind else function(*args)
