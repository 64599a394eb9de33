"""
Every construct of Celery's guide "Canvas: Designing Work-flows": signatures, callbacks, chains. The others are in
``test_celery_groups.py``; ``docs/guide/celery-canvas.rst`` has a row for each test.
"""

from __future__ import annotations

import json
from functools import reduce
from operator import or_

import pytest

from django_jobs import AsyncResult, GroupResult, UpstreamFailed, chain, group, signature
from django_jobs.exceptions import UnknownTask
from tests.workflow.conftest import Stage
from tests.workflow.tasks import add, fails, headers, hear, heard, log_error, mul, replaced, then, xsum

FAILED = "ValueError('something')"


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


# Signatures


def test_a_signature_of_a_name(stage: Stage):
    handle = signature(add.name, args=(2, 2), countdown=0).delay()
    stage.work()
    assert handle.get(timeout=0) == 4


def test_a_signature_of_a_task(stage: Stage):
    handle = add.signature((2, 2), {"debug": True}, queue="mail").delay()
    stage.work()
    assert (handle.get(timeout=0), handle.queue) == (4, "mail")


def test_a_signature_of_star_arguments(stage: Stage):
    assert repr(add.s(2, 2, debug=True)) == f"{add.name}(2, 2, debug=True)"
    handle = add.s(2, 2, debug=True).apply_async()
    stage.work()
    assert handle.get(timeout=0) == 4


def test_the_fields_of_a_signature():
    made = add.signature((2, 2), {"debug": True}, countdown=10)
    assert (made.task, made.args, made.kwargs, made.options) == (add.name, (2, 2), {"debug": True}, {"countdown": 10})
    assert (made["task"], made["args"]) == (add.name, (2, 2))


def test_calling_a_signature():
    with pytest.raises(TypeError, match="to run it here, call the task itself"):
        add.s(2, 2)()
    assert add(2, 2) == 4


def test_options_of_a_signature(stage: Stage):
    handle = headers.s().set(headers={"a": "1"}, countdown=0).delay()
    stage.work()
    assert handle.get(timeout=0) == {"a": "1"}


def test_the_tilde():
    with pytest.raises(TypeError, match=r"write \.delay\(\)\.get\(\)"):
        ~add.s(2, 2)


def test_a_signature_as_data(stage: Stage):
    text = json.dumps((add.s(2, 2) | mul.s(8)).to_dict())
    handle = signature(json.loads(text)).delay()
    stage.work()
    assert handle.get(timeout=0) == 32


def test_a_signature_as_an_argument(stage: Stage):
    handle = then.delay(20, add.s(1))
    stage.work()
    assert AsyncResult[int](handle.get(timeout=0)).get(timeout=0) == 21


def test_a_signature_of_a_task_that_is_not_here():
    with pytest.raises(UnknownTask, match=r"No task is called 'far\.away' here"):
        signature("far.away").delay()


# Partials


def test_partial_arguments_are_put_before(stage: Stage):
    partial = hear.s("own")
    handles = [partial.delay("given"), partial.apply_async(("given",))]
    stage.work()
    assert heard == [("given", "own")] * 2
    assert handles[0] != handles[1]


def test_partial_keywords_win(stage: Stage):
    made = hear.s(x=1, y=1)
    made.delay(x=2)
    made.apply_async(kwargs={"x": 2})
    stage.work()
    assert heard == [({"x": 2, "y": 1},)] * 2


def test_partial_options_win(stage: Stage):
    handle = add.signature((2, 2), queue="mail").apply_async(queue="default")
    stage.work()
    assert handle.queue == "default"


def test_a_clone():
    assert add.s(2).clone(args=(4,), kwargs={"debug": True}) == add.s(4, 2, debug=True)


# Immutability


def test_an_immutable_signature(stage: Stage):
    assert add.si(2, 2) == add.signature((2, 2), immutable=True) == add.s(2, 2).set(immutable=True)
    handle = (hear.s("first") | hear.si("second")).delay()
    stage.work()
    assert (handle.get(timeout=0), heard) == ("second", [("first",), ("second",)])


# Callbacks


def test_a_callback_of_a_call(stage: Stage):
    handle = add.apply_async((2, 2), link=hear.s(8))
    stage.work()
    assert (handle.get(timeout=0), heard) == (4, [(4, 8)])


def test_an_immutable_callback(stage: Stage):
    add.apply_async((2, 2), link=hear.si("buffers"))
    stage.work()
    assert heard == [("buffers",)]


def test_a_callback_of_a_signature(stage: Stage):
    made = add.s(2, 2)
    linked = made.link(hear.s(1)).link(hear.s(2))
    assert made.links == ()
    linked.delay()
    stage.work()
    assert sorted(heard) == [(4, 1), (4, 2)]


def test_a_callback_that_is_a_canvas(stage: Stage):
    add.s(2, 2).link(mul.s(10) | hear.s()).delay()
    stage.work()
    assert heard == [(40,)]


def test_the_children_of_a_call(stage: Stage):
    handle = add.apply_async((2, 2), link=mul.s(16))
    stage.work()
    assert [child.get(timeout=0) for child in handle.children] == [64]


def test_an_error_callback(stage: Stage):
    handles = [fails.apply_async(link_error=log_error.s()), fails.signature(link_error=log_error.s()).delay()]
    stage.work()
    assert sorted(heard) == sorted((handle.id, FAILED, True) for handle in handles)


def test_on_error(stage: Stage):
    handle = fails.s().on_error(log_error.s("mine")).delay()
    stage.work()
    assert heard == [(handle.id, FAILED, True, "mine")]


def test_an_error_callback_of_one_argument(stage: Stage):
    with pytest.raises(TypeError, match="after the request, exception and traceback"):
        fails.s().on_error(xsum.s()).delay()


def test_an_immutable_error_callback(stage: Stage):
    fails.s().on_error(hear.si("tidy up")).delay()
    stage.work()
    assert heard == [("tidy up",)]


def test_the_links_of_a_signature():
    with pytest.raises(AttributeError, match=r"Go through signature\.links"):
        add.s(2, 2).flatten_links()
    assert add.s(2, 2).link(hear.s()).links == (hear.s(),)


# Chains


def test_a_chain(stage: Stage):
    handle = chain(add.s(2, 2), add.s(4), add.s(8)).apply_async()
    stage.work()
    assert handle.get(timeout=0) == 16


def test_a_chain_that_is_called(stage: Stage):
    handle = chain(add.s(4, 4), mul.s(8), mul.s(10))()
    stage.work()
    assert handle.get(timeout=0) == 640


def test_a_chain_of_pipes(stage: Stage):
    handles = [(add.s(2, 2) | mul.s(8) | mul.s(10)).delay(), reduce(or_, [add.s(2, 2), mul.s(8), mul.s(10)])()]
    stage.work()
    assert [handle.get(timeout=0) for handle in handles] == [320, 320]


def test_a_chain_of_independent_tasks(stage: Stage):
    handle = (add.si(2, 2) | add.si(4, 4) | add.si(8, 8))()
    stage.work()
    assert [one.get(timeout=0) for one in (handle, handle.parent, handle.parent.parent)] == [16, 8, 4]


def test_a_partial_chain(stage: Stage):
    handle = (add.s(4) | mul.s(8))(16)
    stage.work()
    assert handle.get(timeout=0) == 160


def test_chains_in_a_chain(stage: Stage):
    handle = (add.s(4, 16) | mul.s(2) | (add.s(4) | mul.s(8)))()
    stage.work()
    assert handle.get(timeout=0) == 352


def test_a_group_and_a_task_are_a_chord(stage: Stage):
    handle = (group(add.s(i, i) for i in range(10)) | xsum.s())()
    stage.work()
    assert handle.get(timeout=0) == 90


def test_a_chain_that_ends_with_a_group(stage: Stage):
    handle = (add.s(4, 4) | group(mul.s(2), mul.s(3)))()
    stage.work()
    assert isinstance(handle, GroupResult)
    assert handle.parent is not None
    assert (handle.get(timeout=0), handle.parent.get(timeout=0)) == ([16, 24], 8)


def test_a_chain_that_ends_with_an_immutable_group(stage: Stage):
    handle = (add.s(4, 4) | group(add.si(i, i) for i in range(3)))()
    stage.work()
    assert handle.get(timeout=0) == [0, 2, 4]


def test_an_empty_chain(stage: Stage):
    assert chain()() is None
    assert chain([])() is None


def test_the_options_of_a_chain(stage: Stage):
    handle = chain(add.s(1, 1), add.s(1)).apply_async(queue="mail")
    stage.work()
    assert (handle.parent.queue, handle.queue) == ("mail", "default")


def test_what_waits_in_a_chain(stage: Stage):
    handle = (add.s(1, 1) | add.s(1)).delay()
    if not stage.is_eager:
        assert (handle.state, handle.parent.state) == ("BLOCKED", "PENDING")
    stage.work()
    assert (handle.state, handle.parent.state) == ("SUCCESS", "SUCCESS")


def test_a_chain_that_fails(stage: Stage):
    handle = (add.s(1, 1) | fails.s() | hear.s()).delay()
    stage.work()
    assert [one.state for one in (handle, handle.parent, handle.parent.parent)] == ["REVOKED", "FAILURE", "SUCCESS"]
    assert heard == []
    with pytest.raises(UpstreamFailed, match=handle.parent.id):
        handle.get(timeout=0)
    with pytest.raises(ValueError, match="something"):
        handle.parent.get(timeout=0)


def test_an_error_callback_of_a_chain(stage: Stage):
    handle = (add.s(1, 1) | fails.s() | hear.s()).on_error(log_error.s()).delay()
    stage.work()
    assert heard == [(handle.parent.id, FAILED, True)]


def test_a_callback_of_a_chain(stage: Stage):
    chain(add.s(1, 1), add.s(1)).link(hear.s()).delay()
    stage.work()
    assert heard == [(3,)]


def test_the_graph_of_a_chain(stage: Stage):
    handle = chain(add.s(4, 4), mul.s(8), mul.s(10))()
    stage.work()
    with pytest.raises(AttributeError, match=r"Follow \.parent and \.children"):
        handle.graph  # noqa: B018
    assert handle.parent.parent.children == [handle.parent]
    assert handle.parent.children == [handle]


def test_the_id_of_a_chain(stage: Stage):
    handle = chain(add.s(1, 1), add.s(1).set(job_id="01a1fe25-1e68-775c-addf-3ff5f4008ab5"))()
    stage.work()
    assert AsyncResult[int]("01a1fe25-1e68-775c-addf-3ff5f4008ab5").get(timeout=0) == 3
    assert handle.id == "01a1fe25-1e68-775c-addf-3ff5f4008ab5"


def test_a_task_that_is_replaced_in_a_chain(stage: Stage):
    handle = chain(replaced.si(add.s(2, 2) | mul.s(2)), add.s(1))()
    stage.work()
    assert (handle.get(timeout=0), handle.parent.get(timeout=0)) == (9, 8)
