"""
Every construct of Celery's guide "Canvas: Designing Work-flows": groups, chords, maps, stamps, and canvases inside of
tasks. The others are in ``test_celery_constructs.py``; ``docs/guide/celery-canvas.rst`` has a row for each test.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_jobs import AsyncResult, GroupResult, UpstreamFailed, chain, chord, group, xmap, xstarmap
from django_jobs.exceptions import JobsConfigurationError, JobUnknown, WouldDeadlock
from tests.workflow.conftest import Stage
from tests.workflow.tasks import (
    add,
    adds,
    fails,
    family,
    headers,
    hear,
    heard,
    log_error,
    mul,
    once_broken,
    replaced,
    waits,
    xsum,
)

FAILED = "ValueError('something')"


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


def sent(stage: Stage, canvas: Any) -> Any:
    """Send a canvas, run all of it, and return its handle."""
    handle = canvas.delay()
    stage.work()
    return handle


# Groups


def test_a_group(stage: Stage):
    for made in (group(add.s(2, 2), add.s(4, 4)), group([add.s(2, 2), add.s(4, 4)])):
        assert sent(stage, made).get(timeout=0) == [4, 8]


def test_a_group_of_a_generator(stage: Stage):
    handle = group(add.s(i, i) for i in range(10))()
    stage.work()
    assert handle.get(timeout=0) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_a_group_that_is_called(stage: Stage):
    handle = group(add.s(2), add.s(4))(1)
    stage.work()
    assert handle.get(timeout=0) == [3, 5]


def test_a_group_in_a_group(stage: Stage):
    handle = sent(stage, group(add.s(1, 1), group(add.s(2, 2), group(add.s(3, 3)))))
    assert (handle.get(timeout=0), len(handle)) == ([2, 4, 6], 3)


def test_a_group_of_one_in_a_chain(stage: Stage):
    assert sent(stage, chain(group(add.s(1, 1)), add.s(1))).get(timeout=0) == 3
    assert sent(stage, group(add.s(1, 1)) | xsum.s()).get(timeout=0) == 2


def test_an_empty_group(stage: Stage):
    assert sent(stage, group()).get(timeout=0) == []
    assert sent(stage, chain(add.s(1, 1), group([]), add.s(1))).get(timeout=0) == 3


def test_a_callback_of_a_group(stage: Stage):
    sent(stage, group(add.s(1, 1), add.s(2, 2)).link(hear.s()))
    assert heard == [([2, 4],)]


def test_an_error_callback_of_a_group(stage: Stage):
    handle = sent(stage, group(fails.s(), add.s(1, 1), fails.s()).on_error(log_error.s()))
    assert sorted(heard) == sorted((handle[index].id, FAILED, True) for index in (0, 2))


def test_the_options_of_a_group(stage: Stage):
    handle = group(add.s(1, 1), add.s(2, 2)).apply_async(queue="mail", countdown=0)
    stage.work()
    assert [member.queue for member in handle] == ["mail", "mail"]


# The results of groups


def test_ready_successful_and_failed(stage: Stage):
    good, bad = sent(stage, group(add.s(1, 1), add.s(2, 2))), sent(stage, group(add.s(1, 1), fails.s()))
    assert (good.ready(), good.successful(), good.failed()) == (True, True, False)
    assert (bad.ready(), bad.successful(), bad.failed()) == (True, False, True)


def test_waiting_and_completed_count(stage: Stage):
    handle = group(add.s(1, 1), fails.s(), add.s(2, 2))()
    if not stage.is_eager:
        assert (handle.waiting(), handle.completed_count()) == (True, 0)
    stage.work()
    assert (handle.waiting(), handle.completed_count()) == (False, 2)


def test_join(stage: Stage):
    assert sent(stage, group(add.s(i, i) for i in range(3))).join(timeout=0) == [0, 2, 4]


def test_a_group_that_fails(stage: Stage):
    handle = sent(stage, group(add.s(1, 1), fails.s(), add.s(2, 2)))
    with pytest.raises(ValueError, match="something"):
        handle.get(timeout=0)
    assert [repr(value) for value in handle.get(timeout=0, propagate=False)] == ["2", FAILED, "4"]


def test_iterate(stage: Stage):
    handle = sent(stage, group(add.s(i, i) for i in range(3)))
    assert sorted(handle.iterate(timeout=0)) == [0, 2, 4]


def test_the_members_of_a_group(stage: Stage):
    handle = sent(stage, group(add.s(i, i) for i in range(3)))
    assert [member.get(timeout=0) for member in handle] == [0, 2, 4]
    assert handle.results == handle.children == list(handle)
    assert handle[1].get(timeout=0) == 2


def test_saving_and_restoring_a_group(stage: Stage):
    handle = sent(stage, group(add.s(1, 1), group(add.s(2, 2)), chain(add.s(1, 1), add.s(1))))
    restored = GroupResult.restore(handle.save().id)
    assert (restored, restored.results, restored.get(timeout=0)) == (handle, handle.results, [2, 4, 3])
    with pytest.raises(JobUnknown, match="is not known"):
        GroupResult.restore("01a1fe25-1e68-775c-addf-3ff5f4008ab5")


def test_forgetting_a_group(stage: Stage):
    handle = sent(stage, group(add.s(1, 1), add.s(2, 2)))
    handle.forget()
    assert not any(AsyncResult[int](member.id).ready() for member in handle)


def test_revoking_a_group(stage: Stage):
    handle = group(hear.s(1), hear.s(2)).delay()
    handle.revoke()
    stage.work()
    if not stage.is_eager:  # there, all of it has run
        assert (heard, [member.state for member in handle]) == ([], ["REVOKED", "REVOKED"])
    assert handle.ready()


def test_revoking_a_canvas(stage: Stage):
    handle = chord([hear.s(1), hear.s(2)], hear.s()).delay()
    handle.workflow.revoke()
    stage.work()
    assert handle.workflow.ready()
    if not stage.is_eager:
        assert (heard, handle.state, handle.workflow.state) == ([], "REVOKED", "REVOKED")


def test_going_on_with_a_canvas(stage: Stage):
    handle = sent(stage, chord([hear.s(1), once_broken.s()], hear.s()))
    assert handle.workflow.state == "FAILURE"
    handle.workflow.retry()
    stage.work()
    assert (handle.get(timeout=0), heard) == ([1, "mended"], [(1,), "broken", ([1, "mended"],)])


# Chords


def test_a_chord_that_is_called_with_its_body(stage: Stage):
    handle = chord(add.s(i, i) for i in range(10))(xsum.s())
    stage.work()
    assert handle.get(timeout=0) == 90


def test_a_chord_with_its_body(stage: Stage):
    for send in (chord([add.s(1, 1), add.s(2, 2)], xsum.s()), chord([add.s(1, 1), add.s(2, 2)], xsum.s()).delay):
        handle = send()
        stage.work()
        assert handle.get(timeout=0) == 6


def test_delay_of_a_chord_that_was_called(stage: Stage):
    handle = chord([add.s(1, 1)])(xsum.s())
    with pytest.raises(AttributeError, match=r"This is the handle of what was sent already: chord\(header\)\(body\)"):
        handle.delay()
    stage.work()


def test_the_parent_of_a_chord(stage: Stage):
    handle = sent(stage, chord([add.s(1, 1), add.s(2, 2)], xsum.s()))
    assert isinstance(handle.parent, GroupResult)
    assert [member.get(timeout=0) for member in handle.parent] == [2, 4]


def test_a_chord_of_one(stage: Stage):
    assert sent(stage, chord([add.s(1, 1)], xsum.s())).get(timeout=0) == 2
    assert sent(stage, chord(add.s(1, 1), xsum.s())).get(timeout=0) == 2


def test_a_chord_of_nothing(stage: Stage):
    assert sent(stage, chord([], xsum.s())).get(timeout=0) == 0


def test_an_immutable_body(stage: Stage):
    sent(stage, chord([add.s(1, 1), add.s(2, 2)], hear.si("all there")))
    assert heard == [("all there",)]


def test_a_chord_that_fails(stage: Stage):
    handle = sent(stage, chord([add.s(4, 4), fails.s(), hear.s("still runs")], xsum.s()))
    assert (handle.state, heard) == ("REVOKED", [("still runs",)])
    with pytest.raises(UpstreamFailed, match=handle.parent[1].id):
        handle.get(timeout=0)
    with pytest.raises(ValueError, match="something"):
        handle.parent.get(timeout=0)


def test_an_error_callback_of_a_body(stage: Stage):
    sent(stage, chord([fails.s(), add.s(1, 1), fails.s()], hear.s().on_error(log_error.s())))
    ((failed, *rest),) = heard
    assert rest == [FAILED, True]
    assert AsyncResult[None](failed).state == "FAILURE"


def test_error_callbacks_of_a_header(stage: Stage):
    header = group(fails.s(), add.s(1, 1), fails.s()).on_error(log_error.s("header"))
    sent(stage, chord(header, hear.s()).on_error(log_error.s("chord")))
    assert sorted(entry[3] for entry in heard) == ["chord", "header", "header"]


def test_a_chord_whose_tasks_ignore_their_results(stage: Stage):
    handle = sent(stage, chord([add.s(1, 1), add.s(2, 2)], xsum.s(), ignore_result=True).link(hear.s()))
    assert heard == [(6,)]
    assert handle.parent.completed_count() in (0, 2)


def test_a_chord_does_not_poll():
    with pytest.raises(JobsConfigurationError, match="has no option 'interval'"):
        chord([add.s(1, 1)], xsum.s()).apply_async(interval=1)


def test_chords_in_chains_and_groups(stage: Stage):
    inner = chord([add.s(1), add.s(2)], xsum.s())
    assert sent(stage, add.s(1, 1) | inner | mul.s(10)).get(timeout=0) == 70
    assert sent(stage, group(inner, inner).clone((10,)) | xsum.s()).get(timeout=0) == 46


# Maps


def test_a_map(stage: Stage):
    assert sent(stage, xsum.map([list(range(10)), list(range(100))])).get(timeout=0) == [45, 4950]


def test_a_starmap(stage: Stage):
    handle = add.starmap(zip(range(10), range(10), strict=True)).apply_async(countdown=0)
    stage.work()
    assert handle.get(timeout=0) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_maps_by_name(stage: Stage):
    assert sent(stage, xmap(xsum.s(), [[1], [2]])).get(timeout=0) == [1, 2]
    assert sent(stage, xstarmap(add.name, [(1, 1)]) | xsum.s()).get(timeout=0) == 2


def test_chunks(stage: Stage):
    handle = add.chunks(zip(range(100), range(100), strict=True), 10)()
    stage.work()
    assert handle.get(timeout=0)[1] == [20, 22, 24, 26, 28, 30, 32, 34, 36, 38]
    assert len(handle) == 10


def test_chunks_that_something_follows(stage: Stage):
    handle = sent(stage, add.chunks([(1, 1), (2, 2)], 10) | hear.s())
    assert handle.get(timeout=0) == [[2, 4]]


def test_chunks_as_a_group(stage: Stage):
    made = add.chunks([(1, 1), (2, 2), (3, 3)], 1).group()
    assert sent(stage, made).get(timeout=0) == [[2], [4], [6]]


def test_skew():
    made = add.chunks([(1, 1), (2, 2), (3, 3)], 1).group().skew(start=1, stop=10)
    assert [member.options for member in made.tasks] == [{"countdown": 1.0}, {"countdown": 2.0}, {"countdown": 3.0}]


# Stamps


def test_stamping(stage: Stage):
    canvas = chord([headers.s(), headers.s()], hear.s().link(headers.s())).stamp(tenant="7")
    handle = sent(stage, canvas)
    assert handle.parent.get(timeout=0) == [{"tenant": "7"}] * 2
    assert [child.get(timeout=0) for child in handle.children] == [{"tenant": "7"}]


def test_a_stamping_visitor():
    class Visitor:
        def on_signature(self, sig: object, **headers: object) -> dict[str, str]:
            return {}

    with pytest.raises(TypeError, match="takes headers, which are strings"):
        add.s(1, 1).stamp(visitor=Visitor())  # type: ignore[arg-type]


# Inside of tasks


def test_replacing(stage: Stage):
    handle = sent(stage, replaced.s(chord([add.s(1, 1), add.s(2, 2)], xsum.s())))
    assert handle.get(timeout=0) == 6


def test_replacing_by_a_group(stage: Stage):
    handle = sent(stage, chord([replaced.s(group(add.s(1, 1), add.s(2, 2))), add.s(3, 3)], hear.s()))
    assert handle.get(timeout=0) == [[2, 4], 6]


def test_adding_to_a_chord(stage: Stage):
    handle = sent(stage, chord([adds.s(add.s(1, 1), add.s(2, 2)), add.s(3, 3)], hear.s()))
    assert handle.get(timeout=0) == [2, 6, 2, 4]


def test_root_and_parent(stage: Stage):
    handle = sent(stage, family.s() | family.s())
    first = handle.parent.id
    assert (handle.parent.get(timeout=0), handle.get(timeout=0)) == ((first, None), (first, first))


def test_waiting_inside_of_a_task(stage: Stage):
    handle = sent(stage, waits.s())
    with pytest.raises(WouldDeadlock, match="Let the other job do what follows"):
        handle.get(timeout=0)
