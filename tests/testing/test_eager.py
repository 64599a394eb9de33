"""eager(): jobs run where they are sent, and are otherwise what they are in a worker."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from django_jobs.exceptions import JobsError
from django_jobs.models import JobResult
from django_jobs.testing import Jobs, assert_enqueued, capture_jobs, drain, eager
from tests.testing import tasks


def test_a_job_runs_at_once_and_its_result_is_there(jobs_eager: Jobs):
    handle = tasks.mail.delay("ann")
    assert tasks.done == ["ann"]
    assert (handle.get(), handle.state) == ("ann: hello", "SUCCESS")
    assert_enqueued(tasks.mail, kwargs={"to": "ann"}, queue="mail")
    assert [run.result for run in jobs_eager.runs] == ["ann: hello"]


@pytest.mark.django_db
def test_results_are_rows(jobs_eager: Jobs):
    handle = tasks.note.delay(1)
    assert str(JobResult.objects.get(state="SUCCESS").pk) == handle.id


def test_arguments_go_over_the_wire(jobs_eager: Jobs):
    sent = [1, 2]
    tasks.note.delay(sent)
    assert tasks.done == [[1, 2]]
    assert tasks.done[0] is not sent
    with pytest.raises(TypeError):
        tasks.note.delay(object())


def test_a_result_that_cannot_travel_fails_the_job(jobs_eager: Jobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks.note, "function", lambda word: object())
    assert tasks.note.delay(1).state == "FAILURE"


def test_async_tasks(jobs_eager: Jobs):
    assert tasks.anote.delay("a").get() == "A"


async def test_from_async_code(jobs_eager: Jobs):
    handle = await tasks.asends.adelay("a")
    assert await handle.aget() == "a"
    assert tasks.done == ["a"]


async def test_a_coroutine_is_told_to_await(jobs_eager: Jobs):
    with pytest.raises(SynchronousOnlyOperation, match=r"await adelay\(\)"):
        tasks.note.delay("a")


def test_jobs_of_jobs_run_inside_of_them(jobs_eager: Jobs):
    tasks.chained.delay(3)
    assert tasks.done == [3, 2, 1, 0]
    assert len(jobs_eager.runs) == 4


def test_nothing_waits(jobs_eager: Jobs):
    tasks.note.apply_async(("later",), countdown=timedelta(days=1))
    assert tasks.done == ["later"]
    assert jobs_eager[0].eta is not None


class TestRetries:
    def test_all_at_once(self, jobs_eager: Jobs):
        handle = tasks.flaky.delay(2)
        assert (handle.get(), handle.retries, tasks.done) == (2, 2, [0, 1, 2])

    def test_no_more_than_there_are(self, jobs_eager: Jobs):
        handle = tasks.flaky.delay(9)
        assert (handle.state, tasks.done) == ("FAILURE", [0, 1, 2, 3])
        with pytest.raises(ConnectionError, match="attempt 4"):
            handle.get()

    def test_for_ever(self, jobs_eager: Jobs):
        with pytest.raises(JobsError, match="never end: 10,000 attempts"):
            tasks.never_gives_up.delay()
        assert tasks.note.delay(1).get() == 1
        assert drain() == []


def test_jobs_that_send_each_other_for_ever(jobs_eager: Jobs):
    with pytest.raises(JobsError, match="20 deep"):
        tasks.forever.delay()
    assert tasks.note.delay(1).get() == 1


class TestFailures:
    def test_delay_does_not_raise_them(self, jobs_eager: Jobs):
        handle = tasks.fails.delay()
        assert handle.failed()
        with pytest.raises(ValueError, match="no luck"):
            handle.get()

    def test_it_does_on_request(self):
        with eager(propagate=True):
            with pytest.raises(ValueError, match="no luck") as raised:
                tasks.fails.delay()
            assert raised.traceback[-1].name == "fails"
            assert tasks.flaky.delay(3).get() == 3
            with pytest.raises(ConnectionError, match="attempt 4"):
                tasks.flaky.delay(4)
            tasks.fails_as_planned.delay()
            tasks.note.delay("after")
        assert tasks.done[-1] == "after"

    @pytest.mark.django_db
    def test_on_request_at_the_end_of_the_block(self):
        @transaction.atomic
        def view() -> None:
            tasks.fails.delay()
            tasks.done.append("still inside")

        with eager(propagate=True), pytest.raises(ValueError, match="no luck"):
            view()
        assert tasks.done == ["still inside"]


def test_capturing_inside_of_eager(jobs_eager: Jobs):
    with capture_jobs() as jobs:
        tasks.note.delay(1)
        assert (len(jobs), tasks.done) == (1, [])
    tasks.note.delay(2)
    assert tasks.done == [2]
