"""
From a job to an outcome: look up, wrap, call, catch, decide.

Touches no store, no broker and no connection, so retry policy and control exceptions are tested without any of them.
What the function raises, whatever it is, becomes an outcome; nothing of it leaves this module.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from asgiref.sync import sync_to_async

from django_jobs import clock, middleware
from django_jobs.canvas.expression import as_expression
from django_jobs.context import JobContext, Reporter, current
from django_jobs.envelope import DELIVERIES_MAX, GENERATION_BITS, Job
from django_jobs.exceptions import (
    DecodeError,
    EncodeError,
    Ignore,
    JobExpired,
    JobInterrupted,
    JobRevoked,
    JobsConfigurationError,
    MaxRetriesExceeded,
    Reject,
    RelatedObjectMissing,
    Replace,
    ResultNotStorable,
    Retry,
    Snooze,
    StoreUnavailable,
    UnknownTask,
    WorkerLost,
)
from django_jobs.options import OPTION_NAMES, TaskOptions, check_names, with_overrides
from django_jobs.outcome import (
    Error,
    Failed,
    Ignored,
    Outcome,
    Rejected,
    Replaced,
    Retried,
    Revoked,
    Snoozed,
    Succeeded,
    Undeliverable,
    Unsettled,
)
from django_jobs.registry import RegisteredTask, registry
from django_jobs.retry import delay_after, matches
from django_jobs.serializers import dumps

#: Longer messages and tracebacks are cut in the middle: the beginning says where, the end says what.
TEXT_LIMIT = 8 * 1024
TRACEBACK_LIMIT = 64 * 1024
_OUR_FRAMES = frozenset({"django_jobs.execution", "django_jobs.middleware", "django_jobs.worker.interrupts"})
#: What is recorded of a job that was revoked while it ran.
INTERRUPTED = "The job was revoked while it ran, and interrupted."
#: Seconds; a policy that says "never" means a failure, and a broker could not count to it.
LONGEST_DELAY = 10 * 365 * 24 * 3600.0
_DEFAULTS = TaskOptions()


class Guard(Protocol):
    """Where the function of a ``def`` task runs in a worker: within its limits, and so that it can be interrupted."""

    def call(
        self, job: Job, options: TaskOptions, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Call the function."""


class AsyncGuard(Protocol):
    """The same for the coroutine function of an ``async def`` task."""

    async def acall(
        self, job: Job, options: TaskOptions, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Await the coroutine."""


class AtomicRun(Protocol):
    """Runs a job with ``atomic=True``: its body, and the record of its end, are one transaction."""

    @property
    def can_report(self) -> bool:
        """Say whether a running job can show its progress."""

    def __call__(self, job: Job, options: TaskOptions, deliveries: int, run: Callable[[], Outcome]) -> Outcome:
        """Run it, and record its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a job came here; the default is that of a job that was never delivered before."""

    deliveries: int = 0
    crashes: int = 0
    #: The name of this process.
    worker: str = ""
    report: Reporter | None = None
    #: Says of an id whether somebody has revoked that job meanwhile.
    is_revoked: Callable[[str], bool] | None = None
    #: Called right before the function.
    on_start: Callable[[RegisteredTask, Job], None] | None = None
    #: Runs what has ``atomic=True``; None: it runs like any other.
    atomic: AtomicRun | None = None
    #: Reads what comes before the arguments of a step of a workflow.
    inputs: Callable[[Job], tuple[Any, ...]] | None = None
    #: Adds a member to the group that a job is in.
    grow: Callable[[Job, int, Any], str] | None = None


FIRST_DELIVERY = Delivery()


def fence_of(job: Job, deliveries: int) -> int:
    """Return the number that rises with every attempt of a job, however it came about."""
    return job.generation << GENERATION_BITS | min(deliveries, DELIVERIES_MAX)


def execute(job: Job, delivery: Delivery = FIRST_DELIVERY, guard: Guard | None = None) -> Outcome:
    """Run the job of a ``def`` task here and now."""
    attempt = prepare(job, delivery)
    if not isinstance(attempt, Attempt):
        return attempt
    token = current.set(attempt.context)
    attempt.guard = guard
    try:
        if attempt.options.atomic and delivery.atomic is not None:
            return delivery.atomic(job, attempt.options, delivery.deliveries, attempt.run)
        return attempt.run()
    finally:
        current.reset(token)


async def aexecute(job: Job, delivery: Delivery = FIRST_DELIVERY, guard: AsyncGuard | None = None) -> Outcome:
    """Run the job of an ``async def`` task on the running event loop."""
    # What comes before its arguments is in the database, which no event loop may wait for.
    attempt = prepare(job, delivery) if job.source is None else await sync_to_async(prepare)(job, delivery)
    if not isinstance(attempt, Attempt):
        return attempt
    token = current.set(attempt.context)
    try:
        attempt.async_guard = guard
        value = await middleware.around_arun(attempt.acall)(job)
        return attempt.returned(value)
    except BaseException as error:  # noqa: BLE001 - as above; a cancellation is seen by the worker, through the outcome
        return attempt.raised(error)
    finally:
        current.reset(token)


def prepare(job: Job, delivery: Delivery) -> Attempt | Outcome:
    """Get a job ready to run, or say what becomes of it without a run."""
    task = registry.get(job.task)
    if task is None:
        return Undeliverable(error_of(UnknownTask(f"No task is called {job.task!r} in this worker.")))
    try:
        options = options_of(task, job)
    except JobsConfigurationError as error:
        return Undeliverable(error_of(error))
    if delivery.crashes >= options.max_deliveries:
        return Failed(
            error_of(WorkerLost(f"The process that ran this job died {delivery.crashes} times; it is not tried again."))
        )
    if job.expires_ms is not None and clock.now_ms() > job.expires_ms:
        return Revoked(
            error_of(JobExpired(f"The job was to start before {clock.from_ms(job.expires_ms).isoformat()}."))
        )
    attempt = Attempt(task, job, options, delivery)
    try:
        attempt.load()
    except RelatedObjectMissing as error:
        return Revoked(error_of(error)) if options.missing == "discard" else Failed(error_of(error), error)
    except DecodeError as error:
        return Failed(error_of(error), error)
    except StoreUnavailable as error:  # what comes before its arguments cannot be read now: that is not its fault
        return Unsettled(error_of(error))
    except Exception as error:  # noqa: BLE001 - a model instance comes from the database, which may be away: that may be retried
        return attempt.raised(error)
    return attempt


def options_of(task: RegisteredTask, job: Job) -> TaskOptions:
    """
    Return the options in force for one job. Raises JobsConfigurationError when this code cannot make sense of them.
    """
    if not job.options:
        return task.options
    check_names(job.options, OPTION_NAMES, f"The job {job.id} of {job.task}")
    return with_overrides(task.options, job.options)


def options_in_force(task: RegisteredTask | None, job: Job) -> TaskOptions:
    """
    Return the options by which the end of a job is recorded, whether or not it could run here: those of the job, or the
    task's own where the job's are of another version of the code, or the defaults where there is no such task.
    """
    if task is None:
        return _DEFAULTS
    try:
        return options_of(task, job)
    except JobsConfigurationError:
        return task.options


class Attempt:
    """One run of one job: what is called, and what is made of its end."""

    __slots__ = ("args", "async_guard", "context", "delivery", "guard", "job", "kwargs", "options", "task")

    def __init__(
        self,
        task: RegisteredTask,
        job: Job,
        options: TaskOptions,
        delivery: Delivery,
    ) -> None:
        self.task = task
        self.job = job
        self.options = options
        self.delivery = delivery
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.context: JobContext
        self.guard: Guard | None = None
        self.async_guard: AsyncGuard | None = None

    def load(self) -> None:
        """Decode the arguments. Raises DecodeError, RelatedObjectMissing, or an error of the database."""
        job, delivery = self.job, self.delivery
        self.args, self.kwargs = job.args, job.kwargs
        if job.source is not None and delivery.inputs is not None:
            self.args = (*delivery.inputs(job), *self.args)
        self.context = JobContext(
            job,
            self.args,
            self.kwargs,
            deliveries=delivery.deliveries,
            fence=fence_of(job, delivery.deliveries),
            worker=delivery.worker,
            max_retries=self.options.max_retries,
            report=delivery.report if self._may_report() else None,
            is_revoked=delivery.is_revoked,
            grow=delivery.grow,
        )
        if self.task.bind:
            self.args = (self.context, *self.args)

    def _may_report(self) -> bool:
        return not self.options.atomic or self.delivery.atomic is None or self.delivery.atomic.can_report

    def run(self) -> Outcome:
        """Call the function inside the middleware, and say how that ended."""
        try:
            value = middleware.around_run(self.call)(self.job)
            return self.returned(value)
        except BaseException as error:  # noqa: BLE001 - the user's function may raise anything, SystemExit included
            return self.raised(error)

    def call(self, job: Job) -> Any:
        """Call the function."""
        if self.delivery.on_start is not None:
            self.delivery.on_start(self.task, job)
        if self.guard is not None:
            return self.guard.call(job, self.options, self.task.function, self.args, self.kwargs)
        return self.task.function(*self.args, **self.kwargs)

    async def acall(self, job: Job) -> Any:
        """Call the coroutine function."""
        if self.delivery.on_start is not None:
            self.delivery.on_start(self.task, job)
        if self.async_guard is not None:
            return await self.async_guard.acall(job, self.options, self.task.function, self.args, self.kwargs)
        return await self.task.function(*self.args, **self.kwargs)

    def returned(self, value: Any) -> Outcome:
        """Say what a return value means."""
        # What follows a step gets its value, whether or not its result is kept.
        if self.options.ignore_result and self.job.workflow_id is None:
            return Succeeded(None)
        try:
            return Succeeded(b"null" if value is None else dumps(value, "the result"))
        except EncodeError as error:
            unstorable = ResultNotStorable(f"The job ran to its end, but its result cannot be stored: {error}")
            return Failed(error_of(unstorable), unstorable)

    def raised(self, error: BaseException) -> Outcome:
        """Say what an exception means."""
        return outcome_of(error, self.job, self.options)


def outcome_of(error: BaseException, job: Job, options: TaskOptions) -> Outcome:
    """Say what an exception means that has ended a run of a job."""
    if isinstance(error, Ignore):
        return Ignored()
    if isinstance(error, Replace):
        return _replaced(error, job)
    if isinstance(error, Snooze):
        return Snoozed(min(error.seconds, LONGEST_DELAY))
    if isinstance(error, Reject):
        return Rejected(error_of(error, text=error.reason))
    if isinstance(error, JobInterrupted):
        return Revoked(error_of(JobRevoked(INTERRUPTED).with_traceback(error.__traceback__)))
    cause = _cause_of(error)
    try:
        delay = delay_after(options, job, error)
    except Exception as second:  # noqa: BLE001 - a retry= policy is the user's function, too
        return Failed(error_of(second), second)
    if delay is not None:
        return Retried(error_of(cause), min(delay, LONGEST_DELAY), cause)
    if isinstance(cause, Retry):
        cause = MaxRetriesExceeded(f"The job has been retried {job.retries} times, and may not be again.")
    return Failed(error_of(cause, expected=matches(cause, options.throws)), cause)


def _replaced(replace: Replace, job: Job) -> Outcome:
    try:
        return Replaced(as_expression(replace.expression, "self.replace()"), job.headers)
    except (TypeError, DecodeError) as error:
        return Failed(error_of(error), error)


def _cause_of(error: BaseException) -> BaseException:
    """Return the error behind a Retry (the one it names, or that was being handled), or the error itself."""
    if not isinstance(error, Retry):
        return error
    return next((cause for cause in (error.exc, error.__cause__, error.__context__) if cause is not None), error)


def error_of(error: BaseException, *, text: str | None = None, expected: bool = False) -> Error:
    """Put an exception into words, whatever it is: one that cannot be printed, or that refers to itself, included."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if text is None:
        try:
            text = str(error)
        except BaseException as second:  # noqa: BLE001 - __str__ is the user's, too
            text = f"<an exception that cannot be printed: {type(second).__name__}>"
    return Error(name, cut(text, TEXT_LIMIT), cut(_traceback_of(error), TRACEBACK_LIMIT), expected)


def _traceback_of(error: BaseException) -> str:
    if error.__traceback__ is None:
        return ""
    try:
        return "".join(traceback.format_exception(type(error), error, _from_user_code(error.__traceback__)))
    except BaseException as second:  # noqa: BLE001 - formatting calls __str__ and __notes__ of the user's
        return f"<a traceback that cannot be printed: {type(second).__name__}>\n" + "".join(
            traceback.format_tb(error.__traceback__)
        )


def _from_user_code(trace: TracebackType) -> TracebackType:
    """Leave out our own frames at the top: a traceback begins where the task does."""
    inner: TracebackType | None = trace
    while inner is not None and inner.tb_frame.f_globals.get("__name__") in _OUR_FRAMES:
        inner = inner.tb_next
    return inner or trace


def cut(text: str, limit: int) -> str:
    """Shorten a text to about ``limit`` characters, keeping both ends; escape what a database column refuses."""
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
