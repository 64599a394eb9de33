"""Ids are UUIDs of version 7 that rise."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import pytest

from django_jobs import brokers, identifiers, results
from django_jobs.identifiers import new_id, new_ids, parse_id


def test_an_id_has_the_shape_of_version_7_and_holds_its_moment():
    before = time.time_ns() // 1_000_000
    text = new_id()
    after = time.time_ns() // 1_000_000
    parsed = UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == RFC_4122
    assert before <= parsed.int >> 80 <= after + 1


def test_ids_rise():
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_made_together_rise_among_those_made_alone():
    ids = [new_id(), *new_ids(5_000), new_id()]
    assert ids == sorted(ids)
    assert len(set(ids)) == 5_002
    assert {UUID(text).version for text in ids} == {7}
    assert new_ids(0) == []


def test_ids_rise_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch):
    first = new_id()
    monkeypatch.setattr("django_jobs.identifiers.time.time_ns", lambda: 1_000_000_000)
    assert new_id() > first


def test_threads_share_no_id():
    with ThreadPoolExecutor(8) as pool:
        ids = [text for part in pool.map(lambda _: [new_id() for _ in range(2_000)], range(8)) for text in part]
    assert len(set(ids)) == 16_000


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("module", [identifiers, brokers, results])
def test_a_lock_that_a_thread_held_at_a_fork_is_free_in_the_child(module: Any):
    with module._lock:
        pid = os.fork()
        if not pid:
            os._exit(0 if module._lock.acquire(blocking=False) else 1)
        _, status = os.waitpid(pid, 0)
        assert module._lock.locked(), "the parent's own stays as it is"
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("form", [str, lambda u: u, lambda u: u.hex, lambda u: str(u).upper(), lambda u: f"{{{u}}}"])
def test_an_id_that_somebody_gives_becomes_canonical(form: Any):
    given = uuid4()
    assert parse_id(form(given)) == str(given)


@pytest.mark.parametrize("value", ["order-7", "", 7, None, b"x"])
def test_what_is_no_uuid_is_refused(value: object):
    with pytest.raises(ValueError, match="A job id is a UUID, not"):
        parse_id(value)
