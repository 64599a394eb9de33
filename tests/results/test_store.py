"""What the default store promises, on every kind of database."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError, connections, transaction
from django.db.transaction import TransactionManagementError
from pytest_django import Settings

from django_jobs import transactions
from django_jobs.exceptions import StoreUnavailable
from django_jobs.identifiers import new_id
from django_jobs.models import JobResult
from django_jobs.results import get_store
from django_jobs.results.base import Record, Settled
from django_jobs.results.store import DatabaseStore
from tests.results.conftest import MakeRecord

FULL = {
    "priority": -7,
    "args": '[1,"\\u00e4"]',
    "kwargs": '{"a":null}',
    "result": '"NULL"',
    "meta": '{"done":1}',
    "exception_type": "shop.Error",
    "exception": 'äöü "quoted" \\ {braces}, %s 日本 🎈',
    "traceback": "line 1\nline 2\t'x'",
    "worker": "host-1",
    "retries": 2,
    "deliveries": 1,
    "fence": 3 << 16 | 1,
    "enqueued_ms": 1_700_000_000_123,
    "eta_ms": 1_700_000_001_000,
    "started_ms": 1_700_000_002_999,
    "finished_ms": 1_700_000_003_001,
    "expires_ms": 4_000_000_000_000,
    "root_id": "018bcfe5-687b-7000-8000-000000000001",
    "parent_id": "018bcfe5-687b-7000-8000-000000000002",
    "message": '{"v":1}',
}


def row(store: DatabaseStore, job_id: str) -> Record:
    stored = store.get(job_id)
    assert stored is not None
    return stored.record


def test_every_field_comes_back_as_it_was(store: DatabaseStore, make_record: MakeRecord):
    record = make_record(state="FAILURE", history="first\n", **FULL)
    bare = make_record()
    assert store.record([record, bare]) == []
    stored = store.get_many([record.id, bare.id, new_id()])
    assert stored[record.id].record == record._replace(history="")
    assert stored[record.id].history == "first\n"
    assert stored[bare.id].record == bare
    assert len(stored) == 2


def test_the_orm_reads_the_rows(store: DatabaseStore, make_record: MakeRecord):
    record = make_record(**FULL)
    store.record([record])
    found = JobResult.objects.using(store.using).get(pk=record.id)
    assert (str(found.pk), str(found.root_id), found.exception) == (record.id, record.root_id, record.exception)
    assert found.finished_at is not None
    assert found.finished_at.isoformat() == "2023-11-14T22:13:23.001000+00:00"
    assert not JobResult.objects.using(store.using).filter(expires_at__lt=found.finished_at).exists()


def test_ids_sort_by_their_moment(store: DatabaseStore, make_record: MakeRecord):
    records = [make_record() for _ in range(300)]
    store.record(records[::-1])
    pks = JobResult.objects.using(store.using).values_list("pk", flat=True)
    assert [str(pk) for pk in pks] == [record.id for record in records][::-1]


def test_more_than_a_batch_is_written_all_or_none(store: DatabaseStore, make_record: MakeRecord):
    records = [make_record() for _ in range(450)]

    def fail() -> None:
        with store.transaction():
            store.record(records)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.get_many([record.id for record in records]) == {}
    with store.transaction():
        assert store.record(records) == []
    assert len(store.get_many([record.id for record in records])) == 450


def test_nothing_to_write_is_nothing_to_do(store: DatabaseStore):
    assert store.record([]) == []
    assert store.reopen([]) == []
    assert store.get_many([]) == {}


def test_texts_of_all_kinds_in_one_column(store: DatabaseStore, make_record: MakeRecord):
    values = [None, "", "null", "NULL", '"', "\\", "{}", ",", "'", "%s", "\n", "\\N", " x "]
    records = [make_record(result=value, meta=value, message=value) for value in values]
    store.record(records)
    stored = store.get_many([record.id for record in records])
    assert [stored[record.id].record for record in records] == records


class TestGuard:
    def test_a_late_writer_of_an_earlier_attempt_changes_nothing(self, store: DatabaseStore, make_record: MakeRecord):
        newer = make_record(state="RETRY", fence=2 << 16)
        late = newer._replace(state="SUCCESS", fence=1 << 16, result="1")
        other = make_record()
        store.record([newer])
        assert store.record([late, other]) == [newer.id]
        assert row(store, newer.id) == newer
        assert row(store, other.id) == other

    def test_the_first_recorded_end_of_a_generation_stays(self, store: DatabaseStore, make_record: MakeRecord):
        first = make_record(fence=0, result="1")
        store.record([first])
        for fence in (0, 1, 9):  # the same attempt again, and two redelivered copies
            assert store.record([first._replace(fence=fence, result="2")]) == [first.id]
        assert row(store, first.id) == first
        again = first._replace(fence=1 << 16, result="3")
        assert store.record([again]) == []
        assert row(store, first.id) == again

    def test_which_rows_stayed_is_exact_in_a_mixed_batch(self, store: DatabaseStore, make_record: MakeRecord):
        ended = [make_record(fence=5) for _ in range(20)]
        running = [make_record(state="STARTED") for _ in range(20)]
        new = [make_record() for _ in range(20)]
        store.record([*ended, *running])
        batch = [
            r._replace(state="SUCCESS", result="2", fence=7)
            for trio in zip(ended, running, new, strict=True)
            for r in trio
        ]
        assert sorted(store.record(batch)) == [record.id for record in ended]
        assert {row(store, r.id).result for r in [*running, *new]} == {"2"}
        assert {row(store, r.id).fence for r in [*running, *new]} == {7}
        assert [row(store, r.id) for r in ended] == ended

    def test_history_grows_and_is_never_replaced(self, store: DatabaseStore, make_record: MakeRecord):
        record = make_record(state="RETRY", history="1\n")
        store.record([record])
        store.record([record._replace(fence=1 << 16, history="2\n")])
        store.record([record._replace(fence=0, history="late\n")])
        store.record([record._replace(fence=2 << 16, state="SUCCESS", history="")])
        stored = store.get(record.id)
        assert stored is not None
        assert stored.history == "1\n2\n"

    def test_two_records_of_one_job_in_one_call_are_written_in_order(
        self, store: DatabaseStore, make_record: MakeRecord
    ):
        first = make_record(state="RETRY", history="1\n")
        second = first._replace(state="SUCCESS", fence=1 << 16, history="")
        assert store.record([first, make_record(), second]) == []
        assert row(store, first.id) == second._replace(history="")


class TestBadData:
    def test_one_bad_row_does_not_spoil_its_batch(self, store: DatabaseStore, make_record: MakeRecord):
        records = [make_record(result="1") for _ in range(50)]
        records[17] = records[17]._replace(priority=10**30, args="[17]", message="{}", result="[1]")
        assert store.record(records) == []
        stored = store.get_many([record.id for record in records])
        bad = stored.pop(records[17].id).record
        assert {found.record.state for found in stored.values()} == {"SUCCESS"}
        assert (bad.state, bad.result) == ("FAILURE", None)
        assert bad.exception_type == "django_jobs.exceptions.ResultNotStorable"
        assert "(SUCCESS)" in bad.exception

    def test_the_arguments_of_a_bad_row_are_kept_where_they_are_not_what_is_wrong(
        self, store: DatabaseStore, make_record: MakeRecord
    ):
        record = make_record(result="1", meta="{}", args="[17]", expires_ms=10**18)._replace(message="{}")
        fine = record._replace(expires_ms=None, id=new_id())
        store.record([record, fine])
        assert row(store, fine.id).state == "SUCCESS"
        assert row(store, record.id).exception_type == "django_jobs.exceptions.ResultNotStorable"

    def test_nul_and_lone_surrogates_become_readable(self, store: DatabaseStore, make_record: MakeRecord):
        text = "a\0b \ud800 é"
        record = make_record(
            state="FAILURE",
            exception=text,
            traceback=text,
            args=text,
            worker=text,
            history=text,
            message=text,
            meta=text,
        )
        plain = make_record()
        store.record([record, plain])
        found = row(store, record.id)
        for name in ("exception", "traceback", "args", "worker", "message", "meta"):
            assert getattr(found, name) == "a\\x00b \\ud800 é", name
        assert row(store, plain.id) == plain

    def test_a_large_result_is_kept(self, store: DatabaseStore, make_record: MakeRecord):
        records = [make_record(result=json.dumps("x" * 1_500_000)) for _ in range(5)]
        store.record(records)
        assert row(store, records[3].id) == records[3]

    def test_a_result_that_the_server_cannot_take_is_a_failure(self, make_record: MakeRecord, store: DatabaseStore):
        store._largest_row = 3_000_000  # what MariaDB has by its own setting, the others by ours
        large, small = make_record(result=json.dumps("x" * 5_000_000)), make_record()
        store.record([large, small])
        assert row(store, large.id).exception_type == "django_jobs.exceptions.ResultNotStorable"
        assert row(store, small.id) == small

    def test_the_transaction_around_it_goes_on(self, store: DatabaseStore, make_record: MakeRecord):
        bad, good = make_record(priority=10**30), make_record()
        with transaction.atomic(store.using):
            store.record([bad])
            store.record([good])
        assert row(store, bad.id).state == "FAILURE"
        assert row(store, good.id) == good


class TestTouch:
    def test_progress_makes_a_row_and_leaves_the_rest_of_it(self, store: DatabaseStore, make_record: MakeRecord):
        running = make_record(state="STARTED", meta='{"done":1}', fence=1, worker="w", started_ms=1_700_000_000_000)
        assert store.update_meta(running)
        assert row(store, running.id) == running
        assert store.update_meta(running._replace(state="COPYING", meta='{"done":2}', args="[9]", started_ms=None))
        assert row(store, running.id) == running._replace(state="COPYING", meta='{"done":2}')

    def test_progress_of_a_new_attempt_keeps_the_history(self, store: DatabaseStore, make_record: MakeRecord):
        failed = make_record(state="RETRY", exception="boom", history="1\n", message="{}")
        store.record([failed])
        assert store.update_meta(failed._replace(state="STARTED", fence=1 << 16, exception="", history="", retries=1))
        stored = store.get(failed.id)
        assert stored is not None
        assert (stored.record.state, stored.record.exception, stored.history) == ("STARTED", "boom", "1\n")
        assert (stored.record.retries, stored.record.message) == (1, "{}")

    def test_late_progress_does_not_undo_an_end(self, store: DatabaseStore, make_record: MakeRecord):
        ended = make_record(fence=3)
        store.record([ended])
        for fence in (2, 3, 4):
            assert not store.update_meta(ended._replace(state="STARTED", fence=fence, meta="{}"))
        assert row(store, ended.id) == ended


class TestReopen:
    def test_only_what_has_ended_before(self, store: DatabaseStore, make_record: MakeRecord):
        failed, running, sent = make_record(state="FAILURE"), make_record(state="STARTED"), make_record(fence=1 << 16)
        store.record([failed, running, sent])
        again = [r._replace(state="PENDING", fence=1 << 16) for r in (failed, running, sent, make_record())]
        assert store.reopen(again) == [failed.id]
        assert row(store, failed.id).state == "PENDING"
        assert row(store, running.id) == running

    def test_a_transaction_that_is_repeated_reads_again(
        self, store: DatabaseStore, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
    ):
        failed = make_record(state="FAILURE")
        store.record([failed])
        before = store._write
        tries = []

        def deadlock_once(cursor: Any, batch: list[Record], refused: dict[str, str]) -> list[str]:
            tries.append(batch)
            if len(tries) == 1:
                raise OperationalError("deadlock detected")
            return before(cursor, batch, refused)

        def repeat(alias: str, action: Callable[[], list[str]], *, wait_ms: int) -> list[str]:
            with suppress(OperationalError), transaction.atomic(alias):
                action()
            JobResult.objects.using(alias).filter(pk=failed.id).update(state="PENDING", fence=1 << 16)
            with transaction.atomic(alias):
                return action()

        monkeypatch.setattr(store, "_write", deadlock_once)
        monkeypatch.setattr(transactions, "run", repeat)
        assert store.reopen([failed._replace(state="PENDING", fence=1 << 16)]) == []
        assert len(tries) == 1

    def test_of_many_at_once_one_does_it(self, store: DatabaseStore, make_record: MakeRecord):
        failed = [make_record(state="FAILURE") for _ in range(30)]
        store.record(failed)
        together = threading.Barrier(4)

        def reopen(number: int) -> list[str]:
            try:
                together.wait(10)
                return store.reopen([r._replace(state="PENDING", fence=1 << 16, worker=str(number)) for r in failed])
            finally:
                connections[store.using].close()

        with ThreadPoolExecutor(4) as pool:
            done = [job_id for ids in pool.map(reopen, range(4)) for job_id in ids]
        assert sorted(done) == [record.id for record in failed]


def test_settled_says_how_jobs_stand(store: DatabaseStore, make_record: MakeRecord):
    ended = make_record(fence=7, message="{}", eta_ms=1_700_000_000_000)
    running = make_record(state="STARTED")
    store.record([ended, running])
    assert store.settled([ended.id, running.id, new_id()]) == {
        ended.id: Settled("SUCCESS", 7, "{}", 1_700_000_000_000),
        running.id: Settled("STARTED", 0, None, None),
    }


def test_forget_deletes(store: DatabaseStore, make_record: MakeRecord):
    records = [make_record() for _ in range(3)]
    store.record(records)
    assert store.forget([records[0].id, new_id()]) == 1
    assert store.get(records[0].id) is None
    assert len(store.get_many([record.id for record in records])) == 2


def test_writers_at_once_lose_nothing(store: DatabaseStore, make_record: MakeRecord):
    """Two copies of every job, in opposite orders, by four threads: no deadlock, and of each job one end."""
    records = [make_record() for _ in range(200)]

    def write(number: int) -> list[str]:
        stayed = []
        mine = [record._replace(worker=str(number), deliveries=number, fence=number) for record in records]
        try:
            for start in range(0, 200, 40):
                batch = mine[start : start + 40]
                stayed += store.record(batch if number % 2 else batch[::-1])
        finally:
            connections[store.using].close()
        return stayed

    with ThreadPoolExecutor(4) as pool:
        stayed = [job_id for ids in pool.map(write, range(4)) for job_id in ids]
    assert len(stayed) == 600
    stored = store.get_many([record.id for record in records])
    assert all(found.record.fence == int(found.record.worker) for found in stored.values())
    assert len(stored) == 200


class TestFaults:
    def test_missing_tables_are_named_with_the_command(self, store: DatabaseStore, make_record: MakeRecord):
        table = JobResult._meta.db_table
        with connections[store.using].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO hidden_away")
        try:
            for ask in (
                lambda: store.get(new_id()),
                lambda: store.record([make_record()]),
                lambda: store.settled([new_id()]),
                store.prune,
                lambda: store.update_meta(make_record()),
            ):
                with pytest.raises(StoreUnavailable, match=r"manage\.py migrate"):
                    ask()
        finally:
            with connections[store.using].cursor() as cursor:
                cursor.execute(f"ALTER TABLE hidden_away RENAME TO {table}")
        record = make_record()
        assert store.record([record]) == []

    def test_a_connection_that_died_is_replaced(self, store: DatabaseStore, make_record: MakeRecord):
        connection = connections[store.using]
        connection.ensure_connection()
        if connection.vendor == "sqlite":
            pytest.skip("there is no server to close the connection")
        kill_from_outside(store.using)
        record = make_record()
        assert store.record([record]) == []
        kill_from_outside(store.using)
        assert row(store, record.id) == record

    def test_a_server_that_is_away_when_a_connection_is_needed_is_unavailable(
        self, store: DatabaseStore, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
    ):
        def refuse(*arguments: object) -> None:
            raise OperationalError("connection refused")

        connection = connections[store.using]
        connection.close()
        with monkeypatch.context() as away:
            away.setattr(connection, "get_new_connection", refuse)
            with pytest.raises(StoreUnavailable, match="connection refused"):
                store.record([make_record()])
        assert store.record([make_record()]) == []

    def test_a_connection_that_dies_in_a_transaction_is_not_left_behind(
        self, store: DatabaseStore, make_record: MakeRecord
    ):
        if connections[store.using].vendor == "sqlite":
            pytest.skip("there is no server to close the connection")
        record = make_record()

        def settle() -> None:
            with store.transaction():
                store.record([record])
                kill_from_outside(store.using)
                store.record([record])

        with pytest.raises(StoreUnavailable):
            settle()
        with store.transaction():
            assert store.record([record]) == []

    def test_in_a_transaction_of_the_callers_errors_are_the_databases(
        self, store: DatabaseStore, make_record: MakeRecord
    ):
        with transaction.atomic(store.using):
            transaction.set_rollback(True, using=store.using)
            with pytest.raises(TransactionManagementError):
                store.record([make_record()])


def kill_from_outside(alias: str) -> None:
    """End this thread's connection as a server does that is restarted."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if connection.vendor == "postgresql" else "SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone()

    def kill() -> None:
        other = connections[alias]
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)" if other.vendor == "postgresql" else "KILL %s", [number])
        other.close()

    thread = threading.Thread(target=kill)
    thread.start()
    thread.join()


class TestSQLite:
    """Its one write lock, with Django's default settings."""

    @pytest.fixture
    def alias(self, alias: str) -> str:
        if connections[alias].vendor != "sqlite":
            pytest.skip("about SQLite")
        return alias

    def hold(self, alias: str, held: threading.Event, release: threading.Event) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            held.set()
            release.wait(30)
            cursor.execute("ROLLBACK")
        connections[alias].close()

    def test_settling_waits_for_a_writer(self, store: DatabaseStore, make_record: MakeRecord):
        held, release = threading.Event(), threading.Event()
        holder = threading.Thread(target=self.hold, args=(store.using, held, release))
        holder.start()
        held.wait(10)
        threading.Timer(0.3, release.set).start()
        record = make_record()
        with store.transaction():
            store.record([record])
        holder.join()
        assert row(store, record.id) == record

    @pytest.mark.parametrize("kind", [InterfaceError, InternalError, ProgrammingError])
    def test_a_database_that_refuses_for_whatever_reason_is_unavailable(self, alias: str, kind: type[Exception]):
        with pytest.raises(StoreUnavailable, match="cannot be used: no"), DatabaseStore(using=alias).transaction():
            raise kind("no")

    def test_waiting_has_an_end_that_the_caller_sees(self, alias: str, make_record: MakeRecord):
        store = DatabaseStore(using=alias, options={"PATIENCE": 0.2, "TIMEOUT": 0.1})
        held, release = threading.Event(), threading.Event()
        holder = threading.Thread(target=self.hold, args=(alias, held, release))
        holder.start()
        held.wait(10)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            store.record([make_record()])
        with pytest.raises(StoreUnavailable, match="locked"), store.transaction():
            pytest.fail("nobody gets in")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.update_meta(make_record())
        assert time.monotonic() - started < 20
        release.set()
        holder.join()
        assert store.record([make_record()]) == []

    def test_the_projects_own_wait_is_left_as_it_was(self, store: DatabaseStore, make_record: MakeRecord):
        connection: Any = connections[store.using]
        connection.ensure_connection()
        connection.connection.execute("PRAGMA busy_timeout = 1234")
        store.record([make_record()])
        assert connection.connection.execute("PRAGMA busy_timeout").fetchone() == (1234,)
        assert connection.transaction_mode is None


def test_the_settings_give_the_store_its_options(settings: Settings):
    settings.DJANGO_JOBS = {"RESULTS": {"OPTIONS": {"PATIENCE": 1.5, "TIMEOUT": timedelta(seconds=2)}}}
    store = get_store()
    assert isinstance(store, DatabaseStore)
    assert (store.patience_ms, store.timeout_ms) == (1500, 2000)
    settings.DJANGO_JOBS = {}
    assert get_store() is not store
