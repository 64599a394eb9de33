"""The verbs of the database broker inside and outside of the caller's transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from django.db import connection as default_connection
from django.db import connections, transaction
from django.db.utils import OperationalError

from django_jobs.brokers.base import Retry
from django_jobs.brokers.database.broker import DatabaseBroker
from django_jobs.exceptions import BrokerUnavailable, JobsConfigurationError
from django_jobs.models import JobResult, QueuedJob
from django_jobs.states import Place
from tests.brokers.database_kit import SERVERS, alias_or_skip, database_broker, statements
from tests.brokers.kit import claim, consumer, ids, message, messages, places

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(params=SERVERS)
def alias(request: pytest.FixtureRequest) -> str:
    return alias_or_skip(request.param)


@pytest.fixture
def broker(alias: str):
    with database_broker(alias) as made:
        yield made


class RollBackError(Exception):
    """Ends a transaction."""


@contextlib.contextmanager
def rolled_back(alias: str) -> Iterator[None]:
    with contextlib.suppress(RollBackError), transaction.atomic(alias):
        yield
        raise RollBackError


def test_a_job_is_sent_when_its_transaction_commits(broker: DatabaseBroker, alias: str):
    worker = consumer(broker)
    with transaction.atomic(alias):
        assert broker.enqueue(messages(3)) == [True] * 3
    assert len(claim(broker, worker)) == 3


def test_a_job_goes_with_its_transaction(broker: DatabaseBroker, alias: str):
    with rolled_back(alias):
        broker.enqueue(messages(3))
    assert broker.queues() == []
    assert claim(broker, consumer(broker)) == []


def test_a_queue_whose_first_job_was_rolled_back_is_known_with_its_second(broker: DatabaseBroker, alias: str):
    with rolled_back(alias):
        broker.enqueue(messages(1))
    broker.enqueue(messages(1))
    assert broker.queues() == ["alpha"]


def test_the_wake_up_goes_out_after_the_commit(broker: DatabaseBroker, alias: str):
    assert broker.wait(["alpha"], 0) is None
    with transaction.atomic(alias):
        broker.enqueue(messages(1))
        assert broker._wakeups._marked == set()
    assert broker._wakeups._marked == {"alpha"}


def test_only_its_own_alias_is_joined(broker: DatabaseBroker, alias: str):
    assert broker.joins_transaction(alias)
    assert not broker.joins_transaction("another")


def test_an_ack_is_undone_with_the_result_it_belongs_to(broker: DatabaseBroker, alias: str):
    broker.enqueue(messages(2))
    worker = consumer(broker)
    held = claim(broker, worker)
    with rolled_back(alias):
        assert broker.ack(held) == []
    assert places(broker, held) == {Place.IN_FLIGHT}
    with transaction.atomic(alias):
        assert broker.ack(held) == []
    assert places(broker, held) == {None}


def test_every_verb_works_inside_a_transaction(broker: DatabaseBroker, alias: str):
    with transaction.atomic(alias):
        sent = messages(8)
        broker.enqueue(sent)
        worker = consumer(broker)
        held = claim(broker, worker, 6)
        assert broker.heartbeat([worker], lease_ms=1000)[0].in_flight == 6
        assert broker.retry([Retry(held[0], b"again", 0)]) == []
        assert broker.release(held[1:2], started=True) == []
        assert broker.bury(held[2:3], reason="test") == []
        assert broker.ack(held[3:4]) == []
        assert broker.resync(worker, [held[4].id]) == [held[5].id]
        assert broker.revoke(sent[7].id, "alpha") is Place.READY
        assert broker.forget([held[2].id], "alpha") == 1
        assert broker.purge("alpha") > 0
        broker.pause("alpha")
        broker.resume("alpha")
        assert broker.expired(["alpha"]) == []
        assert broker.reap("alpha", worker.id, suspect_ms=0, force=True).moved == (held[4].id,)
        assert broker.wait(["alpha"], 100) == "alpha"
        assert broker.find(held[4].id) is not None
        assert broker.counts(["alpha"])[0].ready == 1
    assert broker.counts(["alpha"])[0].ready == 1


def test_an_open_transaction_hides_its_jobs_and_holds_nobody_up(broker: DatabaseBroker, alias: str, threads):
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    worker = consumer(broker)
    broker.enqueue(messages(1))
    with transaction.atomic(alias):
        sent = messages(3)
        broker.enqueue(sent)
        others = threads.submit(lambda: (claim(broker, worker), broker.enqueue(messages(1)))).result(20)
        assert len(others[0]) == 1
    assert set(ids(sent)) < set(ids(claim(broker, worker)))


def test_claims_pass_by_each_other(broker: DatabaseBroker, alias: str, threads):
    if not connections[alias].features.has_select_for_update_skip_locked:
        pytest.skip("no SKIP LOCKED")
    sent = messages(10)
    broker.enqueue(sent)
    first, second = consumer(broker), consumer(broker)
    with transaction.atomic(alias):
        assert ids(claim(broker, first, 5)) == ids(sent[:5])
        assert ids(threads.submit(claim, broker, second, 10).result(20)) == ids(sent[5:])


def test_a_claim_that_is_under_way_is_not_reaped_before_it_is_committed(broker: DatabaseBroker, alias: str, threads):
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    sent = messages(3)
    broker.enqueue(sent)
    worker = consumer(broker)
    with transaction.atomic(alias):
        claim(broker, worker, 2)
        reaped = threads.submit(broker.reap, "alpha", worker.id, suspect_ms=0, force=True).result(20)
        assert (reaped.verdict, reaped.moved) == ("locked", ())
    reaped = broker.reap("alpha", worker.id, suspect_ms=0, force=True)
    assert (reaped.verdict, reaped.moved) == ("reaped", tuple(sorted(ids(sent[:2]))))


def test_few_statements_on_the_way_through(broker: DatabaseBroker, alias: str):
    broker.enqueue(messages(1))
    worker = consumer(broker)
    claim(broker, worker)
    with database_broker(alias, LISTEN=False) as quiet:
        quiet.enqueue(messages(1))
        with statements(alias) as enqueueing:
            quiet.enqueue(messages(50))
        with statements(alias) as claiming:
            held = claim(quiet, worker, 50)
        with statements(alias) as acking:
            quiet.ack(held)
    # On MariaDB a bound is set for what others may wait for, and set back.
    expected = {"postgresql": (1, 1, 1), "sqlite": (2, 5, 2), "mysql": (1, 2 + 4, 2 + 1)}[connections[alias].vendor]
    assert (len(enqueueing), len(claiming), len(acking)) == expected


def test_the_settlers_transaction_records_and_acks(broker: DatabaseBroker, alias: str):
    """A job whose row is written in the transaction that acks it is recorded once, whatever happens."""
    broker.enqueue(messages(1))
    held = claim(broker, consumer(broker))
    with transaction.atomic(alias):
        JobResult.objects.using(alias).count()
        assert broker.ack(held) == []
    assert QueuedJob.objects.using(alias).count() == 0


def test_without_tables_it_says_what_to_do(alias: str):
    with database_broker(alias) as broker, connections[alias].cursor() as cursor:
        cursor.execute("ALTER TABLE django_jobs_knownqueue RENAME TO django_jobs_away")
        try:
            with pytest.raises(BrokerUnavailable, match=r"run manage\.py migrate"):
                broker.ping()
            with pytest.raises(BrokerUnavailable, match=r"run manage\.py migrate"):
                broker.pause("alpha")
        finally:
            cursor.execute("ALTER TABLE django_jobs_away RENAME TO django_jobs_knownqueue")
        broker.ping()


def test_an_alias_that_is_not_there():
    with pytest.raises(JobsConfigurationError, match=r"'elsewhere'.*default"):
        DatabaseBroker("database://elsewhere")


def test_an_option_that_is_not_there():
    with pytest.raises(JobsConfigurationError, match=r"'LISTENING'.*LISTEN"):
        DatabaseBroker("database://default", options={"LISTENING": False})


def test_a_vendor_without_a_dialect(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(default_connection, "vendor", "oracle", raising=False)
    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
    with pytest.raises(JobsConfigurationError, match="is oracle"):
        DatabaseBroker("database://default")


def test_a_connection_that_died_is_replaced(broker: DatabaseBroker, alias: str):
    connection = connections[alias]
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no server")
    broker.enqueue(messages(1))
    kill_session(alias)
    assert broker.enqueue(messages(1)) == [True]
    kill_session(alias)
    worker = consumer(broker)
    kill_session(alias)
    # A claim may have been done although its answer was lost: it is not repeated, the caller resyncs.
    with pytest.raises(BrokerUnavailable, match="cannot be used"):
        claim(broker, worker)
    assert len(claim(broker, worker)) == 2


def test_inside_a_transaction_errors_are_djangos(broker: DatabaseBroker, alias: str):
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite has no server")

    def send_while_the_session_ends() -> None:
        with transaction.atomic(alias):
            broker.enqueue(messages(1))
            kill_session(alias)
            broker.enqueue(messages(1))

    with pytest.raises(OperationalError):
        send_while_the_session_ends()
    assert broker.enqueue(messages(1)) == [True]


def test_one_bad_message_is_refused_by_name(broker: DatabaseBroker):
    with pytest.raises(ValueError, match="at most 64 characters"):
        broker.enqueue([message(queue="q" * 65)])
    with pytest.raises(ValueError, match="A job id is a UUID"):
        broker.enqueue([message(job_id="seven")])


def kill_session(alias: str) -> None:
    """End this thread's session on the server, as a restart or an administrator would."""
    connection = connections[alias]
    connection.ensure_connection()
    statement = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(statement)
        session = cursor.fetchone()[0]
    killer = connection.copy()
    try:
        with killer.cursor() as cursor:
            cursor.execute(
                f"SELECT pg_terminate_backend({session})" if connection.vendor == "postgresql" else f"KILL {session}"
            )
    finally:
        killer.close()


def test_where_a_delete_returns_nothing(broker: DatabaseBroker):
    """As on MySQL, on which these tests do not run."""
    broker._database.dialect.delete_returns = False
    broker.enqueue(messages(4))
    worker = consumer(broker)
    held = claim(broker, worker)
    broker.release(held[:1])
    assert broker.ack(held) == [held[0].id]
    (again,) = claim(broker, worker)
    assert broker.ack([held[0]]) == [held[0].id]
    assert broker.ack([again]) == []


def test_many_claims_are_acked_at_once(broker: DatabaseBroker):
    broker.enqueue(messages(20))
    worker = consumer(broker)
    held = [job for _ in range(20) for job in claim(broker, worker, 1)]
    assert broker.ack(held[3:]) == []
    assert broker.ack(held) == ids(held[3:])
