"""Where results go in a test. What the memory keeps is guarded as the rows are."""

from __future__ import annotations

import pytest
from django.db import connections

from django_jobs.identifiers import new_id
from django_jobs.results import get_store, use_store
from django_jobs.results.base import BaseStore, Record
from django_jobs.testing import capture_jobs
from django_jobs.testing.store import EitherStore, MemoryStore, may_use_database


def record(job_id: str, state: str = "SUCCESS", *, fence: int = 0, **fields: str) -> Record:
    return Record(job_id, "shop.jobs.send", "default", state, fence=fence, **fields)  # type: ignore[arg-type]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def state_of(store: BaseStore, job_id: str) -> str | None:
    stored = store.get(job_id)
    return None if stored is None else stored.record.state


class TestMemory:
    def test_an_older_attempt_does_not_overwrite_a_newer_one(self, store: MemoryStore):
        job_id = new_id()
        assert store.record([record(job_id, "RETRY", fence=2)]) == []
        assert store.record([record(job_id, "SUCCESS", fence=1)]) == [job_id]
        assert state_of(store, job_id) == "RETRY"
        assert store.record([record(job_id, "FAILURE", fence=2)]) == []

    def test_an_end_gives_way_to_a_newer_generation_alone(self, store: MemoryStore):
        job_id = new_id()
        store.record([record(job_id, "FAILURE")])
        assert store.record([record(job_id, "SUCCESS", fence=1)]) == [job_id]
        assert not store.update_meta(record(job_id, "STARTED", fence=1))
        assert store.record([record(job_id, "SUCCESS", fence=1 << 16)]) == []

    def test_the_history_grows(self, store: MemoryStore):
        job_id = new_id()
        store.record([record(job_id, "RETRY", history="one\n")])
        store.record([record(job_id, "SUCCESS", fence=1, history="two\n")])
        stored = store.get(job_id)
        assert stored is not None
        assert (stored.history, stored.record.history) == ("one\ntwo\n", "")

    def test_meta_leaves_the_rest(self, store: MemoryStore):
        job_id = new_id()
        assert store.update_meta(record(job_id, "STARTED", meta="1", args="[1]"))
        assert store.update_meta(record(job_id, "COUNTING", meta="2"))
        stored = store.get(job_id)
        assert stored is not None
        assert (stored.record.state, stored.record.meta, stored.record.args) == ("COUNTING", "2", "[1]")

    def test_only_what_has_ended_is_reopened(self, store: MemoryStore):
        ended, running, unknown = new_id(), new_id(), new_id()
        store.record([record(ended, "FAILURE"), record(running, "STARTED")])
        again = [record(job_id, "PENDING", fence=1 << 16) for job_id in (ended, running, unknown)]
        assert store.reopen(again) == [ended]
        assert store.reopen(again) == []

    def test_asking_and_forgetting(self, store: MemoryStore):
        first, second = new_id(), new_id()
        store.record([record(first), record(second, "RETRY", message="{}")])
        assert set(store.get_many([first, second, new_id()])) == {first, second}
        settled = store.settled([second])[second]
        assert (settled.state, settled.message, settled.is_terminal) == ("RETRY", "{}", False)
        assert store.forget([first, new_id()]) == 1
        assert store.get(first) is None
        assert store.prune() == 0


class TestWhere:
    def test_no_access_no_rows(self):
        assert not may_use_database("default")

    @pytest.mark.django_db
    def test_access(self):
        assert may_use_database("default")

    @pytest.mark.django_db
    def test_a_database_that_is_not_of_tests(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(connections["default"].settings_dict, "NAME", "/srv/shop/db.sqlite3")
        assert not may_use_database("default")

    def test_a_store_of_ones_own_is_not_written_to(self, store: MemoryStore):
        with use_store(store), capture_jobs():
            used = get_store()
            assert isinstance(used, EitherStore)
            job_id = new_id()
            used.record([record(job_id)])
            assert state_of(used, job_id) == "SUCCESS"
        assert store.get(job_id) is None
