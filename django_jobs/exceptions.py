"""Every error and every control exception of the package. An exception's docstring is its default message."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class JobsError(Exception):
    """Something went wrong in the job system."""

    def __init__(self, message: str | None = None, *args: Any) -> None:
        super().__init__(message or type(self).__doc__, *args)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class JobsConfigurationError(ImproperlyConfigured):
    """DJANGO_JOBS, or the declaration of a task, is wrong."""


class InvalidSchedule(JobsError, ValueError):
    """A schedule, or its time zone, cannot be understood, or never comes."""


# Where a call is made


class UnknownTask(JobsError, LookupError):
    """No task of this name is registered."""


class EncodeError(JobsError, TypeError):
    """A value cannot be carried by a job."""


class DecodeError(JobsError, ValueError):
    """A message cannot be understood."""


class UnknownVersion(DecodeError):
    """A message was written by a version that this one does not know."""

    def __init__(self, message: str | None = None, *, enqueued_ms: int | None = None) -> None:
        super().__init__(message)
        #: When it was sent, as far as that can be read.
        self.enqueued_ms = enqueued_ms


class PayloadTooLarge(JobsError, ValueError):
    """The arguments of a job are larger than MAX_PAYLOAD."""


class EnqueueError(JobsError):
    """A job could not be handed to the broker."""

    def __init__(self, message: str | None = None, *, job_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        #: The ids whose sending failed. Sending one of them again is safe: an id runs once.
        self.job_ids = job_ids


# The broker's side


class BrokerUnavailable(JobsError):
    """The broker cannot be reached, or refuses to work."""


class ConsumerLost(JobsError):
    """This consumer's lease is gone: what it had claimed was given to others."""


class StoreUnavailable(JobsError):
    """The result store cannot be reached."""


# How a job ended, when it did not end well; these names are recorded


class JobFailed(JobsError):
    """A job failed with an exception that cannot be rebuilt here."""


class WorkerLost(JobsError):
    """The process that ran the job died."""


class JobLost(JobsError):
    """The job was lost on its way, and its message was not kept."""


class UndecodableJob(JobsError):
    """The message of the job cannot be understood."""


class SoftTimeLimitExceeded(JobsError):
    """The job has run longer than its soft time limit."""


class TimeLimitExceeded(JobsError):
    """The job has run longer than its time limit."""


class JobExpired(JobsError):
    """The job was not started before its expiry."""


class JobRevoked(JobsError):
    """The job was revoked."""


class UpstreamFailed(JobsError):
    """A step of a workflow never ran, because one that it follows has failed."""


class MaxRetriesExceeded(JobsError):
    """The job has used up its retries."""


class ResultNotStorable(JobsError):
    """The job ran to its end, but its result cannot be stored."""


class RelatedObjectMissing(JobsError):
    """A model instance that was an argument of the job is gone."""


class JobInterrupted(BaseException):
    """
    The job was revoked while it runs, with ``terminate``: raised inside the task.

    No Exception, so that no ``except Exception`` of a task holds it up. Clean up in ``finally``, and let it pass.
    """


# Reading a result


class ResultTimeout(JobsError, TimeoutError):
    """The job has not ended in time."""


class JobUnknown(JobsError, LookupError):
    """Neither the broker nor the database knows this job: it was never sent, was rolled back, or has been pruned."""


class WouldDeadlock(JobsError, RuntimeError):
    """Waiting here could wait for ever."""


# Raised by tasks to say what should become of them


class ControlException(Exception):
    """A task's way to end other than by returning or failing."""


class Retry(ControlException):
    """
    Run this job again, as one of its retries.

    ``countdown``: seconds, or a timedelta, until then; None: the task's ``default_retry_delay``. ``exc``: the error to
    record; None: the one that is being handled. Raises TypeError or ValueError for anything else.
    """

    def __init__(
        self,
        countdown: timedelta | float | None = None,
        *,
        exc: BaseException | type[BaseException] | None = None,
        max_retries: int | None = -1,
    ) -> None:
        super().__init__(countdown)
        # A moment that has passed while the task computed it is now.
        self.countdown = None if countdown is None else max(0.0, _seconds("Retry()", countdown))
        self.exc = exc() if isinstance(exc, type) else exc
        #: -1: as the task says; None: for ever.
        self.max_retries = max_retries

    def __str__(self) -> str:
        return f"retry in {self.countdown} s" if self.countdown is not None else "retry"


class Replace(ControlException):
    """Let a canvas take the place of this job: what follows gets the value of the canvas. See ``self.replace()``."""

    def __init__(self, expression: Any) -> None:
        super().__init__(expression)
        self.expression = expression


class Ignore(ControlException):
    """End this job without recording anything, as if it had succeeded with nothing to say."""


class Reject(ControlException):
    """Fail this job at once, without a retry."""

    def __init__(self, reason: str = "rejected by the task") -> None:
        super().__init__(reason)
        self.reason = reason


class Snooze(ControlException):
    """Run this job again after some seconds, or a timedelta; no attempt is counted."""

    def __init__(self, seconds: timedelta | float) -> None:
        super().__init__(seconds)
        self.seconds = _seconds("Snooze()", seconds)
        if self.seconds < 0:
            raise ValueError(f"Snooze() takes seconds from now, 0 or more, not {seconds!r}.")


def _seconds(who: str, value: timedelta | float) -> float:
    """Check a delay where it is said: later, nobody could say whose it was."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{who} takes seconds from now or a timedelta, not {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"{who} takes seconds from now, not {value!r}.")
    return value
