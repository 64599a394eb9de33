"""A canvas that is sent again under its id is not sent again."""

from __future__ import annotations

from uuid import uuid4

import pytest

from django_jobs import chain, chord, group
from django_jobs.canvas import Expression
from django_jobs.exceptions import JobsError
from tests.workflow.conftest import Stage
from tests.workflow.tasks import add, hear, heard, xsum


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


@pytest.mark.parametrize(
    "canvas",
    [
        hear.s(1),
        chain(hear.s(1), add.s(1)),
        group(hear.s(1), add.s(1, 1)),
        chord([hear.s(1), add.s(1, 1)], xsum.s()),
    ],
    ids=lambda canvas: canvas.kind,
)
def test_the_second_handle_is_that_of_the_first(stage: Stage, canvas: Expression):
    job_id = uuid4()
    first = canvas.apply_async(job_id=job_id)
    second = canvas.apply_async(job_id=job_id)
    stage.work()
    third = canvas.apply_async(job_id=job_id)
    stage.work()
    assert heard == [(1,)]
    assert first.id == second.id == third.id == str(job_id)
    assert first.get(timeout=0) == second.get(timeout=0) == third.get(timeout=0)
    for again in (second, third):
        assert getattr(again, "results", None) == getattr(first, "results", None)
        assert again.parent is None or again.parent.state == "SUCCESS"


def test_an_id_that_is_taken_is_refused(stage: Stage):
    taken = add.s(1, 1).delay().id
    with pytest.raises(JobsError, match=rf"cannot take the job_id .*: {taken}"):
        chain(add.s(1, 1).set(job_id=taken), add.s(1)).delay()
    stage.work()
