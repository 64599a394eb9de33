"""
How a running job is interrupted: at its soft time limit, and when it is revoked with ``terminate``.

Each kind of slot has its own way to get an exception into a function that runs:

main thread     a signal; its handler raises, and a system call that blocks is left at once
other threads   PyThreadState_SetAsyncExc; it arrives at the next Python instruction, so not while a C call blocks
event loop      the cancellation of its asyncio task, which becomes SoftTimeLimitExceeded inside the coroutine

What comes too late, between the end of the function and the next job, is swallowed here: an interruption never hits
another job, nor the worker.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from types import FrameType
from typing import Any, Protocol

from django_jobs.envelope import Job
from django_jobs.exceptions import JobInterrupted, SoftTimeLimitExceeded
from django_jobs.options import TaskOptions

#: What may be raised in a running job.
Interruption = type[SoftTimeLimitExceeded] | type[JobInterrupted]
#: Told to the main thread when there is something to raise in it. Celery uses the same.
INTERRUPT_SIGNAL = signal.SIGUSR1


class Interruptible(Protocol):
    """Something that can interrupt the job in it."""

    def interrupt(self, job_id: str, exception: Interruption) -> bool:
        """Have the exception raised in this job. False: its function has not begun, or has ended."""

    def remind(self, job_id: str) -> bool:
        """Say whether the exception is still on its way; help it."""


class Limiter(Protocol):
    """Takes the limits of a job that starts."""

    def begin(self, job: Job, options: TaskOptions, slot: Interruptible) -> None: ...


def _raise_in(ident: int, exception: Interruption | None) -> None:
    """Have an exception raised in a thread; None: take back one that has not been raised yet."""
    target = ctypes.c_void_p() if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), target)


def _attempt(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001 - it is raised again, outside of the reach of an interruption
        return None, error


class ThreadGuard:
    """Runs the functions of one thread so that each can be interrupted."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._ident = threading.get_ident()
        self._is_main = threading.current_thread() is threading.main_thread()
        self._lock = threading.Lock()
        self._job_id: str | None = None
        self._exception: Interruption | None = None
        if self._is_main:
            signal.signal(INTERRUPT_SIGNAL, self._raise)

    def call(
        self, job: Job, options: TaskOptions, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Call the function of a job within its limits."""
        self._limiter.begin(job, options, self)
        self._job_id = job.id  # from here on it can be interrupted
        end: tuple[Any, BaseException | None] | None = None
        while True:
            try:
                if end is None:
                    end = _attempt(function, args, kwargs)
                self._close()
                break
            except (SoftTimeLimitExceeded, JobInterrupted) as late:  # between two of our own steps
                end = (None, late) if end is None else end
        value, error = end
        if error is None:
            return value
        try:
            raise error
        finally:
            del end, error  # the traceback refers to this frame

    def _close(self) -> None:
        with self._lock:
            self._job_id = None
            if self._exception is not None and not self._is_main:
                _raise_in(self._ident, None)
            self._exception = None

    def interrupt(self, job_id: str, exception: Interruption) -> bool:
        """Have the exception raised in this job. False: its function has not begun, or has ended."""
        with self._lock:
            if self._job_id != job_id:
                return False
            self._exception = exception
            if self._is_main:
                signal.pthread_kill(self._ident, INTERRUPT_SIGNAL)
            else:
                _raise_in(self._ident, exception)
            return True

    def remind(self, job_id: str) -> bool:
        """Say whether the exception is still on its way; help it."""
        if not self._is_main:
            return False  # it is the interpreter's own business
        with self._lock:
            # A signal that comes right before a system call does not keep that from blocking.
            is_pending = self._job_id == job_id and self._exception is not None
            if is_pending:
                signal.pthread_kill(self._ident, INTERRUPT_SIGNAL)
            return is_pending

    def _raise(self, number: int, frame: FrameType | None) -> None:
        """Answer the signal. It takes no lock: the main thread may hold it."""
        exception, self._exception = self._exception, None
        if exception is not None and self._job_id is not None:
            raise exception


class LoopGuard:
    """Runs the coroutine of one job so that it can be interrupted."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[Any] | None = None
        #: Asked for, and not raised yet.
        self.exception: Interruption | None = None

    async def acall(
        self,
        job: Job,
        options: TaskOptions,
        function: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        kwargs: Any,
    ) -> Any:
        """Await the coroutine of a job within its limits."""
        self._task = asyncio.current_task()
        self._limiter.begin(job, options, self)
        try:
            if options.soft_time_limit is not None:
                return await _Translated(function(*args, **kwargs), self)
            return await function(*args, **kwargs)
        except asyncio.CancelledError:
            if self.exception is None:
                raise
            raise self.taken() from None
        finally:
            self._task = None

    def taken(self) -> BaseException:
        """Return what is to be raised instead of the cancellation that we have caused."""
        exception, self.exception = self.exception, None
        assert exception is not None
        if self._task is not None:
            self._task.uncancel()
        return exception()

    def interrupt(self, job_id: str, exception: Interruption) -> bool:
        """Have the exception raised in this job. False: its coroutine has not begun, or has ended."""
        if self._task is None:
            return False
        self._loop.call_soon_threadsafe(self._cancel, exception)
        return True

    def remind(self, job_id: str) -> bool:
        """Say whether the exception is still on its way: nobody has to help a loop that runs."""
        return False

    def _cancel(self, exception: Interruption) -> None:
        if self._task is not None and self.exception is not exception:
            self.exception = exception
            self._task.cancel()


class _Translated:
    """Awaits a coroutine, and raises inside it what a cancellation of ours stands for."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], guard: LoopGuard) -> None:
        self._coroutine = coroutine
        self._guard = guard

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        resume: Callable[[], Any] = lambda: inner.send(None)  # noqa: E731 - what is done to go on, changed below
        while True:
            try:
                awaited = resume()
            except StopIteration as end:
                return end.value
            try:
                value = yield awaited
            except BaseException as error:  # noqa: BLE001 - handed on
                ours = isinstance(error, asyncio.CancelledError) and self._guard.exception is not None
                raised = self._guard.taken() if ours else error
                resume = lambda raised=raised: inner.throw(raised)  # type: ignore[misc] # noqa: E731
            else:
                resume = lambda value=value: inner.send(value)  # type: ignore[misc] # noqa: E731
