"""Projects that have chosen a stricter isolation than READ COMMITTED for their own transactions."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connections

from django_jobs import transactions
from tests.services import database_aliases

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(params=[alias for alias in database_aliases() if alias != "sqlite"])
def strict(request: pytest.FixtureRequest) -> Iterator[str]:
    """An alias whose connections of this test are as strict as they can be."""
    alias: str = request.param
    connection = connections[alias]
    if connection.vendor == "sqlite":
        pytest.skip("has one writer at a time")
    options = connection.settings_dict["OPTIONS"]
    before = options.get("isolation_level")
    options["isolation_level"] = 4 if connection.vendor == "postgresql" else "serializable"  # psycopg's own number
    connection.close()
    yield alias
    options["isolation_level"] = before
    if before is None:
        del options["isolation_level"]
    connection.close()


def rename(alias: str, name: str) -> None:
    def change() -> None:
        User.objects.using(alias).update(first_name=name)
        connections[alias].close()

    thread = threading.Thread(target=change)
    thread.start()
    thread.join(20)


def test_our_own_transactions_see_what_others_commit_meanwhile(strict: str):
    User.objects.using(strict).create(username="ann", first_name="one")
    with transactions.own(strict, wait_ms=5000):
        assert User.objects.using(strict).get().first_name == "one"
        rename(strict, "two")
        assert User.objects.using(strict).get().first_name == "two"
        User.objects.using(strict).update(last_name="ours")
    assert User.objects.using(strict).values_list("first_name", "last_name").get() == ("two", "ours")


def test_those_of_the_project_stay_as_strict_as_it_wants_them(strict: str):
    with transactions.writing(strict, wait_ms=5000), connections[strict].cursor() as cursor:
        postgres = connections[strict].vendor == "postgresql"
        cursor.execute("SHOW transaction_isolation" if postgres else "SELECT @@tx_isolation")
        assert cursor.fetchone()[0].lower() == "serializable"
