"""The databases that the tests of the database broker run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections

from django_jobs.brokers.database.broker import DatabaseBroker
from tests.services import alias_of, why_missing

SERVERS = ("sqlite", "postgres", "mariadb")


def alias_or_skip(server: str) -> str:
    alias = alias_of(server)
    if alias is None:
        pytest.skip(why_missing(server))
    return alias


@contextmanager
def database_broker(alias: str, **options: Any) -> Iterator[DatabaseBroker]:
    broker = DatabaseBroker(f"database://{alias}", options=options)
    yield broker
    broker.close()


@contextmanager
def statements(alias: str) -> Iterator[list[str]]:
    """Collect what is sent to the database inside the block."""
    sent: list[str] = []

    def note(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        sent.append(str(sql))
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(note):
        yield sent
