"""A job is sent with its transaction, though a TestCase never commits."""

from __future__ import annotations

import contextlib
import threading

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, TransactionTestCase

from django_jobs.brokers import use_broker
from django_jobs.testing import Jobs, JobsTestMixin, MemoryBroker, assert_not_enqueued, capture_jobs, eager
from tests.testing import tasks

#: Django's own method, as it is when no kit is at work.
LEAVE = transaction.Atomic.__exit__


class InATestCase(TestCase):
    """The test itself runs in two transactions that are rolled back."""

    def test_in_the_tests_own_transaction_a_job_is_sent_at_once(self):
        with capture_jobs() as jobs:
            tasks.note.delay(1)
            assert len(jobs) == 1

    def test_a_block_that_ends_well_sends(self):
        with capture_jobs() as jobs:
            with transaction.atomic():
                tasks.note.delay(1)
                assert len(jobs) == 0
            assert len(jobs) == 1

    def test_a_block_that_is_rolled_back_does_not(self):
        with capture_jobs() as jobs:
            with pytest.raises(ValueError):
                tasks.order("a", fail=True)
            tasks.order("b")
            assert [job.args for job in jobs] == [("b",)]
            jobs.drain()
        assert tasks.done == ["b"]

    def test_blocks_in_blocks(self):
        with capture_jobs() as jobs:
            with transaction.atomic():
                tasks.note.delay("outer")
                with transaction.atomic():
                    tasks.note.delay("inner")
                assert len(jobs) == 0
                with pytest.raises(ValueError):
                    tasks.order("gone", fail=True)
                tasks.order("kept")
                assert len(jobs) == 0
            assert [job.args[0] for job in jobs] == ["outer", "inner", "kept"]

    def test_what_an_outer_block_rolls_back_goes_with_it(self):
        with capture_jobs() as jobs:
            with contextlib.suppress(KeyError), transaction.atomic():
                tasks.order("inner")
                raise KeyError
            assert list(jobs) == []
            assert connection.run_on_commit == []

    def test_blocks_without_a_savepoint(self):
        with capture_jobs() as jobs:
            with transaction.atomic(savepoint=False):
                tasks.note.delay("kept")
                assert len(jobs) == 0
            assert len(jobs) == 1
            with contextlib.suppress(KeyError), transaction.atomic():
                with transaction.atomic(savepoint=False):
                    tasks.note.delay("gone")
                raise KeyError
            assert len(jobs) == 1

    def test_a_block_marked_for_rollback(self):
        with capture_jobs() as jobs:
            with transaction.atomic():
                tasks.note.delay("gone")
                transaction.set_rollback(True)
            assert list(jobs) == []

    def test_a_durable_block(self):
        with capture_jobs() as jobs:
            with transaction.atomic(durable=True):
                tasks.note.delay("kept")
            assert len(jobs) == 1

    def test_order_is_kept(self):
        with capture_jobs() as jobs:
            tasks.note.delay(1)
            with transaction.atomic():
                tasks.note.delay(2)
            tasks.note.delay(3)
        assert [job.args[0] for job in jobs] == [1, 2, 3]

    def test_who_does_not_want_to_wait_does_not(self):
        with capture_jobs() as jobs:
            with contextlib.suppress(KeyError), transaction.atomic():
                tasks.note.apply_async((1,), on_commit=False)
                assert len(jobs) == 1
                raise KeyError
            assert len(jobs) == 1

    def test_as_a_decorator_of_the_code_under_test(self):
        @transaction.atomic
        def sends() -> int:
            tasks.note.delay(1)
            return len(jobs)

        with capture_jobs() as jobs:
            assert sends() == 0
            assert len(jobs) == 1

    def test_a_kit_inside_a_block(self):
        with transaction.atomic(), capture_jobs() as jobs:
            tasks.note.delay(1)
            assert len(jobs) == 1

    def test_what_is_left_of_a_block_that_outlives_the_kit_goes_nowhere(self):
        block = transaction.atomic()
        with capture_jobs() as jobs:
            block.__enter__()
            tasks.note.delay(1)
        assert connection.run_on_commit == []
        block.__exit__(None, None, None)
        assert list(jobs) == []

    def test_eager_runs_when_the_block_has_ended(self):
        with eager():
            with pytest.raises(ValueError):
                tasks.order("gone", fail=True)
            tasks.order("kept")
            assert tasks.done == ["kept"]

    def test_commit_hooks_of_the_project_are_left_to_django(self):
        with capture_jobs() as jobs:
            with self.captureOnCommitCallbacks() as callbacks:
                with transaction.atomic():
                    transaction.on_commit(lambda: tasks.note.delay("hook"))
                    tasks.note.delay("block")
                assert [job.args[0] for job in jobs] == ["block"]
            (hook,) = callbacks
            hook()
            assert [job.args[0] for job in jobs] == ["block", "hook"]

    def test_capturing_commit_hooks_and_executing_them(self):
        with capture_jobs() as jobs:
            with self.captureOnCommitCallbacks(execute=True):
                tasks.order("block")
                transaction.on_commit(lambda: tasks.note.delay("hook"))
            assert [job.args[0] for job in jobs] == ["block", "hook"]

    def test_rows_of_a_job_are_the_tests_own(self):
        with capture_jobs() as jobs:
            tasks.makes_group.delay("a")
            jobs.drain()
        assert Group.objects.filter(name="a").exists()


class WithoutTheKit(TestCase):
    """With a broker that joins no transaction everything is as Django's documentation says."""

    def setUp(self):
        self.broker = MemoryBroker()
        self.enterContext(use_broker(self.broker))

    def count(self) -> int:
        return sum(counts.ready for counts in self.broker.counts(["default"]))

    def test_nothing_is_sent_in_a_test_case(self):
        tasks.order("a")
        assert self.count() == 0
        assert transaction.Atomic.__exit__ is LEAVE

    def test_captured_commit_hooks_send(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            tasks.order("a")
            with pytest.raises(ValueError):
                tasks.order("b", fail=True)
            assert self.count() == 0
        assert len(callbacks) == 1
        assert self.count() == 1


class WithRealCommits(JobsTestMixin, TransactionTestCase):
    def test_the_commit_sends(self):
        with transaction.atomic():
            tasks.note.delay(1)
            with transaction.atomic():
                tasks.note.delay(2)
            self.assertNoJobs()
        self.assertJobEnqueued(tasks.note, count=2)

    def test_a_rollback_does_not(self):
        with pytest.raises(ValueError):
            tasks.order("gone", fail=True)
        self.assertNoJobs()

    def test_a_kit_inside_a_transaction_shows_what_is_sent_inside(self):
        with transaction.atomic(), capture_jobs() as jobs:
            tasks.note.delay(1)
            assert len(jobs) == 1
        self.assertNoJobs()

    def test_jobs_run_outside_of_transactions(self):
        tasks.makes_group.delay("a", then="durable")
        with transaction.atomic():
            tasks.note.delay(1)
        self.runJobs()
        assert Group.objects.count() == 2

    def test_each_thread_has_its_own_transactions(self):
        def order() -> None:
            tasks.order("thread")
            connection.close()

        with transaction.atomic():
            # Nothing is written here yet: SQLite lets the other thread write.
            tasks.note.delay("main")
            thread = threading.Thread(target=order)
            thread.start()
            thread.join(30)
            assert [job.args[0] for job in self.jobs] == ["thread"]
        assert [job.args[0] for job in self.jobs] == ["thread", "main"]


@pytest.mark.django_db
class TestInATransactionOfPytest:
    def test_blocks(self, jobs: Jobs):
        with pytest.raises(ValueError):
            tasks.order("gone", fail=True)
        assert_not_enqueued()
        tasks.order("kept")
        assert len(jobs) == 1

    def test_with_djangos_fixture(self, jobs: Jobs, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            tasks.order("kept")
        assert len(jobs) == 1


def test_the_database_may_be_allowed_after_the_kit_has_begun(jobs: Jobs, request: pytest.FixtureRequest):
    request.getfixturevalue("db")
    tasks.order("kept")
    assert len(jobs) == 1
    handle_id = jobs[0].id
    jobs.drain()
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM django_jobs_jobresult")
        assert cursor.fetchone() == (1,)
    assert jobs.store.get(handle_id) is not None


@pytest.mark.django_db
class TestDatabaseErrors:
    """A job whose queries fail breaks nothing in a worker; in a test it must not break the test's transaction."""

    def test_of_the_orm(self, jobs: Jobs):
        Group.objects.create(name="before")
        tasks.makes_group.delay("twice", then="duplicate")
        (run,) = jobs.drain(propagate=False)
        assert isinstance(run.exception, IntegrityError)
        assert list(Group.objects.values_list("name", flat=True)) == ["before"]

    def test_of_a_cursor(self, jobs: Jobs):
        tasks.makes_group.delay("raw", then="raw")
        (run,) = jobs.drain(propagate=False)
        assert run.failed
        assert Group.objects.count() == 0

    def test_of_eager_jobs(self, jobs_eager: Jobs):
        handle = tasks.makes_group.delay("twice", then="duplicate")
        assert handle.state == "FAILURE"
        assert Group.objects.count() == 0

    def test_other_errors_keep_what_was_written(self, jobs: Jobs):
        tasks.makes_group.delay("kept", then="error")
        jobs.drain(propagate=False)
        assert Group.objects.count() == 1

    def test_durable_blocks_work(self, jobs: Jobs):
        tasks.makes_group.delay("a", then="durable")
        (run,) = jobs.drain()
        assert run.succeeded
        assert Group.objects.count() == 2
