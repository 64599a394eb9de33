"""When a failed attempt is tried again, or not. Pure: from options, the job and its error to a delay."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django_jobs.envelope import Job
from django_jobs.exceptions import MaxRetriesExceeded, Retry
from django_jobs.options import Exceptions, TaskOptions


def as_seconds(value: timedelta | float) -> float:
    """Turn a timedelta, or a number of seconds, into seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def matches(error: BaseException, classes: Exceptions) -> bool:
    """Say whether an error is of one of these classes."""
    return isinstance(error, classes if isinstance(classes, type) else tuple(classes))


def delay_after(options: TaskOptions, job: Job, error: BaseException) -> float | None:
    """
    Return in how many seconds a job whose attempt ended with ``error`` runs again; None: it has failed.

    ``Retry`` raised by the task asks for a retry by itself; any other error needs ``autoretry_for``, or a ``retry``
    policy.
    """
    if isinstance(error, MaxRetriesExceeded):
        return None
    if isinstance(error, Retry):
        bound = options.max_retries if error.max_retries == -1 else error.max_retries
        if bound is not None and job.retries >= bound:
            return None
        return as_seconds(options.default_retry_delay) if error.countdown is None else error.countdown
    if options.retry is not None:
        if options.max_retries is not None and job.retries >= options.max_retries:
            return None
        delay = options.retry(job, error)
        return None if delay is None else max(0.0, as_seconds(delay))
    if not matches(error, options.autoretry_for) or matches(error, options.dont_autoretry_for):
        return None
    if options.max_retries is not None and job.retries >= options.max_retries:
        return None
    return backoff(options, job.retries)


def backoff(options: TaskOptions, retries: int) -> float:
    """
    Return the delay before the next automatic retry, after ``retries`` earlier ones.

    Exponential with full jitter, as in "Exponential Backoff And Jitter" of the AWS Architecture Blog (2015).
    """
    if options.retry_backoff is False:
        return as_seconds(options.default_retry_delay)
    factor = 1.0 if options.retry_backoff is True else as_seconds(options.retry_backoff)
    # 2**64 seconds is past any maximum, and a float still holds it: for ever retried jobs do not overflow.
    delay = min(as_seconds(options.retry_backoff_max), factor * 2.0 ** min(retries, 64))
    return random.uniform(0, delay) if options.retry_jitter else delay


@dataclass(frozen=True, kw_only=True)
class Delays:
    """
    A ``retry=`` policy: these delays one after the other, then failed.

    ``on``: the exceptions that are retried. ``jitter``: up to this share of each delay is added at random. The task's
    ``max_retries`` bounds it too.
    """

    delays: Sequence[timedelta | float]
    on: Exceptions = (Exception,)
    jitter: float = 0.1

    def __call__(self, job: Any, error: BaseException) -> float | None:
        """Return the delay after this error."""
        if job.retries >= len(self.delays) or not matches(error, self.on):
            return None
        delay = as_seconds(self.delays[job.retries])
        return delay + random.uniform(0, delay * self.jitter)
