"""What a test sees of the jobs that were enqueued, and of how they ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_jobs import clock
from django_jobs.envelope import Job
from django_jobs.exceptions import JobFailed
from django_jobs.outcome import Error, Failed, Outcome, Rejected, Succeeded
from django_jobs.registry import registry
from django_jobs.serializers import loads


class EnqueuedJob:
    """A job as it would have reached a worker: encoded by the sender, and decoded here."""

    __slots__ = ("job",)

    def __init__(self, job: Job) -> None:
        #: The whole envelope.
        self.job = job

    @property
    def id(self) -> str:
        """Its id."""
        return self.job.id

    @property
    def task(self) -> str:
        """The name of its task."""
        return self.job.task

    @property
    def args(self) -> tuple[Any, ...]:
        """Its positional arguments."""
        return self.job.args

    @property
    def kwargs(self) -> dict[str, Any]:
        """Its keyword arguments."""
        return self.job.kwargs

    @property
    def queue(self) -> str:
        """Where it was enqueued."""
        return self.job.queue

    @property
    def priority(self) -> int:
        """Its priority; higher runs sooner."""
        return self.job.priority

    @property
    def eta(self) -> datetime | None:
        """Not before this moment, aware, in UTC; a countdown is one, too."""
        return None if self.job.eta_ms is None else clock.from_ms(self.job.eta_ms)

    @property
    def expires(self) -> datetime | None:
        """Not after this moment, aware, in UTC."""
        return None if self.job.expires_ms is None else clock.from_ms(self.job.expires_ms)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that it carries."""
        return self.job.headers

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of its task that its call has overridden."""
        return self.job.options

    @property
    def arguments(self) -> dict[str, Any]:
        """Its arguments by the names of the task's parameters, however they were passed."""
        task = registry.get(self.task)
        if task is None:
            return self.kwargs
        bound = task.call_signature.bind(*self.args, **self.kwargs).arguments
        for parameter in task.call_signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                bound |= bound.pop(parameter.name, {})
        return dict(bound)

    def __repr__(self) -> str:
        args: Sequence[Any]
        kwargs: Mapping[str, Any]
        try:
            args, kwargs = self.args, self.kwargs
        except Exception:  # noqa: BLE001 - a row that is gone, a database that is not there: shown as it travelled
            args, kwargs = self.job.packed_args, self.job.packed_kwargs
        shown = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
        return f"{self.task}({', '.join(shown)}) in queue {self.queue!r}"


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of a job."""

    #: None: its message could not be read.
    job: EnqueuedJob | None
    outcome: Outcome

    @property
    def succeeded(self) -> bool:
        """Did the function return?"""
        return isinstance(self.outcome, Succeeded)

    @property
    def failed(self) -> bool:
        """Has the job failed for good? An attempt that is retried has not."""
        return isinstance(self.outcome, Failed | Rejected)

    @property
    def result(self) -> Any:
        """What the function returned, as ``AsyncResult.get()`` would give it; None if it did not, or it is ignored."""
        encoded = self.outcome.result if isinstance(self.outcome, Succeeded) else None
        return None if encoded is None else loads(encoded)

    @property
    def error(self) -> Error | None:
        """Type, text and traceback of the error that ended the attempt."""
        return getattr(self.outcome, "error", None)

    @property
    def exception(self) -> BaseException | None:
        """The exception that ended the attempt."""
        return getattr(self.outcome, "exception", None)

    def raise_failure(self) -> None:
        """
        Raise what the job failed with, unless that was to be expected: one of the task's ``throws``, or ``Reject``.

        What would end the test run itself (SystemExit, KeyboardInterrupt) comes as the cause of a JobFailed.
        """
        if not isinstance(self.outcome, Failed) or self.outcome.error.expected:
            return
        error, exception = self.outcome.error, self.outcome.exception
        note = f"Raised by the job {self.job!r}."
        if isinstance(exception, Exception):
            exception.add_note(note)
            raise exception
        raise JobFailed(f"{error.type}: {error.text}\n{note}") from exception
