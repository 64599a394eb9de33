"""From an outcome to the record of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from django_jobs.brokers.base import Claimed
from django_jobs.envelope import Job, decode
from django_jobs.options import TaskOptions
from django_jobs.outcome import Error, Failed, Ignored, Outcome, Rejected, Retried, Revoked, Snoozed, Succeeded
from django_jobs.results.base import Record
from django_jobs.results.recording import HISTORY_TRACEBACK_LIMIT, record_of, record_of_undecodable

JOB = Job(
    id="018bcfe5-687b-7000-8000-000000000001",
    task="nowhere.task",
    queue="mail",
    packed_args=[7, "x"],
    packed_kwargs={"to": "a@b"},
    priority=3,
    eta_ms=500,
    enqueued_ms=400,
    retries=2,
    generation=2,
    root_id="018bcfe5-687b-7000-8000-000000000002",
    parent_id="018bcfe5-687b-7000-8000-000000000003",
)
ERROR = Error("shop.Boom", "boom", "Traceback ...")
DAY = 86_400_000


def recorded(outcome: Outcome, job: Job = JOB, **given: Any) -> Record:
    values: dict[str, Any] = {
        "options": TaskOptions(),
        "deliveries": 1,
        "fence": 2 << 16 | 1,
        "worker": "w-1",
        "started_ms": 1000,
        "finished_ms": 2000,
    }
    return record_of(job, outcome, **{**values, **given})


def test_a_success_says_all_that_is_known():
    assert recorded(Succeeded(b'"done"')) == Record(
        id=JOB.id,
        task="nowhere.task",
        queue="mail",
        state="SUCCESS",
        priority=3,
        args='[7,"x"]',
        kwargs='{"to":"a@b"}',
        result='"done"',
        worker="w-1",
        retries=2,
        deliveries=1,
        fence=2 << 16 | 1,
        enqueued_ms=400,
        eta_ms=500,
        started_ms=1000,
        finished_ms=2000,
        expires_ms=2000 + DAY,
        root_id=JOB.root_id,
        parent_id=JOB.parent_id,
    )


@pytest.mark.parametrize("outcome", [Succeeded(None), Ignored()])
def test_an_ignored_result_is_a_success_without_one(outcome: Outcome):
    record = recorded(outcome)
    assert (record.state, record.result) == ("SUCCESS", None)


@pytest.mark.parametrize("outcome", [Failed(ERROR), Rejected(ERROR)])
def test_a_failure_keeps_its_message_and_error(outcome: Outcome):
    record = recorded(outcome)
    assert (record.state, record.exception_type, record.exception, record.traceback) == (
        "FAILURE",
        "shop.Boom",
        "boom",
        "Traceback ...",
    )
    assert record.message is not None
    assert decode(record.message, job_id=JOB.id, queue=JOB.queue) == JOB
    assert record.expires_ms == 2000 + 30 * DAY
    assert record.history == ""


def test_a_retry_keeps_the_message_of_the_next_attempt_and_a_line_of_this_one():
    following = JOB.evolve(retries=3, generation=3)
    record = recorded(Retried(ERROR, 60.0), following=following.encode(), eta_ms=62_000)
    assert (record.state, record.eta_ms, record.fence) == ("RETRY", 62_000, 2 << 16 | 1)
    assert record.message is not None
    assert decode(record.message, job_id=JOB.id, queue=JOB.queue) == following
    assert record.history.endswith("\n")
    assert json.loads(record.history) == {
        "attempt": 3,
        "state": "RETRY",
        "exception_type": "shop.Boom",
        "exception": "boom",
        "traceback": "Traceback ...",
        "worker": "w-1",
        "started_ms": 1000,
        "finished_ms": 2000,
    }
    assert record.expires_ms is not None
    assert record.expires_ms > 62_000


def test_a_line_of_history_is_one_line_and_short():
    error = Error("E", "two\nlines \0 \ud800", "x\n" * 100_000)
    line = recorded(Retried(error, 1.0), following=b"{}", eta_ms=1).history
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line)["exception"] == error.text
    assert len(line) < 3 * HISTORY_TRACEBACK_LIMIT


def test_a_snoozed_job_waits_for_its_moment():
    record = recorded(Snoozed(5.0), following=b'{"v":1}', eta_ms=7000)
    assert (record.state, record.eta_ms, record.exception, record.message) == ("SCHEDULED", 7000, "", '{"v":1}')


def test_a_revoked_job_never_started():
    record = recorded(Revoked(ERROR))
    assert (record.state, record.started_ms, record.expires_ms) == ("REVOKED", None, 2000 + DAY)
    assert record.message is not None


def test_how_long_a_record_is_kept():
    options = TaskOptions(result_expires=timedelta(seconds=5))
    assert recorded(Succeeded(None), options=options).expires_ms == 7000
    assert recorded(Failed(ERROR), options=options).expires_ms == 7000
    with override_settings(DJANGO_JOBS={"RESULTS": {"EXPIRES": None, "FAILURES_EXPIRE": 1}}):
        assert recorded(Succeeded(None)).expires_ms is None
        assert recorded(Failed(ERROR)).expires_ms == 3000


@pytest.mark.parametrize(
    ("body", "task", "message"),
    [
        (b'{"v":99,"task":"shop.new","at":1}', "shop.new", '{"v":99,"task":"shop.new","at":1}'),
        (b"not JSON", "(unreadable)", "not JSON"),
        (b"\x80\x04pickled", "(unreadable)", None),
        (b'{"task":["x"]}', "(unreadable)", '{"task":["x"]}'),
    ],
)
def test_a_message_that_cannot_be_read_is_recorded_with_its_raw_text(body: bytes, task: str, message: str | None):
    claimed = Claimed(JOB.id, "mail", body, "t", 300, 5, deliveries=2)
    record = record_of_undecodable(claimed, Failed(ERROR), worker="w-1", now_ms=2000)
    assert (record.state, record.task, record.message) == ("FAILURE", task, message)
    assert (record.deliveries, record.fence, record.enqueued_ms, record.finished_ms) == (2, 2, 300, 2000)
    assert json.loads(record.args) == [body.decode("ascii", errors="backslashreplace")]
