"""From a job to an outcome: every way in which a job can end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError

from django_jobs import clock
from django_jobs.context import JobContext, current, current_job, current_job_or_none
from django_jobs.envelope import Job
from django_jobs.exceptions import Ignore, JobsError, MaxRetriesExceeded, Reject, ResultNotStorable, Retry, Snooze
from django_jobs.execution import (
    LONGEST_DELAY,
    TEXT_LIMIT,
    TRACEBACK_LIMIT,
    Delivery,
    aexecute,
    error_of,
    execute,
    fence_of,
    options_in_force,
)
from django_jobs.options import TaskOptions
from django_jobs.outcome import (
    Failed,
    Ignored,
    Outcome,
    Rejected,
    Retried,
    Revoked,
    Snoozed,
    Succeeded,
    Undeliverable,
)
from django_jobs.registry import registry
from django_jobs.serializers import loads, pack
from django_jobs.task import Task
from tests.core import tasks
from tests.core.samples import NotRegistered, Point

Make = Callable[..., Task[..., Any]]


def job_of(task: Task[..., Any], *args: Any, **fields: Any) -> Job:
    return Job(id="id-1", task=task.name, queue="mail", packed_args=pack(list(args)), **fields)


def raising(error: BaseException | type[BaseException]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        raise error

    return call


@pytest.fixture
def outcome_of(task_of: Make) -> Callable[..., Outcome]:
    """Run a function as the body of a job, and return what became of it."""

    def run(function: Callable[[], Any], delivery: Delivery | None = None, job: Any = None, **options: Any) -> Outcome:
        tasks.CALLS["it"] = function
        task = task_of(tasks.run, **options)
        return execute(job_of(task, "it", **(job or {})), delivery or Delivery())

    return run


Run = Callable[..., Outcome]


# Returned


def test_a_value_is_encoded(outcome_of: Run):
    outcome = outcome_of(lambda: (1, Point(2)))
    assert isinstance(outcome, Succeeded)
    assert outcome.result is not None
    assert loads(outcome.result) == (1, Point(2))


def test_nothing_is_a_value(outcome_of: Run):
    assert outcome_of(lambda: None) == Succeeded(b"null")


def test_an_ignored_result_is_not_even_encoded(outcome_of: Run):
    assert outcome_of(NotRegistered, ignore_result=True) == Succeeded(None)


def test_a_call_may_ignore_its_result(outcome_of: Run):
    assert outcome_of(lambda: 5, job={"options": {"ignore_result": True}}) == Succeeded(None)


@pytest.mark.parametrize("value", [NotRegistered(), 10**5000, [[...]]], ids=["type", "digits", "ellipsis"])
def test_a_result_that_cannot_be_stored_is_a_failure_that_says_so(outcome_of: Run, value: Any):
    outcome = outcome_of(lambda: value, autoretry_for=Exception)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.exception, ResultNotStorable)
    assert outcome.error.type == "django_jobs.exceptions.ResultNotStorable"
    assert outcome.error.text.startswith("The job ran to its end, but its result cannot be stored: ")


# Raised


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError()]
)
def test_whatever_is_raised_is_a_failure(outcome_of: Run, error: BaseException):
    outcome = outcome_of(raising(error))
    assert isinstance(outcome, Failed)
    assert outcome.exception is error
    assert outcome.error.type == type(error).__name__
    assert outcome.error.text == str(error)
    assert "in raising" not in outcome.error.traceback
    assert "in call" in outcome.error.traceback


def test_sys_exit_ends_the_job_only(outcome_of: Run):
    assert isinstance(outcome_of(lambda: sys.exit(7)), Failed)


def endless() -> None:
    endless()


def test_an_endless_recursion_is_a_failure(outcome_of: Run):
    outcome = outcome_of(endless)
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "RecursionError"
    assert len(outcome.error.traceback) < TRACEBACK_LIMIT + 100


def test_an_exception_that_causes_itself_is_a_failure(outcome_of: Run):
    error = ValueError("snake")
    error.__cause__ = error
    outcome = outcome_of(raising(error))
    assert isinstance(outcome, Failed)
    assert outcome.error.text == "snake"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit("nothing to say")

    __repr__ = __str__


def test_an_exception_that_cannot_be_printed_is_a_failure(outcome_of: Run):
    outcome = outcome_of(raising(Unprintable()))
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "tests.core.test_execution.Unprintable"
    assert outcome.error.text == "<an exception that cannot be printed: SystemExit>"
    assert "in call" in outcome.error.traceback


def test_long_texts_are_cut_in_the_middle_and_made_storable(outcome_of: Run):
    outcome = outcome_of(raising(ValueError("begin\0\udc80" + "x" * 100_000 + "end")))
    assert isinstance(outcome, Failed)
    text = outcome.error.text
    assert len(text) < TEXT_LIMIT + 100
    assert text.startswith("begin\\x00\\udc80x")
    assert text.endswith("xend")
    assert "characters left out" in text
    outcome.error.traceback.encode("utf-8")
    assert "\0" not in outcome.error.traceback


def test_an_expected_error_says_so(outcome_of: Run):
    expected = outcome_of(raising(KeyError("k")), throws=(LookupError,))
    unexpected = outcome_of(raising(OSError("k")), name="other", throws=(LookupError,))
    assert isinstance(expected, Failed)
    assert isinstance(unexpected, Failed)
    assert (expected.error.expected, unexpected.error.expected) == (True, False)


# Control exceptions


def test_ignore(outcome_of: Run):
    assert outcome_of(raising(Ignore), autoretry_for=Exception) == Ignored()


def test_reject_is_not_retried(outcome_of: Run):
    outcome = outcome_of(raising(Reject("not mine")), autoretry_for=Exception)
    assert isinstance(outcome, Rejected)
    assert outcome.error.text == "not mine"


@pytest.mark.parametrize("seconds", [0, 2.5, timedelta(seconds=9)])
def test_snooze(outcome_of: Run, seconds: Any):
    outcome = outcome_of(raising(Snooze(seconds)), max_retries=0)
    assert outcome == Snoozed(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)


def test_nobody_snoozes_for_longer_than_a_broker_can_count(outcome_of: Run):
    assert outcome_of(raising(Snooze(1e300))) == Snoozed(LONGEST_DELAY)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "5", None])
def test_a_wrong_snooze_fails_the_job_with_what_is_wrong(outcome_of: Run, wrong: Any):
    def body() -> None:
        raise Snooze(wrong)

    outcome = outcome_of(body)
    assert isinstance(outcome, Failed)
    assert outcome.error.text.startswith("Snooze() takes seconds from now")


# Retries


def test_an_automatic_retry_has_its_error(outcome_of: Run):
    outcome = outcome_of(raising(OSError("away")), autoretry_for=OSError, default_retry_delay=7)
    assert isinstance(outcome, Retried)
    assert (outcome.delay, outcome.error.type, outcome.error.text) == (7.0, "OSError", "away")


def test_the_last_attempt_fails_with_its_error(outcome_of: Run):
    outcome = outcome_of(raising(OSError("away")), autoretry_for=OSError, job={"retries": 3})
    assert isinstance(outcome, Failed)
    assert outcome.error.text == "away"


def test_a_call_may_have_more_retries(outcome_of: Run):
    outcome = outcome_of(raising(OSError), autoretry_for=OSError, job={"retries": 3, "options": {"max_retries": 9}})
    assert isinstance(outcome, Retried)


def retry_while_handling() -> None:
    try:
        raise OSError("mail server away")
    except OSError:
        raise Retry(5)  # noqa: B904 - as people write it


@pytest.mark.parametrize(
    "body", [raising(Retry(5, exc=OSError("mail server away"))), retry_while_handling], ids=["named", "handled"]
)
def test_a_retry_records_the_error_behind_it(outcome_of: Run, body: Callable[[], Any]):
    outcome = outcome_of(body)
    assert isinstance(outcome, Retried)
    assert (outcome.delay, outcome.error.type, outcome.error.text) == (5, "OSError", "mail server away")
    last = outcome_of(body, name="last", job={"retries": 3})
    assert isinstance(last, Failed)
    assert last.error.type == "OSError"


def test_a_retry_without_an_error_says_that_there_are_none_left(outcome_of: Run):
    outcome = outcome_of(raising(Retry(5)), job={"retries": 3})
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.exception, MaxRetriesExceeded)
    assert "has been retried 3 times" in outcome.error.text


def test_a_policy_that_raises_fails_the_job_with_its_error(outcome_of: Run):
    outcome = outcome_of(raising(OSError("first")), retry=lambda job, error: job.nonsense)
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "AttributeError"
    assert "first" in outcome.error.traceback, "the error of the task is shown with it"


def test_a_policy_that_never_ends_is_bounded(outcome_of: Run):
    outcome = outcome_of(raising(OSError()), retry=lambda job, error: float("inf"))
    assert isinstance(outcome, Retried)
    assert outcome.delay == LONGEST_DELAY


# Bound tasks: self.retry()


@pytest.fixture
def bound_outcome(task_of: Make) -> Run:
    def run(function: Callable[[JobContext], Any], job: Any = None, **options: Any) -> Outcome:
        tasks.CALLS["it"] = function
        return execute(job_of(task_of(tasks.bound, bind=True, **options), "it", **(job or {})))

    return run


@pytest.mark.parametrize(
    ("arguments", "delay"),
    [
        ({}, 180),
        ({"countdown": 5}, 5),
        ({"countdown": timedelta(minutes=1)}, 60),
        ({"eta": clock.from_ms(1_000_030_000)}, 30),
        ({"eta": clock.from_ms(1)}, 0),
    ],
)
def test_retry_says_when(bound_outcome: Run, arguments: dict[str, Any], delay: float):
    with clock.use(lambda: 1_000_000.0):
        outcome = bound_outcome(lambda self: self.retry(**arguments))
    assert isinstance(outcome, Retried)
    assert outcome.delay == pytest.approx(delay)


def test_retry_while_handling_an_error_records_it(bound_outcome: Run):
    def body(self: JobContext) -> None:
        try:
            raise OSError("away")
        except OSError:
            self.retry()

    outcome = bound_outcome(body)
    assert isinstance(outcome, Retried)
    assert outcome.error.text == "away"


def test_retry_raises_its_error_when_none_is_left(bound_outcome: Run):
    outcome = bound_outcome(lambda self: self.retry(exc=OSError("away")), max_retries=0)
    assert isinstance(outcome, Failed)
    assert outcome.error.text == "away"


def test_retry_may_have_its_own_bound(bound_outcome: Run):
    more = bound_outcome(lambda self: self.retry(max_retries=9), job={"retries": 3})
    fewer = bound_outcome(lambda self: self.retry(max_retries=1), name="b", job={"retries": 1}, autoretry_for=Exception)
    assert isinstance(more, Retried)
    assert isinstance(fewer, Failed)
    assert fewer.error.type.endswith("MaxRetriesExceeded")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"countdown": 1, "eta": clock.from_ms(1)}, "not both"),
        ({"eta": clock.from_ms(1).replace(tzinfo=None)}, "naive datetime"),
        ({"countdown": "5"}, "takes seconds"),
    ],
)
def test_a_wrong_retry_fails_with_what_is_wrong(bound_outcome: Run, arguments: dict[str, Any], says: str):
    outcome = bound_outcome(lambda self: self.retry(**arguments))
    assert isinstance(outcome, Failed)
    assert says in outcome.error.text


# Not run


def test_a_job_that_has_expired_is_revoked_and_not_run(outcome_of: Run):
    ran: list[int] = []
    with clock.use(lambda: 1_000.0):
        late = outcome_of(lambda: ran.append(1), job={"expires_ms": 999_999})
        in_time = outcome_of(lambda: ran.append(2), name="b", job={"expires_ms": 1_000_000})
    assert isinstance(late, Revoked)
    assert late.error.type == "django_jobs.exceptions.JobExpired"
    assert isinstance(in_time, Succeeded)
    assert ran == [2]


@pytest.mark.parametrize(("bound", "crashes", "runs"), [(3, 0, True), (3, 2, True), (3, 3, False), (1, 1, False)])
def test_a_job_that_kills_its_processes_fails(outcome_of: Run, bound: int, crashes: int, runs: bool):
    outcome = outcome_of(lambda: 1, Delivery(deliveries=9, crashes=crashes), max_deliveries=bound)
    if runs:
        assert isinstance(outcome, Succeeded)
    else:
        assert isinstance(outcome, Failed)
        assert outcome.error.type == "django_jobs.exceptions.WorkerLost"
        assert f"died {crashes} times" in outcome.error.text


def test_an_unknown_task_is_for_another_worker():
    outcome = execute(Job(id="x", task="nowhere.f", queue="q"))
    assert isinstance(outcome, Undeliverable)
    assert outcome.error.text == "No task is called 'nowhere.f' in this worker."


@pytest.mark.parametrize("options", [{"of_a_newer_version": 1}, {"max_retries": "many"}])
def test_options_that_this_code_does_not_know_are_for_another_worker(outcome_of: Run, options: dict[str, Any]):
    outcome = outcome_of(lambda: 1, job={"options": options})
    assert isinstance(outcome, Undeliverable)
    assert next(iter(options)) in outcome.error.text


def test_the_end_of_a_job_is_recorded_by_the_options_that_this_code_knows(task_of: Make):
    task = registry.get(task_of(tasks.returns, max_retries=7).name)
    assert task is not None
    job = Job(id="x", task=task.name, queue="q", options={"max_retries": 2})
    assert options_in_force(task, job).max_retries == 2
    assert options_in_force(task, job.evolve(options={"of_a_newer_version": 1})).max_retries == 7
    assert options_in_force(None, job) == TaskOptions()


def test_options_of_the_project_that_are_wrong_are_no_end_of_the_job(outcome_of: Run, settings: Any):
    settings.DJANGO_JOBS = {"TASKS": {"*": {"priority": "high"}}}
    assert isinstance(outcome_of(lambda: 1), Undeliverable)


def test_arguments_that_cannot_be_decoded_fail_the_job(task_of: Make):
    outcome = execute(Job(id="x", task=task_of(tasks.returns).name, queue="q", packed_args=[{"$": "gone.Type"}]))
    assert isinstance(outcome, Failed)
    assert "'gone.Type'" in outcome.error.text


@pytest.mark.django_db
@pytest.mark.parametrize(("missing", "kind"), [("fail", Failed), ("discard", Revoked)])
def test_a_row_that_is_gone_fails_or_discards_the_job(task_of: Make, missing: str, kind: type):
    task = task_of(tasks.returns, missing=missing)
    group = Group.objects.create(name="g")
    job = job_of(task, group)
    assert isinstance(execute(job.evolve()), Succeeded)
    group.delete()
    outcome = execute(job.evolve())
    assert isinstance(outcome, Failed | Revoked)
    assert type(outcome) is kind
    assert outcome.error.type == "django_jobs.exceptions.RelatedObjectMissing"


@pytest.mark.django_db(databases=["default"])
def test_a_database_that_is_away_when_arguments_are_read_may_be_retried(task_of: Make, monkeypatch: pytest.MonkeyPatch):
    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("away")

    job = job_of(task_of(tasks.returns, autoretry_for=OperationalError), Group.objects.create(name="g"))
    monkeypatch.setattr("django.db.models.query.QuerySet.get", away)
    outcome = execute(job)
    assert isinstance(outcome, Retried)
    assert outcome.error.type == "django.db.utils.OperationalError"


# What a running job knows


def test_the_running_job_is_known_inside_and_only_there(task_of: Make):
    assert execute(job_of(task_of(tasks.me))) == Succeeded(b'"id-1"')
    assert current_job_or_none() is None
    with pytest.raises(JobsError, match="outside of a job"):
        current_job()


def test_the_running_job_is_forgotten_when_it_fails(outcome_of: Run):
    outcome_of(raising(SystemExit))
    assert current.get() is None


def test_a_bound_task_sees_its_request(task_of: Make):
    seen: list[JobContext] = []
    tasks.CALLS["it"] = seen.append
    task = task_of(tasks.bound, bind=True, max_retries=7)
    job = job_of(
        task,
        "it",
        priority=5,
        retries=2,
        generation=4,
        eta_ms=1000,
        expires_ms=10**13,
        headers={"a": "b"},
        parent_id="p",
    )
    execute(job, Delivery(deliveries=1, worker="host-1"))
    (context,) = seen
    request = context.request
    assert (request.id, request.task, request.args, request.kwargs) == ("id-1", task.name, ("it",), {})
    assert (request.queue, request.priority, request.retries, request.deliveries) == ("mail", 5, 2, 1)
    assert (request.eta, request.expires) == (clock.from_ms(1000), clock.from_ms(10**13))
    assert (request.headers, request.root_id, request.parent_id) == ({"a": "b"}, "id-1", "p")
    assert (request.worker, request.fencing_token) == ("host-1", fence_of(job, 1))
    assert (context.id, context.name, context.max_retries) == ("id-1", task.name, 7)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = context.nonsense


def test_fences_rise_with_every_attempt():
    job = Job(id="x", task="t", queue="q")
    later = job.evolve(generation=1)
    fences = [fence_of(job, 0), fence_of(job, 1), fence_of(job, 10**9), fence_of(later, 0), fence_of(later, 1)]
    assert fences == sorted(set(fences))


def test_progress_reaches_the_reporter(task_of: Make):
    said: list[tuple[Any, ...]] = []

    def report(job: Job, state: str, meta: Any, *, fence: int, worker: str) -> None:
        said.append((job.id, state, meta, fence, worker))

    def body(self: JobContext) -> None:
        self.progress(3, 10, "three")
        self.update_state("COUNTING", {"n": 1})

    tasks.CALLS["it"] = body
    job = job_of(task_of(tasks.bound, bind=True), "it", generation=1)
    execute(job, Delivery(worker="w", report=report))
    assert said == [
        ("id-1", "STARTED", {"done": 3, "total": 10, "message": "three"}, 1 << 16, "w"),
        ("id-1", "COUNTING", {"n": 1}, 1 << 16, "w"),
    ]


def test_the_start_is_announced_before_the_function_is_called(outcome_of: Run):
    order: list[str] = []
    outcome_of(lambda: order.append("run"), Delivery(on_start=lambda task, job: order.append(f"start {job.id}")))
    assert order == ["start id-1", "run"]


# Async tasks


@pytest.fixture
def async_outcome(task_of: Make) -> Callable[..., Any]:
    async def run(function: Callable[[], Any], **options: Any) -> Outcome:
        tasks.CALLS["it"] = function
        return await aexecute(job_of(task_of(tasks.arun, **options), "it"))

    return run


async def test_an_async_task_ends_like_any_other(async_outcome: Any):
    assert await async_outcome(lambda: 5) == Succeeded(b"5")
    assert isinstance(await async_outcome(raising(SystemExit(1)), name="b"), Failed)
    assert isinstance(await async_outcome(raising(asyncio.CancelledError()), name="c"), Failed)
    assert isinstance(await async_outcome(raising(OSError()), name="d", autoretry_for=OSError), Retried)
    assert await async_outcome(raising(Ignore()), name="e") == Ignored()
    assert await async_outcome(raising(Snooze(3)), name="f") == Snoozed(3)
    assert isinstance(await aexecute(Job(id="x", task="nowhere", queue="q")), Undeliverable)


async def test_async_jobs_that_run_together_know_themselves(task_of: Make):
    task = task_of(tasks.awho)
    jobs = [job_of(task).evolve(id=f"id-{n}") for n in range(20)]
    outcomes = await asyncio.gather(*(aexecute(job) for job in jobs))
    assert [loads(outcome.result or b"") for outcome in outcomes if isinstance(outcome, Succeeded)] == [
        f"id-{n}" for n in range(20)
    ]


def test_an_error_that_was_never_raised_has_no_traceback():
    error = error_of(ValueError("x"))
    assert (error.type, error.text, error.traceback, error.expected) == ("ValueError", "x", "", False)
