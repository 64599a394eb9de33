"""What becomes of dead jobs whose end nobody has recorded, on the broker and the store of the testing kit."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from django_jobs import clock
from django_jobs.brokers import use_broker
from django_jobs.brokers.base import Consumer, Message
from django_jobs.envelope import decode
from django_jobs.results import use_store
from django_jobs.states import Place
from django_jobs.testing.memory import MemoryBroker
from django_jobs.testing.store import MemoryStore
from django_jobs.worker.dead_sweep import REVOKERS_MS, DeadSweep
from django_jobs.worker.settler import Settler
from django_jobs.worker.verdict import TERMINATED, TIME_LIMIT, Verdict
from tests.app import jobs

QUEUES = ("default",)


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    with use_broker(MemoryBroker("memory://")) as broker:
        assert isinstance(broker, MemoryBroker)
        yield broker


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with use_store(MemoryStore()) as store:
        assert isinstance(store, MemoryStore)
        yield store


@pytest.fixture
def sweep(broker: MemoryBroker, store: MemoryStore) -> DeadSweep:
    return DeadSweep(broker, store, Settler(broker, store, worker="sweeper"))


def ended(broker: MemoryBroker, job_id: str, why: str) -> None:
    """Let a job be claimed, and its process be killed because of it."""
    consumer = Consumer(id=uuid4().hex, queues=QUEUES)
    broker.register(consumer, lease_ms=60_000)
    assert [claimed.id for claimed in broker.claim(consumer, "default", 1).jobs] == [job_id]
    verdict = Verdict(why, "host-1/2", clock.now_ms() - 3000, clock.now_ms())
    broker.reap("default", consumer.id, suspect_ms=0, force=True, running=[], ended={job_id: verdict.encode()})
    assert place(broker, job_id) is Place.DEAD


def place(broker: MemoryBroker, job_id: str) -> Place | None:
    found = broker.find(job_id)
    return None if found is None else found.place


def test_a_job_whose_time_was_over_has_failed(broker: MemoryBroker, store: MemoryStore, sweep: DeadSweep) -> None:
    sent = jobs.add.delay(1, 2)
    ended(broker, sent.id, TIME_LIMIT)
    sweep.sweep_if_due(QUEUES)
    stored = store.get(sent.id)
    assert stored is not None
    record = stored.record
    assert (record.state, record.worker) == ("FAILURE", "host-1/2")
    assert record.exception_type.endswith("TimeLimitExceeded")
    assert "3.0 s" in record.exception
    assert place(broker, sent.id) is None


def test_a_job_whose_policy_says_so_runs_again(broker: MemoryBroker, store: MemoryStore, sweep: DeadSweep) -> None:
    sent = jobs.slow_at_first.delay("path")
    ended(broker, sent.id, TIME_LIMIT)
    sweep.sweep_if_due(QUEUES)
    assert place(broker, sent.id) is Place.READY
    stored = store.get(sent.id)
    assert stored is not None
    assert stored.record.state == "RETRY"
    found = broker.find(sent.id)
    assert found is not None
    assert decode(found.body, job_id=sent.id, queue="default").retries == 1


def test_what_was_recorded_before_a_crash_is_not_recorded_twice(
    broker: MemoryBroker, store: MemoryStore, sweep: DeadSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = jobs.slow_at_first.delay("path")
    ended(broker, sent.id, TIME_LIMIT)

    def dies(messages: list[Message]) -> list[str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(broker, "revive", dies)
        with pytest.raises(KeyboardInterrupt):
            sweep.sweep_if_due(QUEUES)
    stored = store.get(sent.id)
    sweep.hurry()
    sweep.sweep_if_due(QUEUES)
    assert place(broker, sent.id) is Place.READY
    assert store.get(sent.id) == stored  # one retry, not two


def test_a_job_that_was_terminated_is_revoked(broker: MemoryBroker, store: MemoryStore, sweep: DeadSweep) -> None:
    sent = jobs.slow_at_first.delay("path")
    ended(broker, sent.id, TERMINATED)
    sweep.sweep_if_due(QUEUES)
    stored = store.get(sent.id)
    assert stored is not None
    assert stored.record.state == "REVOKED"
    assert place(broker, sent.id) is None


@pytest.mark.parametrize("verb", ["revoke", "purge"])
def test_what_was_revoked_by_somebody_who_died_is_recorded_later(
    broker: MemoryBroker, store: MemoryStore, sweep: DeadSweep, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = jobs.add.delay(1, 2)
    if verb == "revoke":
        broker.revoke(sent.id, "default")
    else:
        broker.purge("default")
    sweep.sweep_if_due(QUEUES)
    assert store.get(sent.id) is None  # whoever did it is about to record it
    later = clock.now_ms() + REVOKERS_MS + 1
    monkeypatch.setattr(clock, "now_ms", lambda: later)
    sweep.hurry()
    sweep.sweep_if_due(QUEUES)
    stored = store.get(sent.id)
    assert stored is not None
    assert stored.record.state == "REVOKED"
    assert place(broker, sent.id) is None


def test_a_message_that_cannot_be_read_is_recorded_as_it_is(
    broker: MemoryBroker, store: MemoryStore, sweep: DeadSweep
) -> None:
    sent = jobs.add.delay(1, 2)
    broker._shelf.queue("default").entries[sent.id].body = b"\xff nonsense"
    ended(broker, sent.id, TIME_LIMIT)
    sweep.sweep_if_due(QUEUES)
    stored = store.get(sent.id)
    assert stored is not None
    assert stored.record.state == "FAILURE"


def test_a_verdict_fits_and_comes_back_whatever_the_worker_is_called() -> None:
    verdict = Verdict(TIME_LIMIT, 'näme "quoted" ' * 20, 1, 2)
    text = verdict.encode()
    assert len(text) <= 255
    decoded = Verdict.decode(text)
    assert decoded is not None
    assert decoded.worker.startswith('näme "quoted"')
    assert [Verdict.decode(reason) for reason in ("revoked", None, "[1]", '"x"')] == [None] * 4
