"""What async jobs leave open in the thread of the async ORM."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections

from django_jobs.worker.orm_thread import OrmThread
from tests.app import jobs
from tests.brokers.database_kit import alias_or_skip
from tests.worker.conftest import Worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def thread() -> AsyncIterator[OrmThread]:
    await sync_to_async(connections.close_all)()
    found = OrmThread()
    await found.find()
    yield found
    await sync_to_async(connections.close_all)()


async def is_open() -> bool:
    return await sync_to_async(lambda: connection.connection is not None)()


async def test_a_job_that_opened_nothing_costs_no_thread_switch(thread: OrmThread) -> None:
    thread.job_ended(alone=True)
    assert not thread._releases
    await sync_to_async(threading.get_ident)()
    await asyncio.to_thread(connection.ensure_connection)
    await asyncio.to_thread(connections.close_all)
    thread.job_ended(alone=True)
    assert not thread._releases, "a connection of another thread is not its own"


async def ended(thread: OrmThread, *, alone: bool) -> None:
    thread.job_ended(alone=alone)
    assert thread._releases
    await asyncio.gather(*thread._releases)


async def test_the_last_job_closes_by_the_rules_of_django(thread: OrmThread) -> None:
    await User.objects.acount()
    await ended(thread, alone=True)
    assert not await is_open(), "CONN_MAX_AGE is 0"
    thread.job_ended(alone=True)
    assert not thread._releases, "there is nothing left to release"


async def test_a_job_among_others_closes_nothing_under_them(thread: OrmThread) -> None:
    for name in ("one", "two", "three"):
        await User.objects.acreate(username=name)
    rows = User.objects.order_by("pk").aiterator(chunk_size=1)
    names = [(await anext(rows)).username]
    await ended(thread, alone=False)
    names += [user.username async for user in rows]
    assert names == ["one", "two", "three"]
    assert await is_open()


@pytest.mark.django_db(transaction=True, databases="__all__")
async def test_a_job_among_others_closes_what_is_broken(thread: OrmThread) -> None:
    alias = alias_or_skip("postgres")

    def breaks() -> None:
        with connections[alias].cursor() as cursor, pytest.raises(OperationalError):
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    await sync_to_async(breaks)()
    await ended(thread, alone=False)
    assert await sync_to_async(lambda: connections[alias].connection)() is None
    assert await User.objects.using(alias).acount() == 0


def test_a_worker_releases_the_connections_of_async_jobs(start_worker: Callable[..., Worker]) -> None:
    start_worker("-c", "1")
    assert jobs.uses_orm.delay().get(timeout=20) is False
    assert jobs.uses_orm.delay().get(timeout=20) is False
