"""The database broker with many jobs in its tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections

from django_jobs.brokers.base import Message
from django_jobs.brokers.database.broker import DatabaseBroker
from django_jobs.identifiers import new_id
from django_jobs.models import QueuedJob
from tests.brokers.database_kit import SERVERS, alias_or_skip, database_broker
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer
from tests.effort import effort

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

TABLE = QueuedJob._meta.db_table
MANY = 20_000
#: An index that is a level deeper, and what is read to see that there is nothing behind its first entry.
LITTLE = 25


@pytest.fixture(params=SERVERS)
def broker(request: pytest.FixtureRequest):
    with database_broker(alias_or_skip(request.param)) as made:
        yield made


def analyze(alias: str) -> None:
    """Have the database find out how its rows are distributed, as it does by itself sooner or later."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE' if connections[alias].vendor == 'mysql' else ''} {TABLE}")


def test_many_scheduled_jobs_cost_a_claim_nothing(broker: DatabaseBroker):
    alias, worker = broker.alias, consumer(broker)
    later = broker_now(broker) + HOUR_MS
    ways: dict[str, Callable[[], object]] = {
        "claim": lambda: claim(broker, worker),
        "look": lambda: broker._look(["alpha"]),
    }
    broker.enqueue([Message(new_id(), "alpha", b"body", 0, later)])
    few = {name: effort(alias, TABLE, way) for name, way in ways.items()}
    broker.enqueue([Message(new_id(), "alpha", b"body", 0, later + number) for number in range(1, MANY)])
    before_statistics = {name: effort(alias, TABLE, way) for name, way in ways.items()}
    analyze(alias)
    after_statistics = {name: effort(alias, TABLE, way) for name, way in ways.items()}
    for name in ways:
        assert max(before_statistics[name], after_statistics[name]) <= few[name] + LITTLE, name
    assert broker.claim(worker, "alpha", 1).next_eta_ms == later
    assert broker.counts(["alpha"])[0].scheduled == MANY
    every_row = QueuedJob.objects.using(alias).filter(reason="never given")
    assert effort(alias, TABLE, every_row.count) >= MANY, "reading them all is not seen"
