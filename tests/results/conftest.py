"""The store on every kind of database, behind one fixture. Rows are committed: others are to see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from django_jobs import clock
from django_jobs.identifiers import new_id
from django_jobs.models import JobResult
from django_jobs.results.base import Record
from django_jobs.results.store import DatabaseStore
from tests.services import alias_of, why_missing

DATABASES = ("sqlite", "postgres", "mariadb")
MakeRecord = Callable[..., Record]


@pytest.fixture(params=DATABASES)
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    found = alias_of(request.param)
    if found is None:
        pytest.skip(why_missing(request.param))
    request.getfixturevalue("django_db_setup")
    with request.getfixturevalue("django_db_blocker").unblock():
        JobResult.objects.using(found).all().delete()
        yield found
        JobResult.objects.using(found).all().delete()
        connections[found].close()


@pytest.fixture
def store(alias: str) -> DatabaseStore:
    return DatabaseStore(using=alias)


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    def make(job_id: str | None = None, state: str = "SUCCESS", **fields: Any) -> Record:
        return Record(
            job_id or new_id(), "shop.jobs.send", "default", state, **{"enqueued_ms": clock.now_ms(), **fields}
        )

    return make


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask for all databases once: pytest-django makes those that some test of the run is marked with."""
    for item in items:
        if "alias" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.django_db(transaction=True, databases="__all__"))
            break
