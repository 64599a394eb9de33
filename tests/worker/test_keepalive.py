"""What a worker asks PostgreSQL for, so that a machine that is gone is noticed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections, transaction
from django.db.backends.signals import connection_created

from django_jobs.worker import keepalive
from tests.brokers.database_kit import alias_or_skip

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
NAMES = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")


@pytest.fixture
def alias() -> Iterator[str]:
    found = alias_or_skip("postgres")
    keepalive.install()
    connections[found].close()
    yield found
    connection_created.disconnect(dispatch_uid="django_jobs.worker.keepalive")
    connections[found].close()


def shown(alias: str) -> list[int]:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join('current_setting(%s)::int' for _ in NAMES)}", NAMES)
        return list(cursor.fetchone())


def test_the_server_looks_soon(alias: str):
    assert shown(alias) == [keepalive.IDLE, keepalive.INTERVAL, keepalive.COUNT]


def test_one_that_looks_sooner_is_left_alone(alias: str, monkeypatch: pytest.MonkeyPatch):
    options = connections[alias].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "options", "-c tcp_keepalives_idle=4")
    assert shown(alias)[0] == 4


def test_it_outlives_a_rollback(alias: str):

    with transaction.atomic(using=alias):
        shown(alias)
        transaction.set_rollback(True, using=alias)
    assert shown(alias)[0] == keepalive.IDLE
