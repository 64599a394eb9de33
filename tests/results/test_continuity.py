"""Who the broker was, remembered on every kind of database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from django_jobs.identifiers import new_id
from django_jobs.models.continuity import BrokerContinuity
from django_jobs.models.outbox import OutboxJob
from django_jobs.results.base import Remembered
from django_jobs.results.outbox import Kept
from django_jobs.results.store import DatabaseStore


def test_a_broker_that_was_never_seen_has_lost_nothing(store: DatabaseStore) -> None:
    name = f"redis://{new_id()}"
    assert store.remember_broker(name, "a", 1000) == Remembered()
    assert store.remember_broker(name, "a", 2000) == Remembered()


def test_a_change_is_news_once_and_known_to_all(store: DatabaseStore) -> None:
    OutboxJob.objects.using(store.using).all().delete()
    name = f"redis://{new_id()}"
    store.remember_broker(name, "a", 1000)
    assert store.outbox is not None
    store.outbox.add([Kept(new_id(), "default", b"{}") for _ in range(3)])
    store.outbox.relay(lambda jobs: None, ids=[str(pk) for pk in rows(store)[:2]], resend_ms=60_000)
    assert store.remember_broker(name, "b", 2000) == Remembered(2000, is_news=True, relayed=2)
    assert store.remember_broker(name, "b", 3000) == Remembered(2000)
    assert OutboxJob.objects.using(store.using).filter(due=0).count() == 2
    assert BrokerContinuity.objects.using(store.using).get(pk=name).changes == 1
    OutboxJob.objects.using(store.using).all().delete()


def rows(store: DatabaseStore) -> list[object]:
    return list(OutboxJob.objects.using(store.using).values_list("pk", flat=True))


def test_of_many_that_see_it_at_once_one_has_the_news(store: DatabaseStore) -> None:
    name = f"redis://{new_id()}"
    store.remember_broker(name, "a", 1000)

    def see(number: int) -> Remembered:
        try:
            return store.remember_broker(name, "b", 2000 + number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(see, range(4)))
    assert [found.is_news for found in seen].count(True) == 1
    assert len({found.changed_ms for found in seen}) == 1


def test_a_name_of_any_length(store: DatabaseStore) -> None:
    name = f"redis://{'a' * 300}{new_id()}"
    assert store.remember_broker(name, "a", 1000) == Remembered()
    assert store.remember_broker(name, "b", 2000).is_news
