"""Transactions of ours may not be silent for long; those of the project may."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError, connections, transaction
from django.test import override_settings
from django.utils import timezone

from django_jobs import bounds, transactions
from django_jobs.brokers import get_broker
from django_jobs.outcome import Outcome, Recorded, Succeeded, Unsettled
from django_jobs.registry import registry
from django_jobs.results import get_store
from django_jobs.results.base import Written
from django_jobs.task import job
from tests.brokers.database_kit import alias_or_skip
from tests.handles.conftest import TinyWorker
from tests.handles.test_atomic import run as run_in_slot

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

#: What the server allows in these tests, and what is more than that.
ALLOWED_MS, LONG_SECONDS = 1000, 2.5
SHOWN = {
    "postgresql": "SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout')",
    "mysql": "SELECT @@SESSION.idle_transaction_timeout, @@SESSION.innodb_lock_wait_timeout",
}
BOUNDED = {"postgresql": ("1s", "2s"), "mysql": (1, 2)}


@pytest.fixture(params=["postgres", "mariadb"])
def alias(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    found = alias_or_skip(request.param)
    monkeypatch.setattr(bounds, "SILENCE_MS", ALLOWED_MS)
    yield found
    connections[found].close()


@pytest.fixture
def worker(alias: str) -> Iterator[TinyWorker]:
    """A worker whose jobs and results are in this database, and whose threads use one connection for everything."""
    given = {"PREFIX": f"t{uuid4().hex[:12]}", "DATABASE": alias, "BROKER": f"database://{alias}"}
    with override_settings(DJANGO_JOBS=given):
        yield TinyWorker().listen()
        get_broker().close()


def shown(alias: str) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(SHOWN[connections[alias].vendor])
        return cursor.fetchone()


def test_it_holds_inside_and_is_gone_with_the_transaction(alias: str):
    before, hooks = shown(alias), []
    with transactions.own(alias, wait_ms=1000, lock_ms=2000):
        transaction.on_commit(lambda: hooks.append(shown(alias)), using=alias)
        assert shown(alias) == BOUNDED[connections[alias].vendor] != before
    assert hooks == [before], "a hook may be the project's"
    assert shown(alias) == before
    with pytest.raises(ZeroDivisionError), transactions.own(alias, wait_ms=1000, lock_ms=2000):
        raise ZeroDivisionError
    assert shown(alias) == before


def test_it_is_lifted_while_the_project_is_asked(alias: str):
    before = shown(alias)
    with transactions.own(alias, wait_ms=1000):
        inside = shown(alias)
        with bounds.for_code_of_the_project():
            assert shown(alias) == before
            time.sleep(LONG_SECONDS)
        assert shown(alias) == inside != before
    with bounds.for_code_of_the_project():
        assert shown(alias) == before


def test_a_transaction_of_the_callers_is_left_alone(alias: str):
    before = shown(alias)
    with transaction.atomic(alias), transactions.own(alias, wait_ms=1000, lock_ms=2000):
        assert shown(alias) == before
        with bounds.for_code_of_the_project():
            pass
        assert shown(alias) == before


def test_what_was_silent_for_too_long_is_undone_and_done_again(alias: str):
    calls: list[int] = []
    shown(alias)

    def slow_at_first() -> int:
        calls.append(1)
        make_session(alias)
        if len(calls) == 1:
            time.sleep(LONG_SECONDS)
        return len(calls)

    assert transactions.run(alias, slow_at_first, wait_ms=1000) == 2
    assert Session.objects.using(alias).count() == 1


def test_one_that_is_not_ours_to_repeat_fails(alias: str):
    def slow() -> None:
        with transactions.own(alias, wait_ms=1000):
            make_session(alias)
            time.sleep(LONG_SECONDS)

    with pytest.raises(OperationalError):
        slow()
    assert Session.objects.using(alias).count() == 0


def test_a_job_may_be_silent_in_a_transaction_of_its_own(worker: TinyWorker, alias: str):
    def thinks() -> str:
        with transaction.atomic(alias):
            make_session(alias)
            time.sleep(LONG_SECONDS)
            make_session(alias)
        return "thought"

    assert outcome_of(worker, thinks) == Succeeded(b'"thought"')
    assert Session.objects.using(alias).count() == 2


def test_so_may_the_body_of_an_atomic_job(worker: TinyWorker, alias: str):
    hooks: list[Any] = []
    before = shown(alias)

    def thinks() -> str:
        transaction.on_commit(lambda: hooks.append(shown(alias)), using=alias)
        make_session(alias)
        time.sleep(LONG_SECONDS)
        make_session(alias)
        return "thought"

    assert outcome_of(worker, thinks, atomic=True) == Recorded(Succeeded(b'"thought"'))
    assert Session.objects.using(alias).count() == 2
    assert hooks == [before]
    assert shown(alias) == before


def test_but_not_the_end_of_one(worker: TinyWorker, alias: str, monkeypatch: pytest.MonkeyPatch):
    store = get_store()
    real = store.write

    def slow(*args: Any, **kwargs: Any) -> Written:
        answer = real(*args, **kwargs)
        time.sleep(LONG_SECONDS)
        return answer

    monkeypatch.setattr(store, "write", slow)
    assert isinstance(outcome_of(worker, lambda: make_session(alias), atomic=True), Unsettled)
    assert Session.objects.using(alias).count() == 0


def make_session(alias: str) -> None:
    Session.objects.using(alias).create(session_key=uuid4().hex, session_data="", expire_date=timezone.now())


def outcome_of(worker: TinyWorker, body: Callable[[], object], **options: Any) -> Outcome:
    """Run a job in the thread, and so on the connection, that has claimed it."""
    body.__name__ = body.__qualname__ = "thinks"
    task = job(max_retries=0, **options)(body)
    try:
        task.delay()
        (claimed,) = worker.claim()
        return run_in_slot(worker, claimed).outcome
    finally:
        registry.unregister(task)
