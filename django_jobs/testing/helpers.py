"""What a test calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeVar, Unpack

from django_jobs import clock
from django_jobs.brokers import use_broker
from django_jobs.exceptions import JobsError
from django_jobs.registry import RegisteredTask
from django_jobs.results import get_store, use_store
from django_jobs.testing.captured import EnqueuedJob, Run
from django_jobs.testing.commits import watched
from django_jobs.testing.enqueued import Like
from django_jobs.testing.immediate import EagerJobs
from django_jobs.testing.jobs import MOST_RUNS, Jobs
from django_jobs.testing.store import EitherStore

AnyJobs = TypeVar("AnyJobs", bound=Jobs)

#: The blocks that are open, the innermost last.
_open: list[Jobs] = []


@contextmanager
def capture_jobs() -> Iterator[Jobs]:
    """
    Keep what is sent inside the block from leaving the test, and list it. Nothing runs until ``drain()``.

    Inside a TestCase a job counts as sent when it would be if the test had no transaction around it: at once, or at the
    end of the ``atomic()`` of the code under test, unless that is rolled back.
    """
    with _opened(Jobs(_store())) as jobs:
        yield jobs


@contextmanager
def eager(*, propagate: bool = False) -> Iterator[Jobs]:
    """
    Run each job of the block where it is sent, when it is sent (inside ``atomic()``: when that has ended).

    Arguments and results are encoded, attempts retried and outcomes recorded as by a worker, but nothing waits: an eta,
    a countdown and the delay of a retry count as over. ``delay()`` does not raise what a job raises, just as in
    production; with ``propagate=True`` it does, once no retry is left.
    """
    with _opened(EagerJobs(_store(), propagate=propagate)) as jobs:
        yield jobs


def drain(
    *, until: timedelta | float | datetime | None = None, propagate: bool = True, most: int = MOST_RUNS
) -> list[Run]:
    """Run what is due, until nothing is. See ``Jobs.drain``."""
    return current("drain").drain(until=until, propagate=propagate, most=most)


def advance(by: timedelta | float) -> None:
    """Move the clock of the jobs forward, by a timedelta or seconds. See ``Jobs.advance``."""
    current("advance").advance(by)


def assert_enqueued(
    task: RegisteredTask | str | None = None, *, count: int | None = None, **like: Unpack[Like]
) -> list[EnqueuedJob]:
    """Assert that a job of this task was enqueued. See ``Jobs.assert_enqueued``."""
    __tracebackhide__ = True
    return current("assert_enqueued").assert_enqueued(task, count=count, **like)


def assert_not_enqueued(task: RegisteredTask | str | None = None, **like: Unpack[Like]) -> None:
    """Assert that no job like this was enqueued; without any argument: none at all."""
    __tracebackhide__ = True
    current("assert_not_enqueued").assert_not_enqueued(task, **like)


def current(caller: str) -> Jobs:
    """Return the jobs of the innermost block. Raises JobsError outside of one."""
    if not _open:
        raise JobsError(
            f"{caller}() works on captured jobs: call it inside capture_jobs() or eager(), in a test case with"
            " JobsTestMixin, or in a test that takes the fixture jobs or jobs_eager."
        )
    return _open[-1]


def _store() -> EitherStore:
    """Return where results go; a block inside another shares its results."""
    store = get_store()
    return store if isinstance(store, EitherStore) else EitherStore()


@contextmanager
def _opened(jobs: AnyJobs) -> Iterator[AnyJobs]:
    with use_store(jobs.store), use_broker(jobs.broker), clock.use(jobs.clock), watched():
        _open.append(jobs)
        try:
            yield jobs
        finally:
            _open.remove(jobs)
