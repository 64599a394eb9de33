"""Rows whose time is over go, oldest first, a bounded number at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from django_jobs import clock
from django_jobs.models import JobResult
from django_jobs.results.store import DatabaseStore
from tests.results.conftest import MakeRecord

NOW_MS = 1_700_000_000_000


def test_only_what_is_over_goes(store: DatabaseStore, make_record: MakeRecord):
    over = [make_record(expires_ms=NOW_MS - age) for age in (0, 1, 10**9)]
    kept = [make_record(expires_ms=NOW_MS + 1), make_record(expires_ms=None)]
    store.record([*over, *kept])
    with clock.use(lambda: NOW_MS / 1000):
        assert store.prune() == 3
        assert store.prune() == 0
    assert set(store.get_many([r.id for r in [*over, *kept]])) == {record.id for record in kept}


def test_the_oldest_go_first_and_no_more_than_asked(store: DatabaseStore, make_record: MakeRecord):
    records = [make_record(expires_ms=NOW_MS - 1000 * number) for number in range(25)]
    store.record(records)
    with clock.use(lambda: NOW_MS / 1000):
        assert store.prune(limit=10) == 10
        left = store.get_many([record.id for record in records])
        assert set(left) == {record.id for record in records[:15]}
        assert [store.prune(limit=10), store.prune(limit=10)] == [10, 5]


def test_two_at_once_delete_everything_once(store: DatabaseStore, make_record: MakeRecord):
    store.record([make_record(expires_ms=1_000) for _ in range(400)])

    def prune(_: int) -> int:
        count, empty = 0, 0
        try:
            while empty < 2:
                done = store.prune(limit=50)
                count += done
                empty += not done
        finally:
            connections[store.using].close()
        return count

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(prune, range(2))) == 400
    assert not JobResult.objects.using(store.using).exists()
