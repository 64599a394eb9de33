"""For test cases in the manner of unittest, Django's and others."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Unpack

from django_jobs.registry import RegisteredTask
from django_jobs.testing.captured import EnqueuedJob, Run
from django_jobs.testing.enqueued import Like
from django_jobs.testing.helpers import capture_jobs, eager
from django_jobs.testing.jobs import Jobs

if TYPE_CHECKING:
    import unittest

    _TestCase = unittest.TestCase
else:
    _TestCase = object


class JobsTestMixin(_TestCase):
    """
    Captures the jobs of each test, from its ``setUp()`` to its ``tearDown()``, as ``self.jobs``.

    ``class OrderTests(JobsTestMixin, TestCase)``: the mixin comes first.
    """

    #: Run each job where it is sent, instead of capturing it.
    jobs_eager: ClassVar[bool] = False
    jobs: Jobs

    # Around setUp() and not in it, so that a setUp() that does not call its parent's sends nothing to the real broker.

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test with its jobs captured."""
        with self._capturing() as self.jobs:
            return super().run(result)

    def debug(self) -> None:
        """Run the test without collecting errors."""
        with self._capturing() as self.jobs:
            super().debug()

    def _capturing(self) -> AbstractContextManager[Jobs]:
        return eager() if self.jobs_eager else capture_jobs()

    def assertJobEnqueued(  # noqa: N802
        self, task: RegisteredTask | str | None = None, *, count: int | None = None, **like: Unpack[Like]
    ) -> list[EnqueuedJob]:
        """Assert that a job of this task was enqueued. See ``Jobs.assert_enqueued``."""
        return self.jobs.assert_enqueued(task, count=count, **like)

    def assertJobNotEnqueued(self, task: RegisteredTask | str | None = None, **like: Unpack[Like]) -> None:  # noqa: N802
        """Assert that no job like this was enqueued. See ``Jobs.assert_not_enqueued``."""
        self.jobs.assert_not_enqueued(task, **like)

    def assertNoJobs(self) -> None:  # noqa: N802
        """Assert that nothing was enqueued."""
        self.jobs.assert_not_enqueued()

    def runJobs(  # noqa: N802
        self, *, until: timedelta | float | datetime | None = None, propagate: bool = True
    ) -> list[Run]:
        """Run what is due, until nothing is. See ``Jobs.drain``."""
        return self.jobs.drain(until=until, propagate=propagate)
