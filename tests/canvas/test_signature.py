"""A call that has not been sent: what it says, and what can be said of it."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.async_result import AsyncResult
from django_jobs.canvas import Signature, chain, chord, chunks, group, signature
from django_jobs.canvas.expression import Expression
from django_jobs.exceptions import DecodeError, EncodeError, JobsConfigurationError

add = Signature.s("shop.add", 2, 2)
note = Signature.si("shop.note", "done")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5)
    | st.floats(allow_nan=False) | st.decimals(allow_nan=False) | st.uuids() | st.datetimes(timezones=st.just(UTC))
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=3)
    | st.tuples(inner)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
signatures = st.builds(
    lambda args, kwargs, immutable, options: signature("shop.f", args, kwargs, immutable=immutable, **options),
    st.lists(values, max_size=3),
    st.dictionaries(st.text(max_size=5), values, max_size=3),
    st.booleans(),
    st.sampled_from([{}, {"queue": "mail"}, {"countdown": timedelta(seconds=3), "headers": {"a": "b"}},
                     {"eta": datetime(2030, 1, 1, tzinfo=UTC)}]),
)  # fmt: skip
canvases = st.recursive(
    signatures,
    lambda inner: st.lists(inner, max_size=3).map(chain)
    | st.builds(lambda tasks, wait: group(tasks, on_member_failure=wait), st.lists(inner, max_size=3),
                st.sampled_from([None, "wait"]))
    | st.builds(lambda tasks, body, allowed: chord(tasks, body, allow_failures=allowed), st.lists(inner, max_size=3),
                st.none() | inner, st.sampled_from([None, 1]))
    | st.builds(lambda one, other: one.link(other), inner, inner)
    | st.builds(lambda one, other: one.on_error(other), inner, inner),
    max_leaves=8,
)  # fmt: skip


@given(canvases)
def test_a_canvas_comes_back_from_json_as_it_was(canvas: Expression):
    data = json.loads(json.dumps(canvas.to_dict()))
    again = signature(data)
    assert again == canvas
    assert hash(again) == hash(canvas)
    assert again.to_dict() == canvas.to_dict()


def test_what_differs_is_not_equal():
    different = [
        add, note, add.set(queue="mail"), add.clone((1,)), add.clone((), {"x": 1}), add.set(immutable=True),
        add.link(note), add.on_error(note), chain(add), chain(add, add), group(add), group(add, allow_failures=1),
        group(add, on_member_failure="wait"), group(add, queue="mail"), chunks("shop.add", [(2, 2)], 1),
        chunks("shop.add", [(2, 2)], 1).group(), chord([add]), chord([add], note), chord([add], add),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


def test_small_signatures_are_small_data():
    assert add.to_dict() == {"task": "shop.add", "args": [2, 2]}
    assert note.to_dict() == {"task": "shop.note", "args": ["done"], "immutable": True}


def test_a_signature_can_be_written_by_hand():
    assert signature({"task": "shop.add", "args": (2, 2), "kwargs": {}, "options": {}, "immutable": False}) == add


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "it has none of "),
        ({"args": [1]}, r"but \['args'\]"),
        ({"task": "x", "args": 7}, "not iterable"),
        ({"chain": [{"no": 1}]}, "it has none of "),
        ({"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": []}}, "Celery"),
        ({"task": "x", "args": [{"$": "unheard.of", "v": 1}]}, "unheard.of"),
    ],
)
def test_data_that_is_no_signature_is_refused(data: dict[str, Any], told: str):
    with pytest.raises(DecodeError, match=told):
        signature(data)


def test_what_cannot_travel_is_named():
    with pytest.raises(EncodeError, match=r"argument 2 of shop\.add"):
        Signature.s("shop.add", 1, object()).to_dict()


def test_a_task_stands_for_its_name(task_of):
    def buy(item: str) -> None: ...

    task = task_of(buy, name="shop.buy")
    assert signature(task, ("milk",)) == Signature.s("shop.buy", "milk") == Signature.s(task, "milk")


def test_partial_arguments_are_prepended():
    partial = Signature.s("shop.add", 4, x=1, y=2)
    assert partial.clone((1, 2), {"x": 5}) == Signature.s("shop.add", 1, 2, 4, x=5, y=2)
    assert partial == Signature.s("shop.add", 4, x=1, y=2)


def test_arguments_may_be_named():
    expected = Signature.s("shop.add", 1, 4, x=2)
    assert signature("shop.add", args=(1, 4), kwargs={"x": 2}) == expected
    assert Signature.s("shop.add", 4).clone(args=(1,), kwargs={"x": 2}) == expected


def test_an_immutable_signature_takes_options_and_no_arguments():
    assert note.clone((1,), {"x": 2}, queue="mail") == note.set(queue="mail")
    assert note.set(immutable=False).clone((1,)) == Signature.s("shop.note", 1, "done")


def test_set_adds_options_and_leaves_the_original_alone():
    mailed = add.set(queue="mail", countdown=5)
    assert mailed.options == {"queue": "mail", "countdown": 5}
    assert mailed.set(queue="other").options == {"queue": "other", "countdown": 5}
    assert not add.options


def test_one_moment_replaces_the_other():
    eta = datetime(2030, 1, 1, tzinfo=UTC)
    assert add.set(countdown=5).set(eta=eta).options == {"eta": eta}
    assert add.set(eta=eta).set(countdown=5).options == {"countdown": 5}


def test_headers_add_up():
    assert add.set(headers={"a": "1"}).set(headers={"b": "2"}).options == {"headers": {"a": "1", "b": "2"}}


def test_nothing_of_a_signature_can_be_changed():
    with pytest.raises(FrozenInstanceError):
        add.task = "other"  # type: ignore[misc]
    with pytest.raises(TypeError, match="does not support item assignment"):
        Signature.s("t", x=1).kwargs["x"] = 2  # type: ignore[index]
    with pytest.raises(TypeError, match="does not support item assignment"):
        add.set(queue="mail").options["queue"] = "x"  # type: ignore[index]


def test_an_unknown_option_is_refused_where_it_is_said():
    with pytest.raises(JobsConfigurationError, match=r"shop\.add has no option 'task_id'.*job_id"):
        add.set(task_id="x")
    with pytest.raises(JobsConfigurationError, match=r"a group has no option 'queu'.*'queue'"):
        group(add, queu="mail")


def test_callbacks_are_kept_once():
    linked = add.link(note).link(note).on_error(note).link_error(note)
    assert linked.links == linked.errbacks == (note,)
    assert add.set(link=note, link_error=[note]) == linked
    assert linked.set(link=None).links == ()


def test_headers_are_stamped_on_everything():
    canvas = chord([add, chain(add, add)], add.link(note)).on_error(note).stamp(tenant="7").stamp(tenant="8", user="x")
    said = json.dumps(canvas.to_dict())
    assert said.count('"headers": {"tenant": "8", "user": "x"}') == 6
    with pytest.raises(TypeError, match="strings"):
        add.stamp(tenant=7)  # type: ignore[arg-type]


def test_items_are_read_by_name():
    assert (add["task"], add["args"], add["immutable"]) == ("shop.add", (2, 2), False)
    with pytest.raises(KeyError, match="task, args"):
        add["subtask_type"]


def test_repr_is_the_call():
    assert repr(Signature.s("shop.add", 2, x="y")) == "shop.add(2, x='y')"
    assert len(repr(Signature.s("shop.add", "x" * 1000))) < 120
    assert repr(group(add for _ in range(1000))).endswith("... 995 more)")


def test_equal_signatures_are_one_in_a_set():
    assert len({Signature.s("t", [1], x={}), Signature.s("t", [1], x={}), Signature.s("t", [2], x={})}) == 2
    assert Signature.s("t") != Signature.si("t")
    assert Signature.s("t", Decimal(1), UUID(int=1)) == Signature.s("t", Decimal(1), UUID(int=1))


# Habits


@pytest.mark.parametrize(
    "canvas", [chain(add, add), group(add, add), chord([add], add), chunks("shop.add", [(1, 2)], 1)]
)
def test_a_canvas_is_sent_by_calling_it(canvas: Expression, monkeypatch: pytest.MonkeyPatch):
    sent: list[Expression] = []
    monkeypatch.setattr(Expression, "send", sent.append)
    canvas()
    assert sent == [canvas]


def test_a_partial_canvas_is_called_with_what_comes_first(monkeypatch: pytest.MonkeyPatch):
    sent: list[Expression] = []
    monkeypatch.setattr(Expression, "send", sent.append)
    chain(add, add)(1, x=2)
    assert sent == [chain(Signature.s("shop.add", 1, 2, 2, x=2), add)]


def test_a_signature_is_not_called():
    with pytest.raises(TypeError, match="call the task itself"):
        add()


def test_a_signature_has_no_result():
    with pytest.raises(TypeError, match=r"\.delay\(\)\.get\(\)"):
        ~chain(add, add)
    with pytest.raises(AttributeError, match=r"delay\(\) sends it and returns the handle that has get\(\)"):
        add.get()
    with pytest.raises(AttributeError, match="Signatures never change"):
        group(add).set_immutable(True)
    with pytest.raises(AttributeError, match="has no attribute 'tasc'"):
        add.tasc  # noqa: B018


def test_what_has_been_sent_cannot_be_combined():
    sent: AsyncResult[int] = AsyncResult(UUID(int=1))
    with pytest.raises(TypeError, match=r"has been sent already: write \.s\("):
        chain(sent, add)


def test_a_task_is_not_a_signature(task_of):
    def buy(item: str) -> None: ...

    task = task_of(buy, name="shop.buy")
    for combine in (lambda: add | task, lambda: chain(add, task), lambda: group(task), lambda: chord(task, add),
                    lambda: add.link(task), lambda: add.on_error(task)):  # fmt: skip
        with pytest.raises(TypeError, match=r"write shop\.buy\.s\("):
            combine()
    with pytest.raises(TypeError, match=r"such as task\.s"):
        group(add, None)


def test_arguments_are_no_string():
    with pytest.raises(TypeError, match="list or tuple"):
        signature("shop.add", "abc")


def test_a_chord_with_a_body_takes_no_other():
    with pytest.raises(TypeError, match=r"chord\(header, body\)\(\) sends it"):
        chord([add], add)(add)


def test_what_is_sent_is_the_canvas_with_all_that_was_said(monkeypatch: pytest.MonkeyPatch):
    sent: list[Expression] = []
    monkeypatch.setattr(Expression, "send", sent.append)
    chain(add, add).apply_async((1,), {"x": 2}, queue="mail", countdown=None)
    add.apply_async(args=(1,), kwargs={"x": 2})
    group(add).delay(1)
    chord([add])(note, queue="mail")
    assert sent == [
        chain(Signature.s("shop.add", 1, 2, 2, x=2), add).set(queue="mail"),
        Signature.s("shop.add", 1, 2, 2, x=2),
        group(Signature.s("shop.add", 1, 2, 2)),
        chord([add], note, queue="mail"),
    ]
