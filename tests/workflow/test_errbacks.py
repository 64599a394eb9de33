"""How error callbacks are called, whatever they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_jobs import group
from django_jobs.canvas import Expression
from tests.workflow.conftest import Stage
from tests.workflow.tasks import add, fails, headers, hear, heard, log_error, mul


@pytest.fixture(autouse=True)
def nothing_heard() -> Iterator[None]:
    heard.clear()
    yield
    heard.clear()


def told(stage: Stage, errback: Expression) -> list[object]:
    handle = fails.s().on_error(errback).delay()
    stage.work()
    return [tuple("id" if part == handle.id else part for part in entry) for entry in heard]


def test_an_error_callback_is_told_before_its_own_arguments(stage: Stage):
    assert told(stage, log_error.s("mine")) == [("id", "ValueError('something')", True, "mine")]


def test_an_immutable_error_callback_is_called_with_its_own_arguments_alone(stage: Stage):
    assert told(stage, hear.si("mine", key=1)) == [("mine", {"key": 1})]


def test_all_that_an_error_callback_starts_with_is_told(stage: Stage):
    assert sorted(told(stage, group(log_error.s(1), log_error.s(2) | hear.si("then"), hear.si("alone"))), key=repr) == [
        ("alone",),
        ("id", "ValueError('something')", True, 1),
        ("id", "ValueError('something')", True, 2),
        ("then",),
    ]


def test_an_error_callback_whose_parameters_do_not_fit_is_refused_at_the_call():
    with pytest.raises(TypeError, match=r"after the request, exception and traceback .*; \.si\(\.\.\.\) takes none"):
        fails.s().on_error(mul.s()).delay()


def test_a_task_whose_parameters_do_not_fit_is_refused_at_the_call():
    with pytest.raises(TypeError, match=r"missing .* 'y' after the value of what comes before it"):
        (add.s(1, 1) | add.s()).delay()
    with pytest.raises(TypeError, match=r"missing a required argument: 'x'\.$"):
        (headers.s() | add.si()).delay()
