"""A canvas that is sent again under its id is not sent again."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier
from uuid import uuid4

import pytest

from django_jobs import chain, chord, group, sending
from django_jobs.canvas import Expression
from django_jobs.exceptions import JobsError
from django_jobs.models import Workflow, WorkflowStep
from django_jobs.results import get_store
from tests.workflow.conftest import Stage
from tests.workflow.races import at_once
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


def look_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two who send a canvas both see that its ids are free, before either goes on."""
    known, both = sending._known, Barrier(2)
    looks: list[set[str]] = []

    def look(expression: Expression) -> set[str]:
        found = known(expression)
        looks.append(found)
        if len(looks) <= 2:
            both.wait(timeout=20)
        return found

    monkeypatch.setattr(sending, "_known", look)


racing = pytest.mark.parametrize("stage", ["sqlite", "postgres", "mariadb", "redis-postgres"], indirect=True)


@racing
@pytest.mark.parametrize(
    "canvas",
    [chain(hear.s(1), add.s(1)), group(hear.s(1), add.s(1, 1)), chord([hear.s(1), add.s(1, 1)], xsum.s())],
    ids=lambda canvas: canvas.kind,
)
def test_of_two_that_send_it_at_the_same_moment_one_gets_the_handle_of_the_other(
    stage: Stage, canvas: Expression, monkeypatch: pytest.MonkeyPatch
):
    look_together(monkeypatch)
    job_id = uuid4()
    one, other = at_once(*[lambda: canvas.apply_async(job_id=job_id)] * 2)
    assert one == other
    assert Workflow.objects.using(get_store().using).count() == 1
    stage.work()
    assert heard == [(1,)]
    assert one.get(timeout=0) == other.get(timeout=0)


@racing
def test_of_two_that_take_an_id_at_the_same_moment_one_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    look_together(monkeypatch)
    taken = str(uuid4())
    canvases = [chain(hear.s(1).set(job_id=taken), hear.s(2)), chain(hear.s(1).set(job_id=taken), hear.s(3))]
    sends: list[Callable[[], object]] = [canvas.delay for canvas in canvases]
    ends = at_once(*sends)
    (refused,) = [end for end in ends if isinstance(end, Exception)]
    assert isinstance(refused, JobsError)
    assert str(refused).endswith(f"sent before: {taken}.")
    assert WorkflowStep.objects.using(get_store().using).count() == 2, "nothing is left of the other one"
    stage.work()
    assert len(heard) == 2
