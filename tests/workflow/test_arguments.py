"""Canvases that are arguments of tasks."""

from __future__ import annotations

import pytest

from django_jobs import AsyncResult, chain, chord, group
from django_jobs.canvas import Expression
from tests.workflow.conftest import Stage
from tests.workflow.tasks import add, headers, hear, mul, replaced, then, xsum

CANVASES: list[tuple[Expression, object]] = [
    (add.s(1, 1), 2),
    (add.s(1, 1) | mul.s(2), 4),
    (group(add.s(1, 1), add.s(2, 2)), [2, 4]),
    (chord([add.s(1, 1), add.s(2, 2)], xsum.s()), 6),
    (add.chunks([(1, 1), (2, 2)], 1), [[2], [4]]),
    (headers.s().set(headers={"a": "b"}), {"a": "b"}),
]


@pytest.mark.parametrize(("canvas", "value"), CANVASES, ids=lambda case: getattr(case, "kind", ""))
def test_a_canvas_is_an_argument_like_any_other(stage: Stage, canvas: Expression, value: object):
    handle = replaced.delay(canvas)
    stage.work()
    assert handle.get(timeout=0) == value


def test_a_task_sends_a_signature_that_it_was_given(stage: Stage):
    handle = then.delay(20, add.s(1))
    stage.work()
    sent: AsyncResult[int] = AsyncResult(handle.get(timeout=0))
    assert sent.get(timeout=0) == 21
    assert handle.children == [sent]


def test_a_canvas_is_a_value(stage: Stage):
    handle = chain(replaced.s(add.s(2, 2)), then.s(add.s(1))).delay()
    stage.work()
    assert AsyncResult[int](handle.get(timeout=0)).get(timeout=0) == 5


def test_what_a_step_got_from_before_is_named_in_its_row(stage: Stage):
    last = chain(hear.s(1), hear.s(2), hear.si(3)).delay()
    middle, first = last.parent, last.parent.parent
    named = [f"<value of {first.id}>", 2]
    if not stage.is_eager:
        stage.work_once()
        assert list(middle.args) == named  # before it has run, too
    stage.work()
    assert [list(one.args) for one in (first, middle, last)] == [[1], named, [3]]
