"""What travels from the caller to the worker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.envelope import WIRE_VERSION, Job, decode
from django_jobs.exceptions import DecodeError, UnknownVersion

moments = st.none() | st.integers(0, 2**53)
packed = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)
jobs = st.builds(
    Job,
    id=st.uuids().map(str),
    task=st.text(min_size=1),
    queue=st.just("mail"),
    packed_args=st.lists(packed, max_size=3),
    packed_kwargs=st.dictionaries(st.text(), packed, max_size=3),
    priority=st.integers(-100, 100),
    eta_ms=moments,
    expires_ms=moments,
    enqueued_ms=st.integers(0, 2**53),
    retries=st.integers(0, 1000),
    generation=st.integers(0, 1000),
    root_id=st.none() | st.uuids().map(str),
    parent_id=st.none() | st.uuids().map(str),
    headers=st.dictionaries(st.text(), st.text(), max_size=2),
    options=st.dictionaries(st.sampled_from(["max_retries", "ignore_result"]), st.integers(0, 3), max_size=2),
)


@given(jobs)
def test_a_job_comes_back_as_it_was_sent(job: Job):
    body = job.encode()
    assert json.loads(body)["v"] == WIRE_VERSION
    assert decode(body, job_id=job.id, queue="mail") == job


def test_a_small_job_is_a_small_message():
    body = Job(id="x", task="shop.jobs.f", queue="mail", packed_args=[7], enqueued_ms=1).encode()
    assert body == b'{"v":1,"task":"shop.jobs.f","at":1,"args":[7]}'


def test_arguments_are_decoded_when_they_are_asked_for():
    job = Job(id="x", task="t", queue="q", packed_args=[{"$": "tuple", "v": [1]}], packed_kwargs={"k": {"$": "nope"}})
    assert job.args == ((1,),)
    with pytest.raises(DecodeError, match="'nope'"):
        _ = job.kwargs


def test_arguments_nested_beyond_the_stack_are_a_decode_error():
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DecodeError, match="nested too deeply"):
        _ = Job(id="x", task="t", queue="q", packed_args=deep).args


def test_a_job_never_changes():
    job = Job(id="x", task="t", queue="q")
    with pytest.raises(AttributeError):
        job.retries = 1  # type: ignore[misc]
    later = job.evolve(retries=1, generation=2)
    assert (job.retries, later.retries, later.generation, later.id) == (0, 1, 2, "x")


def test_a_changed_job_decodes_its_own_arguments():
    job = Job(id="x", task="t", queue="q", packed_args=[1])
    assert job.args == (1,)
    assert job.evolve(packed_args=[2]).args == (2,)


@pytest.mark.parametrize("version", [2, 99, "2", None])
def test_a_newer_message_says_when_it_was_sent(version: Any):
    body = json.dumps({"v": version, "at": 1234, "something": "else"})
    with pytest.raises(UnknownVersion, match="reads version 1") as caught:
        decode(body, job_id="x", queue="q")
    assert caught.value.enqueued_ms == 1234


def test_a_newer_message_without_a_date_has_none():
    with pytest.raises(UnknownVersion) as caught:
        decode('{"v": 2, "at": "yesterday"}', job_id="x", queue="q")
    assert caught.value.enqueued_ms is None


GOOD: dict[str, Any] = {"v": 1, "task": "t", "at": 1}
CHANGES: list[dict[str, Any]] = [
    {"task": 7}, {"task": None}, {"at": "x"}, {"at": None}, {"args": {}}, {"args": None}, {"kwargs": []},
    {"headers": []}, {"options": "x"}, {"priority": "high"}, {"retries": None}, {"retries": True},
    {"eta": "soon"}, {"expires": 1.5}, {"gen": []}, {"root": 5}, {"parent": {}},
]  # fmt: skip
NO_JSON_OF_OURS = [
    b"", b"\xff\xfe", b"not json", b"null", b"7", b'"text"', b"[]", b"{}", b"[" * 200_000,
    b'{"v": 1, "task": "t"}', b'{"v": 1, "at": 1}',
]  # fmt: skip


@pytest.mark.parametrize(
    "body", [*NO_JSON_OF_OURS, *(json.dumps(GOOD | change) for change in CHANGES)], ids=lambda body: str(body)[:60]
)
def test_what_is_no_message_is_refused(body: Any):
    with pytest.raises(DecodeError):
        decode(body, job_id="x", queue="q")


def test_fields_of_later_additions_are_left_alone():
    assert decode(json.dumps(GOOD | {"new": 1}), job_id="x", queue="q").task == "t"
