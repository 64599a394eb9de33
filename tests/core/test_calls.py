"""What is wrong with a call is said at the call."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from django_jobs import clock, send_job
from django_jobs.envelope import Job
from django_jobs.exceptions import EncodeError, JobsConfigurationError, PayloadTooLarge, UnknownTask
from django_jobs.execution import execute
from django_jobs.task import Task
from tests.core import tasks
from tests.core.conftest import RECORDING
from tests.core.recording import RecordingBroker, recording
from tests.core.samples import NotRegistered

Make = Callable[..., Task[..., Any]]
NOW = 1_700_000_000.0
NOW_MS = 1_700_000_000_000
NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001 - that is the mistake

pytestmark = pytest.mark.django_db

#: Jobs leave at once, though each test runs in a transaction.
AT_ONCE = RECORDING | {"ON_COMMIT": False}


@pytest.fixture
def broker(settings: Settings) -> RecordingBroker:
    settings.DJANGO_JOBS = AT_ONCE
    return recording()


@pytest.fixture(autouse=True)
def still() -> Any:
    """Stop the clock, so that moments are exact."""
    with clock.use(lambda: NOW):
        yield


@pytest.fixture
def sent(broker: RecordingBroker, task_of: Make) -> Callable[..., Job]:
    """Call a task, and return the job that the broker got."""

    def send(*args: Any, task: dict[str, Any] | None = None, **call: Any) -> Job:
        handle = task_of(tasks.anything, name=f"t{len(broker.messages)}", **(task or {})).apply_async(args, **call)
        job = broker.jobs[-1]
        assert handle.id == job.id
        return job

    return send


Send = Callable[..., Job]


# Arguments


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (tasks.add, (), {}),
        (tasks.add, (1, 2, 3), {}),
        (tasks.add, (1,), {"c": 3}),
        (tasks.add, (1,), {"a": 3}),
        (tasks.everything, (1,), {"key": "k"}),
        (tasks.everything, (1, 2), {}),
        pytest.param(
            tasks.everything,
            (),
            {"a": 1, "b": 2, "key": "k"},
            marks=pytest.mark.xfail(sys.version_info >= (3, 13), reason="bind() of 3.13 takes it", strict=False),
        ),
        (tasks.keyword_only, (), {}),
        (tasks.keyword_only, (1,), {}),
        (tasks.who, (1,), {}),
    ],
)
def test_wrong_arguments_are_a_type_error_of_the_call(
    broker: RecordingBroker, task_of: Make, function: Any, args: Any, kwargs: Any
):
    task = task_of(function)
    with pytest.raises(TypeError) as caught:
        task.delay(*args, **kwargs)
    assert str(caught.value).startswith(f"{task.name}(")
    with pytest.raises(TypeError, match="argument"):
        function(*args, **kwargs)
    assert not broker.batches


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (tasks.add, (1,), {}),
        (tasks.add, (1, 2), {}),
        (tasks.add, (), {"a": 1}),
        (tasks.everything, (1, 2, 3, 4), {"key": "k", "also": 1}),
        (tasks.everything, (1,), {"b": 2, "key": "k"}),
        (tasks.keyword_only, (), {"key": 1}),
        (tasks.who, (), {}),
        (tasks.anything, tuple(range(50)), {"x": 1}),
    ],
)
def test_right_arguments_reach_the_broker(
    broker: RecordingBroker, task_of: Make, function: Any, args: Any, kwargs: Any
):
    task_of(function).delay(*args, **kwargs)
    (job,) = broker.jobs
    assert (job.args, job.kwargs) == (args, kwargs)


def test_the_first_parameter_of_a_bound_task_is_not_passed(broker: RecordingBroker, task_of: Make):
    task = task_of(tasks.bound, bind=True)
    task.delay("x")
    with pytest.raises(TypeError, match="too many"):
        task.delay("self", "x")


def test_an_argument_that_cannot_travel_is_named(broker: RecordingBroker, task_of: Make):
    task = task_of(tasks.anything)
    with pytest.raises(EncodeError, match=r"^argument 2 of tests\.core\.tasks\.anything is of type .*NotRegistered"):
        task.delay(1, NotRegistered())
    with pytest.raises(EncodeError, match=r"^argument 'order'\['x'\] of|^argument 'order' of .*\['x'\] is of type"):
        task.delay(order={"x": NotRegistered()})
    assert not broker.batches


def test_a_job_that_is_too_large_is_refused_with_its_size(broker: RecordingBroker, task_of: Make, settings: Settings):
    settings.DJANGO_JOBS = AT_ONCE | {"MAX_PAYLOAD": 1000}
    task_of(tasks.anything).delay("x" * 800)
    with pytest.raises(PayloadTooLarge, match=r"is 2,\d\d\d bytes large; DJANGO_JOBS\['MAX_PAYLOAD'\] allows 1,000"):
        task_of(tasks.returns).delay("x" * 2000)


@pytest.mark.parametrize("args", ["abc", b"abc", 7, {"a": 1}])
def test_arguments_that_are_no_list_are_refused(broker: RecordingBroker, task_of: Make, args: Any):
    with pytest.raises(TypeError, match="Pass the arguments as a list or tuple, such as"):
        task_of(tasks.anything).apply_async(args)
    assert not broker.batches


def test_arguments_may_be_given_by_name(broker: RecordingBroker, task_of: Make):
    task_of(tasks.anything).apply_async(args=[1], kwargs={"k": 2})
    assert (broker.jobs[0].args, broker.jobs[0].kwargs) == ((1,), {"k": 2})


# Moments


@pytest.mark.parametrize(
    ("call", "eta_ms"),
    [
        ({}, None),
        ({"countdown": 30}, NOW_MS + 30_000),
        ({"countdown": 0.25}, NOW_MS + 250),
        ({"countdown": timedelta(minutes=1)}, NOW_MS + 60_000),
        ({"countdown": 0}, None),
        ({"countdown": -5}, None),
        ({"countdown": None, "eta": None}, None),
        ({"eta": clock.from_ms(NOW_MS + 5_000)}, NOW_MS + 5_000),
        ({"eta": clock.from_ms(NOW_MS - 5_000)}, NOW_MS - 5_000),
    ],
)
def test_when_a_job_may_start(sent: Send, call: dict[str, Any], eta_ms: int | None):
    assert sent(**call).eta_ms == eta_ms


@pytest.mark.parametrize(
    ("task", "call", "expires_ms"),
    [
        ({}, {}, None),
        ({"expires": 60}, {}, NOW_MS + 60_000),
        ({"expires": 60}, {"expires": None}, None),
        ({"expires": 60}, {"expires": timedelta(seconds=5)}, NOW_MS + 5_000),
        ({"expires": 60}, {"countdown": 100}, NOW_MS + 160_000),
        ({}, {"expires": clock.from_ms(NOW_MS + 1)}, NOW_MS + 1),
        ({}, {"expires": -1}, NOW_MS - 1_000),
    ],
)
def test_when_a_job_expires(sent: Send, task: dict[str, Any], call: dict[str, Any], expires_ms: int | None):
    assert sent(task=task, **call).expires_ms == expires_ms


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ({"countdown": 5, "eta": clock.from_ms(NOW_MS)}, TypeError, "countdown= or eta=, not both"),
        ({"countdown": "5"}, TypeError, "countdown= takes seconds or a timedelta, not '5'"),
        ({"countdown": True}, TypeError, "countdown= takes"),
        ({"countdown": float("inf")}, ValueError, "no calendar has"),
        ({"countdown": float("nan")}, ValueError, "no calendar has"),
        ({"countdown": 1e15}, ValueError, "no calendar has"),
        ({"countdown": timedelta.max}, ValueError, "no calendar has"),
        ({"eta": 5}, TypeError, "eta= takes a datetime, not 5; countdown= takes seconds"),
        ({"eta": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=12)))}, ValueError, "eta= is a moment that no"),
        ({"eta": datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))}, ValueError, "no calendar has in UTC"),
        ({"expires": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))}, ValueError, "expires= is a moment"),
        ({"result_expires": 1e30}, JobsConfigurationError, "result_expires must be .* at most a century"),
        ({"result_expires": timedelta.max}, JobsConfigurationError, "result_expires must be"),
        ({"eta": NAIVE}, ValueError, "eta= got the naive datetime .* but USE_TZ is on"),
        ({"expires": NAIVE}, ValueError, "expires= got the naive datetime .* but USE_TZ is on"),
        ({"expires": "5"}, TypeError, "expires= takes seconds, a timedelta or a datetime"),
        ({"expires": float("inf")}, ValueError, "no calendar has"),
        ({"headers": {"a": 1}}, TypeError, "headers= takes a dictionary of strings"),
        ({"headers": {1: "a"}}, TypeError, "headers= takes a dictionary of strings"),
        ({"headers": "a"}, TypeError, "headers= takes a dictionary of strings"),
        ({"job_id": "order-7"}, ValueError, "A job id is a UUID, not 'order-7'"),
        ({"queue": "no good"}, JobsConfigurationError, "The option queue must be"),
        ({"queue": None}, JobsConfigurationError, "The option queue must be"),
        ({"using": "nope"}, JobsConfigurationError, "using names the database 'nope', which .* Known: .*default"),
        ({"using": "defualt"}, JobsConfigurationError, r"Did you mean 'default'\?"),
        ({"priority": 101}, JobsConfigurationError, r"from -100 to 100 \(higher runs sooner\)"),
        ({"max_retries": -1}, JobsConfigurationError, "The option max_retries must be"),
        ({"countdwn": 5}, JobsConfigurationError, "has no option 'countdwn'. Did you mean 'countdown'"),
        ({"task_id": "x"}, JobsConfigurationError, "It is called job_id here"),
        ({"retry": True}, JobsConfigurationError, r"no option 'retry'. Sending is tried within .* @job\(retry=...\)"),
        ({"retry_policy": {"max_retries": 3}}, JobsConfigurationError, "Sending is tried within ENQUEUE_TIMEOUT"),
        ({"link": print}, TypeError, r"link= takes signatures, .* write print\.s\("),
        ({"link_error": [print]}, TypeError, r"link_error= takes signatures, .* write print\.s\("),
        ({"routing_key": "mail"}, JobsConfigurationError, "no routing keys: pass queue="),
        ({"serializer": "pickle"}, JobsConfigurationError, "travel as JSON"),
        ({"compression": "zlib"}, JobsConfigurationError, "not compressed"),
        ({"autoretry_for": (OSError,)}, JobsConfigurationError, "no option 'autoretry_for'. It is an option of @job"),
    ],
)
def test_a_wrong_option_of_a_call(
    broker: RecordingBroker, task_of: Make, call: dict[str, Any], error: type[Exception], says: str
):
    with pytest.raises(error, match=says):
        task_of(tasks.anything).apply_async((), **call)
    assert not broker.batches


def test_a_naive_moment_is_of_the_project_without_time_zones(sent: Send, settings: Settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Paris"
    assert sent(eta=NAIVE.replace(hour=12)).eta_ms == clock.to_ms(datetime(2030, 1, 1, 11, tzinfo=UTC))


# Options of a call


def test_options_of_a_call_win_and_travel(sent: Send):
    job = sent(
        task={"queue": "a", "priority": 1, "max_retries": 1},
        queue="b", priority=-7, max_retries=None, default_retry_delay=timedelta(minutes=2), headers={"tenant": "acme"},
    )  # fmt: skip
    assert (job.queue, job.priority, job.headers) == ("b", -7, {"tenant": "acme"})
    assert job.options == {"max_retries": None, "default_retry_delay": 120.0}


def test_a_job_has_the_options_of_its_task(sent: Send):
    job = sent(task={"queue": "a", "priority": 1})
    assert (job.queue, job.priority, job.options, job.enqueued_ms) == ("a", 1, {}, NOW_MS)
    assert UUID(job.id).version == 7


def test_options_of_the_project_are_forgotten_when_settings_change(task_of: Make, settings: Settings):
    task = task_of(tasks.add)
    settings.DJANGO_JOBS = RECORDING | {"TASKS": {"tests.*": {"queue": "slow"}}}
    assert task.options.queue == "slow"
    settings.DJANGO_JOBS = RECORDING
    assert task.options.queue == "default"


def test_a_job_knows_the_job_that_sent_it(broker: RecordingBroker, task_of: Make):
    child = task_of(tasks.anything)
    tasks.CALLS["it"] = child.delay
    task = task_of(tasks.run, ignore_result=True)
    execute(Job(id="parent", task=task.name, queue="q", packed_args=["it"]))
    execute(Job(id="parent", task=task.name, queue="q", packed_args=["it"], root_id="root"))
    assert [(job.root_id, job.parent_id) for job in broker.jobs] == [("parent", "parent"), ("root", "parent")]


# job_id


def test_one_job_id_is_sent_once(broker: RecordingBroker, task_of: Make):
    task, given = task_of(tasks.add), uuid4()
    first = task.apply_async((1,), job_id=given)
    second = task.apply_async((1,), job_id=str(given).upper())
    assert first.id == second.id == str(given)
    (queued,) = broker.counts(["default"])
    assert queued.ready == 1


def test_a_job_id_of_none_is_a_new_one(sent: Send):
    assert UUID(sent(job_id=None).id).version == 7


# Many


def test_many_jobs_are_sent_in_order(broker: RecordingBroker, task_of: Make):
    handles = task_of(tasks.add).enqueue_many([((n,), {"b": n}) for n in range(1_200)], queue="bulk", countdown=5)
    assert [handle.id for handle in handles] == [job.id for job in broker.jobs]
    assert [job.args for job in broker.jobs] == [(n,) for n in range(1_200)]
    assert {(job.queue, job.eta_ms) for job in broker.jobs} == {("bulk", NOW_MS + 5_000)}
    assert len(broker.batches) == 1


@pytest.mark.parametrize(
    ("last", "error"),
    [(((), {}), TypeError), (((NotRegistered(),), {}), EncodeError), ((("x" * 2_000_000,), {}), PayloadTooLarge)],
    ids=["arguments", "type", "size"],
)
def test_many_jobs_are_all_sent_or_none(broker: RecordingBroker, task_of: Make, last: Any, error: type[Exception]):
    with pytest.raises(error):
        task_of(tasks.returns).enqueue_many([((1,), {}), ((2,), {}), last])
    assert not broker.batches


def test_many_jobs_share_no_id(broker: RecordingBroker, task_of: Make):
    with pytest.raises(TypeError, match="cannot share a job_id"):
        task_of(tasks.add).enqueue_many([((1,), {})], job_id=uuid4())
    assert task_of(tasks.returns).enqueue_many([]) == []
    assert not broker.batches


@pytest.mark.parametrize("call", [7, (7,), "ab", (1, 2), ((1,), None)])
def test_many_jobs_are_pairs(broker: RecordingBroker, task_of: Make, call: Any):
    with pytest.raises(TypeError, match=r"takes \(args, kwargs\) pairs, such as .*; call 1 is ") as caught:
        task_of(tasks.returns).enqueue_many([((1,), {}), call])
    assert repr(call) in str(caught.value)
    assert not broker.batches


# By name


def test_a_job_is_sent_by_name(broker: RecordingBroker, task_of: Make):
    task_of(tasks.add, aliases=["old.add"])
    send_job("tests.core.tasks.add", (1,), {"b": 2}, queue="x")
    send_job("old.add", (1,))
    assert [(job.task, job.queue, job.args) for job in broker.jobs] == [
        ("tests.core.tasks.add", "x", (1,)),
        ("tests.core.tasks.add", "default", (1,)),
    ]
    with pytest.raises(TypeError, match="missing"):
        send_job("tests.core.tasks.add")


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("name", [None, "", 5, ["tests.core.tasks.add"], b"tests.core.tasks.add"])
def test_what_is_no_name_is_refused(broker: RecordingBroker, name: Any, remote: bool):
    with pytest.raises(TypeError, match=re.escape(f"send_job() takes the name of a task, not {name!r}.")):
        send_job(name, (1,), remote=remote)
    assert not broker.batches


def test_a_task_itself_is_no_name(task_of: Make):
    task: Any = task_of(tasks.add)
    with pytest.raises(TypeError, match=r"This one is called 'tests\.core\.tasks\.add'"):
        send_job(task, (1,))


def test_an_unknown_name_is_an_error_unless_it_is_remote(task_of: Make, settings: Settings):
    settings.DJANGO_JOBS = RECORDING | {"TASKS": {"far.*": {"queue": "far", "on_commit": False}}}
    task_of(tasks.add)
    with pytest.raises(UnknownTask, match=r"Did you mean 'tests\.core\.tasks\.add'.*remote=True"):
        send_job("tests.core.tasks.addd", (1,))
    handle = send_job("far.away", (1,), remote=True, countdown=1)
    assert [(job.task, job.queue, job.id) for job in recording().jobs] == [("far.away", "far", handle.id)]
    with pytest.raises(JobsConfigurationError, match="has no option 'x'"):
        send_job("far.away", remote=True, x=1)


# Calls in this process


def test_a_plain_call_runs_here(broker: RecordingBroker, task_of: Make):
    assert task_of(tasks.add)(1, b=2) == 3
    assert not broker.batches


def test_a_plain_call_of_a_bound_task_gets_a_context(task_of: Make):
    thing = object()
    tasks.CALLS[thing] = lambda self: (self.request.args, self.id, self.request.retries)
    args, job_id, retries = task_of(tasks.bound, bind=True)(thing)
    assert args == (thing,), "what is called here need not be able to travel"
    assert UUID(job_id).version == 7
    assert retries == 0


async def test_a_plain_call_of_an_async_task_gives_its_coroutine(task_of: Make):
    tasks.CALLS["it"] = lambda: 5
    assert await task_of(tasks.arun)("it") == 5


# From async code


async def test_async_code_has_the_same_calls(broker: RecordingBroker, task_of: Make):
    task = task_of(tasks.add)
    one = await task.adelay(1, b=2)
    two = await task.aapply_async((3,), queue="x")
    many = await task.aenqueue_many([((4,), {}), ((5,), {})])
    assert [job.id for job in broker.jobs] == [one.id, two.id, *(handle.id for handle in many)]
    with pytest.raises(TypeError, match="missing"):
        await task.adelay()
