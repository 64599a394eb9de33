"""What people from Celery will try is answered with what to do instead."""

from __future__ import annotations

import copy
from typing import Any
from uuid import UUID

import pytest

from django_jobs import AsyncResult, GroupResult, chain, chord, group
from django_jobs.canvas import Chain, Chord, Chunks, Group, Signature
from django_jobs.canvas.habits import ATTRIBUTES, OF_HANDLES
from django_jobs.testing import eager
from tests.workflow.tasks import add, xsum

CANVASES = [add.s(1, 1), chain(add.s(1, 1), add.s(1)), group(add.s(1, 1)), chord([add.s(1, 1)], xsum.s())]
HANDLES: list[Any] = [AsyncResult(UUID(int=1)), GroupResult(UUID(int=2))]


@pytest.mark.parametrize("canvas", CANVASES, ids=repr)
@pytest.mark.parametrize(("name", "told"), ATTRIBUTES.items(), ids=list(ATTRIBUTES))
def test_what_a_signature_does_not_have_is_named(canvas: Any, name: str, told: str):
    with pytest.raises(AttributeError) as caught:
        getattr(canvas, name)
    assert str(caught.value).endswith(f"has no attribute {name!r}. {told}")


@pytest.mark.parametrize("handle", HANDLES, ids=repr)
@pytest.mark.parametrize(("name", "told"), OF_HANDLES.items(), ids=list(OF_HANDLES))
def test_what_a_handle_does_not_have_is_named(handle: Any, name: str, told: str):
    with pytest.raises(AttributeError) as caught:
        getattr(handle, name)
    assert str(caught.value).endswith(f"has no attribute {name!r}. {told}")


@pytest.mark.parametrize("kind", [Signature, Chain, Group, Chord, Chunks])
def test_no_message_is_about_what_there_is(kind: type):
    assert not set(ATTRIBUTES) & set(dir(kind))
    assert not set(OF_HANDLES) & {*dir(AsyncResult), *dir(GroupResult)}


@pytest.mark.parametrize("handle", HANDLES, ids=repr)
def test_another_attribute_is_missing_as_usual(handle: Any):
    with pytest.raises(AttributeError, match=r"has no attribute 'reslut'\.$"):
        handle.reslut  # noqa: B018
    assert copy.deepcopy(handle) == handle


def test_a_chord_that_was_called_has_been_sent():
    with eager():
        handle = chord([add.s(1, 1)])(xsum.s())
        with pytest.raises(AttributeError, match=r"chord\(header\)\(body\) sends"):
            handle.delay()
        with pytest.raises(TypeError, match="has been sent already"):
            handle | add.s(1)
        with pytest.raises(TypeError, match="has been sent already"):
            add.s(1) | handle
        with pytest.raises(TypeError, match="has been sent already"):
            group(add.s(1, 1), group(add.s(1, 1), add.s(1, 1)).delay())
        assert handle.get() == 2
