"""Callbacks of a single call."""

from __future__ import annotations

import pytest

from django_jobs import send_job
from tests.workflow.conftest import Stage
from tests.workflow.tasks import add, fails, hear, heard, log_error, mul


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


def test_a_call_takes_a_callback(stage: Stage):
    handle = add.apply_async((2, 2), link=hear.s("sum"))
    stage.work()
    assert handle.get(timeout=0) == 4
    assert heard == [(4, "sum")]


def test_a_call_takes_several_callbacks_and_options(stage: Stage):
    handle = send_job(add.name, (2,), {"y": 2}, link=[mul.s(10) | hear.s(), hear.si("done")], queue="mail")
    stage.work()
    assert handle.queue == "mail"
    assert sorted(heard, key=repr) == [("done",), (40,)]


def test_a_call_takes_an_error_callback(stage: Stage):
    handle = fails.apply_async(link=hear.s(), link_error=log_error.s())
    stage.work()
    assert handle.failed()
    assert heard == [(handle.id, "ValueError('something')", True)]


def test_no_callbacks_are_none(stage: Stage):
    handle = add.apply_async((2, 2), link=None, link_error=None)
    stage.work()
    assert handle.get(timeout=0) == 4
