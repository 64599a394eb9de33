"""Calls of map, starmap and chunks that cannot be right are refused where they are sent."""

from __future__ import annotations

from typing import Any

import pytest

from django_jobs import chain, chord, group, job, xstarmap
from django_jobs.canvas import Expression
from django_jobs.exceptions import UnknownTask
from tests.workflow.conftest import Stage
from tests.workflow.tasks import add, hear, heard, log_error, replaced, xsum


@job(name="tests.workflow.by_name")
def by_name(*, x: int) -> int:
    return x


@job(name="tests.workflow.pair", bind=True)
def pair(self: Any, x: int, y: int = 2) -> int:
    return x + y


NO_TUPLES: Any = [1, 2]
NO_TUPLE: Any = [(1, 1), [2, 2], 3]
NOTHING: Any = [None]
ADD = r"^tests\.workflow\.tasks\.add\(x.*\).*: "


@pytest.mark.parametrize(
    ("canvas", "message"),
    [
        (add.starmap([(1, 1), (2,)]), ADD + r"item 2 of starmap\(\): missing a required argument: 'y'\.$"),
        (add.starmap([(1, 1), (2, 2, True, 4)]), ADD + r"item 2 of starmap\(\): too many positional arguments\.$"),
        (add.starmap(NO_TUPLE), ADD + r"item 3 of starmap\(\): a tuple of arguments is expected, not int\.$"),
        (add.starmap(["ab"]), r"item 1 of starmap\(\): a tuple of arguments is expected, not str\.$"),
        (add.starmap(NOTHING), r"item 1 of starmap\(\): a tuple of arguments is expected, not NoneType\.$"),
        (add.chunks([(1, 1)] * 7 + [(1,)], 3), ADD + r"item 8 of chunks\(\): missing a required argument: 'y'\.$"),
        (add.chunks(NO_TUPLES, 1), ADD + r"item 1 of chunks\(\): a tuple of arguments is expected, not int\.$"),
        (add.map([1, 2]), ADD + r"item 1 of map\(\): missing a required argument: 'y'\.$"),
        (by_name.map([1]), r"item 1 of map\(\): too many positional arguments\.$"),
        (pair.starmap([(1, 2), (1, 2, 3)]), r"item 2 of starmap\(\): too many positional arguments\.$"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(
    "around",
    [
        lambda canvas: canvas,
        lambda canvas: chain(hear.s(1), canvas),
        lambda canvas: chord(canvas, hear.s()),
        lambda canvas: hear.s(1).link(canvas),
        lambda canvas: hear.s(1).on_error(group(canvas, log_error.s())),
    ],
    ids=["alone", "in a chain", "in a header", "as a callback", "as an error callback"],
)
@pytest.mark.parametrize("stage", ["memory", "sqlite"], indirect=True)
def test_an_item_that_does_not_fit_is_named(stage: Stage, canvas: Expression, message: str, around: Any):
    heard.clear()
    with pytest.raises(TypeError, match=message):
        around(canvas).delay()
    stage.work()
    assert heard == []


@pytest.mark.parametrize("stage", ["memory", "sqlite"], indirect=True)
def test_the_task_is_looked_for(stage: Stage):
    with pytest.raises(UnknownTask, match=r"tests\.workflow\.tasks\.ad'.*tests\.workflow\.tasks\.add"):
        xstarmap("tests.workflow.tasks.ad", [(1, 1)]).delay()


def test_what_fits_is_sent(stage: Stage):
    handles = [
        canvas.delay()
        for canvas in (
            add.starmap([]),
            add.starmap([(1, 1), [2, 2], (2, 2, True), {5, 6}]),
            xsum.map([[1, 2], (3,)]),
            pair.chunks([(1,), (1, 3)], 1),
        )
    ]
    stage.work()
    assert [handle.get(timeout=0) for handle in handles] == [[], [2, 4, 4, 11], [3, 3], [[3], [4]]]


@pytest.mark.parametrize("stage", ["memory", "sqlite"], indirect=True)
def test_what_takes_the_place_of_a_job_is_checked_too(stage: Stage):
    handle = replaced.delay(add.chunks([(1, 1), (2,)], 1))
    stage.work()
    assert isinstance(handle.result, TypeError)
    assert "item 2 of chunks()" in str(handle.result)
