"""The jobs that were enqueued, as a list, and what a test says about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack, overload

from django_jobs.brokers.base import Message
from django_jobs.envelope import decode
from django_jobs.registry import RegisteredTask, registry
from django_jobs.testing.captured import EnqueuedJob


class Like(TypedDict, total=False):
    """What a job is like; what is not given does not matter."""

    #: All positional arguments, as they were passed.
    args: Sequence[Any] | None
    #: Some of the arguments, by name, however they were passed.
    kwargs: Mapping[str, Any] | None
    queue: str | None
    priority: int | None


class EnqueuedJobs(Sequence[EnqueuedJob]):
    """Every job that was enqueued, in order: ``len(jobs)``, ``jobs[0].args``, ``for job in jobs``."""

    def __init__(self) -> None:
        self._enqueued: list[EnqueuedJob] = []

    @overload
    def __getitem__(self, index: int) -> EnqueuedJob: ...
    @overload
    def __getitem__(self, index: slice) -> list[EnqueuedJob]: ...
    def __getitem__(self, index: int | slice) -> EnqueuedJob | list[EnqueuedJob]:
        return self._enqueued[index]

    def __len__(self) -> int:
        return len(self._enqueued)

    def __iter__(self) -> Iterator[EnqueuedJob]:
        return iter(list(self._enqueued))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._enqueued!r}>"

    def capture(self, messages: Iterable[Message]) -> None:
        """Take note of what a broker has taken."""
        self._enqueued += [EnqueuedJob(decode(sent.body, job_id=sent.id, queue=sent.queue)) for sent in messages]

    def find(self, task: RegisteredTask | str | None = None, **like: Unpack[Like]) -> list[EnqueuedJob]:
        """Return the jobs of a task (or of the task with this name) that are like this, in order."""
        return [job for job in self._enqueued if (task is None or _is_of(job, task)) and _is_like(job, **like)]

    def assert_enqueued(
        self, task: RegisteredTask | str | None = None, *, count: int | None = None, **like: Unpack[Like]
    ) -> list[EnqueuedJob]:
        """
        Assert that a job of this task was enqueued; with ``count``, exactly so many times. Return those that were.

        ``args``: all positional arguments, as they were passed. ``kwargs``: some of the arguments by name, however they
        were passed. Raises AssertionError that lists what was enqueued.
        """
        __tracebackhide__ = True
        found = self.find(task, **like)
        if len(found) == count or (count is None and found):
            return found
        times = "" if count is None else f" {count} times"
        raise AssertionError(
            f"Expected {_described(task, like)} to be enqueued{times}; it was {len(found)} times.\n{self._listed()}"
        )

    def assert_not_enqueued(self, task: RegisteredTask | str | None = None, **like: Unpack[Like]) -> None:
        """Assert that no job like this was enqueued; without any argument: none at all. As ``assert_enqueued``."""
        __tracebackhide__ = True
        if self.find(task, **like):
            raise AssertionError(f"Expected {_described(task, like)} not to be enqueued.\n{self._listed()}")

    def _listed(self) -> str:
        return "\n".join(["Enqueued:", *(f"  {job}" for job in self._enqueued or ("nothing",))])


def _is_of(job: EnqueuedJob, task: RegisteredTask | str) -> bool:
    """Say whether a job is of a task; aliases of a task mean the task."""
    name = task if isinstance(task, str) else task.name
    return registry[name] is registry.get(job.task) if name in registry else name == job.task


def _is_like(
    job: EnqueuedJob,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
    priority: int | None = None,
) -> bool:
    if (queue is not None and job.queue != queue) or (priority is not None and job.priority != priority):
        return False
    if args is not None and job.args != tuple(args):
        return False
    if kwargs is None:
        return True
    arguments = job.arguments
    return all(name in arguments and arguments[name] == value for name, value in kwargs.items())


def _described(task: RegisteredTask | str | None, like: Mapping[str, Any]) -> str:
    name = "a job" if task is None else task if isinstance(task, str) else task.name
    given = ", ".join(f"{key}={value!r}" for key, value in like.items() if value is not None)
    return f"{name} with {given}" if given else name
