"""capture_jobs(), and what can be said about what it captured."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.test import override_settings
from django.utils import timezone

from django_jobs import send_job
from django_jobs.brokers import get_broker
from django_jobs.exceptions import EnqueueError, JobsError, RelatedObjectMissing, WouldDeadlock
from django_jobs.results import get_store
from django_jobs.testing import Jobs, MemoryBroker, assert_enqueued, assert_not_enqueued, capture_jobs, drain
from tests.testing import tasks


def test_nothing_runs_and_everything_is_listed(jobs: Jobs):
    handle = tasks.mail.apply_async(("ann",), {"subject": "hi"}, headers={"request": "7"}, countdown=30)
    tasks.note.delay(1)
    assert tasks.done == []
    assert [job.task for job in jobs] == ["tests.testing.tasks.mail", "tests.testing.tasks.note"]
    first = jobs[0]
    assert (first.id, first.args, first.kwargs, first.queue, first.priority) == (
        handle.id,
        ("ann",),
        {"subject": "hi"},
        "mail",
        5,
    )
    assert first.headers == {"request": "7"}
    assert first.eta is not None
    assert timedelta(seconds=25) < first.eta - timezone.now() < timedelta(seconds=31)
    assert (jobs[1].eta, jobs[1].expires, jobs[1].options) == (None, None, {})
    assert [job.args for job in jobs[1:]] == [(1,)]


def test_arguments_have_been_through_the_wire(jobs: Jobs):
    sent = {"when": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("1.10"), "tags": ("a", {"b"})}
    tasks.note.delay(sent)
    assert jobs[0].args == (sent,)
    assert jobs[0].args[0] is not sent
    with pytest.raises(TypeError, match="argument 1"):
        tasks.note.delay(object())
    assert len(jobs) == 1


def test_a_known_id_is_captured_once(jobs: Jobs):
    first = tasks.note.delay(1)
    tasks.note.apply_async((1,), job_id=first.id)
    assert len(jobs) == 1


def test_many_at_once(jobs: Jobs):
    tasks.note.enqueue_many([((number,), {}) for number in range(600)])
    assert [job.args[0] for job in jobs] == list(range(600))


@pytest.mark.django_db
def test_a_model_instance_travels_by_key(jobs: Jobs):
    group = Group.objects.create(name="staff")
    moment = datetime(2026, 1, 2, 3, tzinfo=UTC)
    tasks.takes_group.delay(group, at=moment)
    assert_enqueued(tasks.takes_group, args=[group], kwargs={"at": moment})
    Group.objects.update(name="crew")
    assert [run.result for run in drain()] == ["crew 03"]


@pytest.mark.django_db
def test_a_model_instance_that_is_gone_is_shown_as_it_travelled(jobs: Jobs):
    group = Group.objects.create(name="staff")
    tasks.takes_group.delay(group, at=datetime(2026, 1, 2, 3, tzinfo=UTC))
    assert "<Group: staff>" in repr(jobs)
    group.delete()
    with pytest.raises(AssertionError, match=r"takes_group\(\{.*auth"):
        assert_enqueued(tasks.note)
    with pytest.raises(RelatedObjectMissing):
        drain()


class TestAssertEnqueued:
    def test_by_task_name_and_alias(self, jobs: Jobs):
        tasks.renamed.delay()
        send_job("elsewhere.jobs.f", (1,), remote=True)
        assert assert_enqueued(tasks.renamed) == [jobs[0]]
        assert_enqueued("tests.testing.tasks.renamed")
        assert_enqueued("tests.old_name")
        assert_enqueued("elsewhere.jobs.f", args=(1,))
        assert_not_enqueued(tasks.note)

    def test_by_arguments(self, jobs: Jobs):
        tasks.mail.delay("ann", subject="hi", cc="bob")
        assert_enqueued(tasks.mail, args=("ann",))
        assert_enqueued(tasks.mail, args=["ann"], kwargs={"cc": "bob"})
        assert_enqueued(tasks.mail, kwargs={"subject": "hi"})
        assert_enqueued(tasks.mail, kwargs={"to": "ann"})  # however it was passed
        assert_not_enqueued(tasks.mail, args=())
        assert_not_enqueued(tasks.mail, args=("ann", "bob"))
        assert_not_enqueued(tasks.mail, kwargs={"subject": "hello"})
        assert_not_enqueued(tasks.mail, kwargs={"bcc": None})

    def test_by_queue_and_priority(self, jobs: Jobs):
        tasks.mail.delay("ann")
        tasks.mail.apply_async(("bob",), queue="slow", priority=-1)
        assert_enqueued(queue="mail", priority=5, count=1)
        assert_enqueued(tasks.mail, queue="slow", priority=-1, count=1)
        assert_not_enqueued(queue="default")

    def test_how_often(self, jobs: Jobs):
        assert_enqueued(tasks.note, count=0)
        tasks.note.delay(1)
        tasks.note.delay(2)
        assert assert_enqueued(tasks.note, count=2) == list(jobs)
        assert_enqueued(tasks.note, args=(2,), count=1)

    def test_it_says_what_was_enqueued(self, jobs: Jobs):
        tasks.mail.delay("ann", subject="hi")
        with pytest.raises(AssertionError) as raised:
            assert_enqueued(tasks.mail, kwargs={"subject": "bye"})
        assert str(raised.value) == (
            "Expected tests.testing.tasks.mail with kwargs={'subject': 'bye'} to be enqueued; it was 0 times.\n"
            "Enqueued:\n  tests.testing.tasks.mail('ann', subject='hi') in queue 'mail'"
        )
        with pytest.raises(AssertionError, match="a job not to be enqueued"):
            assert_not_enqueued()
        with pytest.raises(AssertionError, match="2 times; it was 1 times"):
            assert_enqueued(tasks.mail, count=2)

    def test_a_condition_that_does_not_exist(self, jobs: Jobs):
        tasks.note.delay(1)
        with pytest.raises(TypeError, match="arg"):
            assert_enqueued(tasks.note, arg=(1,))  # type: ignore[call-arg]

    def test_outside_of_a_block(self):
        with pytest.raises(JobsError, match=r"assert_enqueued\(\) works on captured jobs: call it inside capture_jobs"):
            assert_enqueued(tasks.note)
        with pytest.raises(JobsError, match=r"drain\(\) works"):
            drain()


def test_nothing_is_left_behind():
    broker, store = get_broker(), get_store()
    with contextlib.suppress(KeyError), capture_jobs() as jobs:
        jobs.advance(timedelta(days=365))
        assert (get_broker(), get_store()) == (jobs.broker, jobs.store)
        raise KeyError
    assert (get_broker(), get_store()) == (broker, store)
    with capture_jobs() as later:
        tasks.note.delay(1)
        assert (len(later), len(jobs)) == (1, 0)
    assert abs(timezone.now() - datetime.fromtimestamp(later[0].job.enqueued_ms / 1000, UTC)) < timedelta(minutes=1)


def test_settings_that_change_inside_do_not_bring_the_real_broker_back(jobs: Jobs):
    with override_settings(DJANGO_JOBS={"BROKER": "redis://127.0.0.1:1/0"}):
        tasks.note.delay(1)
        assert isinstance(get_broker(), MemoryBroker)
    tasks.note.delay(2)
    assert len(jobs) == 2


def test_a_block_inside_another_has_jobs_of_its_own(jobs: Jobs):
    with capture_jobs() as inner:
        handle = tasks.note.delay("inner")
        assert_enqueued(count=1)
        inner.drain()
    tasks.note.delay("outer")
    assert [job.args for job in jobs] == [("outer",)]
    assert handle.get() == "inner"  # results are shared
    assert tasks.done == ["inner"]


def test_as_a_decorator():
    @capture_jobs()
    def sends() -> None:
        tasks.note.delay(1)
        assert_enqueued(tasks.note, count=1)

    sends()
    sends()
    assert tasks.done == []


@pytest.mark.django_db
def test_capturing_costs_no_query(jobs: Jobs, django_assert_num_queries):
    with django_assert_num_queries(0):
        tasks.note.delay(1)
        assert_enqueued(tasks.note, args=(1,))


def test_a_real_broker_that_was_away_a_moment_ago_is_not_ours():
    with override_settings(DJANGO_JOBS={"BROKER": "redis://127.0.0.1:1/0"}):
        with pytest.raises(EnqueueError):
            tasks.note.delay(1)
        with capture_jobs() as jobs:
            tasks.note.delay(2)
    assert len(jobs) == 1


def test_clear(jobs: Jobs):
    tasks.note.delay(1)
    jobs.clear()
    assert_not_enqueued()
    assert [run.result for run in drain()] == [1]


def test_waiting_for_a_job_that_nobody_runs_is_refused(jobs: Jobs):
    handle = tasks.note.delay(1)
    assert handle.state == "PENDING"
    with pytest.raises(WouldDeadlock, match=r"call drain\(\) before get\(\)"):
        handle.get()


@pytest.mark.django_db
def test_the_same_inside_the_transaction_of_a_test(jobs: Jobs):
    handle = tasks.note.delay(1)
    with pytest.raises(WouldDeadlock, match=r"call drain\(\) before get\(\)"):
        handle.get(timeout=5)


def test_the_body_is_what_a_worker_would_read(jobs: Jobs):
    tasks.note.delay("x")
    assert json.loads(jobs[0].job.encode())["args"] == ["x"]
