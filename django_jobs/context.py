"""The job that is running here: in this thread, or in this asyncio task."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn, Protocol

from django_jobs import clock
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsError, MaxRetriesExceeded, Replace, Retry


class Reporter(Protocol):
    """Takes what a running job says about itself; the worker writes it to the result store."""

    def __call__(self, job: Job, state: str, meta: Any, *, fence: int, worker: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a task may know of the job that it runs in. Times are aware, in UTC."""

    id: str
    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    #: How many attempts have failed before this one.
    retries: int
    #: How often this attempt was handed out before, without its end having been seen.
    deliveries: int
    eta: datetime | None
    expires: datetime | None
    headers: dict[str, str]
    root_id: str
    parent_id: str | None
    #: The name of the worker process.
    worker: str
    #: Rises with every delivery of this job: a resource outside can refuse a smaller one than it has seen.
    fencing_token: int


class JobContext:
    """
    A running job, as the task sees it: ``self`` of a bound task, and what ``current_job()`` returns.

    Unknown attributes are those of ``request``, so ``current_job().id`` works.
    """

    __slots__ = (
        "_args", "_fence", "_grow", "_grown", "_is_revoked", "_kwargs", "_max_retries", "_report", "_request",
        "deliveries", "job", "worker",
    )  # fmt: skip

    def __init__(
        self,
        job: Job,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        deliveries: int = 0,
        fence: int = 0,
        worker: str = "",
        max_retries: int | None = 0,
        report: Reporter | None = None,
        is_revoked: Callable[[str], bool] | None = None,
        grow: Callable[[Job, int, Any], str] | None = None,
    ) -> None:
        self.job = job
        self._args = args
        self._kwargs = kwargs
        self.deliveries = deliveries
        self.worker = worker
        self._fence = fence
        self._max_retries = max_retries
        self._report = report
        self._is_revoked = is_revoked
        self._grow = grow
        self._grown = 0
        self._request: Request | None = None

    @property
    def request(self) -> Request:
        """What is known of this job."""
        if self._request is None:
            job = self.job
            self._request = Request(
                id=job.id,
                task=job.task,
                args=self._args,
                kwargs=self._kwargs,
                queue=job.queue,
                priority=job.priority,
                retries=job.retries,
                deliveries=self.deliveries,
                eta=None if job.eta_ms is None else clock.from_ms(job.eta_ms),
                expires=None if job.expires_ms is None else clock.from_ms(job.expires_ms),
                headers=dict(job.headers),
                root_id=job.root_id or job.id,
                parent_id=job.parent_id,
                worker=self.worker,
                fencing_token=self._fence,
            )
        return self._request

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.request, name)

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.job.task

    @property
    def max_retries(self) -> int | None:
        """How often this job may be retried; None: for ever."""
        return self._max_retries

    @property
    def is_revoked(self) -> bool:
        """
        Somebody has revoked this job since it started. A long task looks at it from time to time, and ends when it is
        True; nobody makes it, unless it was revoked with ``terminate``. Told within a heartbeat (5 s).
        """
        return self._is_revoked is not None and self._is_revoked(self.job.id)

    def retry(
        self,
        exc: BaseException | None = None,
        *,
        countdown: float | timedelta | None = None,
        eta: datetime | None = None,
        max_retries: int | None = -1,
    ) -> NoReturn:
        """
        End this attempt and run the job again, in ``countdown`` seconds, or at ``eta``, or when the task's options say.

        Always raises: Retry, or ``exc`` (else MaxRetriesExceeded) when no retry is left. ``exc`` is the error to
        record; None: the one that is being handled. ``max_retries``: another bound for this job than the task's; None:
        for ever.
        """
        bound = self._max_retries if max_retries == -1 else max_retries
        if bound is not None and self.job.retries >= bound:
            if exc is not None:
                raise exc
            raise MaxRetriesExceeded(
                f"{self.job.task} has been retried {self.job.retries} times, and may not be again."
            )
        if eta is not None:
            if countdown is not None:
                raise TypeError("retry() takes countdown= or eta=, not both.")
            countdown = max(0.0, (clock.aware_ms("eta", eta) - clock.now_ms()) / 1000)
        raise Retry(countdown, exc=exc, max_retries=max_retries)

    def replace(self, canvas: Any) -> NoReturn:
        """
        Let a canvas take the place of this job: what follows the job follows the canvas, with its value, and whoever
        waits for the job waits for it. Always raises.
        """
        raise Replace(canvas)

    def add_to_chord(self, canvas: Any) -> str:
        """
        Add a member to the group that this job is a member of: it is sent at once, and what follows the group waits for
        it, too. Return its id. A job that runs again adds the same ones, once.

        Raises JobsError when this job is no member of a group that runs.
        """
        if self._grow is None:
            raise JobsError("add_to_chord() was called outside of a worker: there is no group that could grow.")
        self._grown += 1
        return self._grow(self.job, self._grown, canvas)

    def update_state(self, state: str | None = None, meta: Any = None) -> None:
        """
        Show a state of your own (a short word, upper case by custom) and a value that can travel, until the job ends.

        Raises ValueError for the name of one of our own states but STARTED, EncodeError for a value that cannot travel.
        """
        if self._report is not None:
            self._report(self.job, state or "STARTED", meta, fence=self._fence, worker=self.worker)

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """
        Show how far the job is: ``done`` of ``total``. Cheap enough for a loop: most calls within 0.1 s are not
        written.
        """
        self.update_state(None, {"done": done, "total": total, "message": message})


current: ContextVar[JobContext | None] = ContextVar("django_jobs_current", default=None)


def current_job_or_none() -> JobContext | None:
    """Return the running job, or None outside of one."""
    return current.get()


def current_job() -> JobContext:
    """Return the running job. Raises JobsError outside of one."""
    context = current.get()
    if context is None:
        raise JobsError("current_job() was called outside of a job; current_job_or_none() returns None there.")
    return context
