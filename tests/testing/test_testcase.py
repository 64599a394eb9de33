"""JobsTestMixin, in test cases that unittest runs."""

from __future__ import annotations

import unittest
from typing import Any

import pytest
from django.test import SimpleTestCase, TestCase

from django_jobs.brokers import get_broker
from django_jobs.brokers.base import BaseBroker
from django_jobs.models import JobResult
from django_jobs.testing import JobsTestMixin, MemoryBroker
from tests.testing import tasks


class WithTestCase(JobsTestMixin, TestCase):
    real_broker: BaseBroker

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.real_broker = get_broker()

    def setUp(self):  # does not call its parent's, as it happens
        tasks.note.delay("from setUp")

    def tearDown(self):
        self.assertJobEnqueued(tasks.note, args=["from setUp"], count=1)

    def test_sending_and_running(self):
        assert not isinstance(self.real_broker, MemoryBroker)
        assert isinstance(get_broker(), MemoryBroker)
        tasks.flaky.delay(1)
        self.assertJobEnqueued(tasks.flaky, kwargs={"failures": 1})
        self.assertJobNotEnqueued(tasks.mail)
        assert len(self.runJobs()) == 2
        assert len(self.runJobs(until=10)) == 1
        assert JobResult.objects.filter(state="SUCCESS").count() == 2
        with pytest.raises(AssertionError):
            self.assertNoJobs()

    def test_failures(self):
        tasks.fails.delay()
        with self.assertRaisesMessage(ValueError, "no luck"):
            self.runJobs()
        tasks.fails.delay()
        assert [run.failed for run in self.runJobs(propagate=False)] == [True]

    async def test_async(self):
        await tasks.anote.adelay("a")
        assert [run.result for run in await self.jobs.adrain()] == ["from setUp", "A"]


class WithSimpleTestCase(JobsTestMixin, SimpleTestCase):
    jobs_eager = True

    def test_jobs_run_where_they_are_sent(self):
        assert tasks.note.delay(1).get() == 1


class WithUnittestAlone(JobsTestMixin, unittest.TestCase):
    def test_neither_django_nor_a_database(self):
        self.assertNoJobs()
        handle = tasks.note.delay(1)
        self.runJobs()
        assert handle.get() == 1


@pytest.mark.parametrize("outcome", ["success", "failure", "error in setUp"])
def test_nothing_is_left_behind(outcome: str):
    class Sample(JobsTestMixin, unittest.TestCase):
        def setUp(self):
            if outcome == "error in setUp":
                raise KeyError

        def test(self):
            tasks.note.delay(1)
            assert outcome == "success"

    broker = get_broker()
    result = unittest.TestResult()
    Sample("test").run(result)
    assert (result.testsRun, result.wasSuccessful()) == (1, outcome == "success")
    assert get_broker() is broker


def test_debug_captures_too():
    seen: list[Any] = []

    class Sample(JobsTestMixin, unittest.TestCase):
        def test(self):
            tasks.note.delay(1)
            seen.extend(self.jobs)

    Sample("test").debug()
    assert len(seen) == 1
