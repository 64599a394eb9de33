"""One process of a worker, in the test's own process, on the broker and the store of the testing kit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest

from django_jobs import clock
from django_jobs.brokers import use_broker
from django_jobs.brokers.base import Claim, Claimed, Consumer, Retry
from django_jobs.envelope import Job
from django_jobs.exceptions import BrokerUnavailable, ConsumerLost, StoreUnavailable
from django_jobs.execution import error_of
from django_jobs.outcome import Outcome, Retried, Snoozed
from django_jobs.results import use_store
from django_jobs.results.base import Record
from django_jobs.states import Place, State
from django_jobs.testing.memory import MemoryBroker
from django_jobs.testing.store import MemoryStore
from django_jobs.worker.child import Child
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.markers import RunningMarkers
from django_jobs.worker.process import Exit
from django_jobs.worker.progress import ProgressReporter
from django_jobs.worker.settler import Settler
from django_jobs.worker.slots import Finished, read
from django_jobs.worker.wake import Wake
from tests.app import jobs
from tests.worker.conftest import wait_for

LEASE_MS = 600_000
QUEUES = ("default", "mail")


class FailingBroker(MemoryBroker):
    """Fails when it is told to."""

    fails_to_retry = False
    #: The queue in which consumers are told that they are lost.
    lost_in = ""

    def retry(self, retries: Sequence[Retry]) -> list[str]:
        if self.fails_to_retry:
            raise BrokerUnavailable("The broker is away.")
        return super().retry(retries)

    def claim(self, consumer: Consumer, queue: str, limit: int, *, settled: Sequence[Claimed] = ()) -> Claim:
        if queue == self.lost_in:
            raise ConsumerLost("The lease is gone.")
        return super().claim(consumer, queue, limit, settled=settled)


class FailingStore(MemoryStore):
    """Fails when it is told to."""

    is_away = False

    def record(self, records: Sequence[Record]) -> list[str]:
        if self.is_away:
            raise StoreUnavailable("The store is away.")
        return super().record(records)


@pytest.fixture
def broker() -> Iterator[FailingBroker]:
    with use_broker(FailingBroker("memory://")) as broker:
        assert isinstance(broker, FailingBroker)
        yield broker


@pytest.fixture
def store() -> Iterator[FailingStore]:
    with use_store(FailingStore()) as store:
        assert isinstance(store, FailingStore)
        yield store


@pytest.fixture
def child(broker: FailingBroker, store: FailingStore) -> Child:
    config = WorkerConfig(name="w", queues=tuple((queue, 0) for queue in QUEUES))
    consumer = Consumer(id=uuid4().hex, queues=QUEUES)
    broker.register(consumer, lease_ms=LEASE_MS)
    markers = RunningMarkers(config.slots)
    return Child(broker, store, config, consumer, markers, weights=list(config.queues), name="w/1")


def place_of(broker: FailingBroker, job_id: str) -> Place | None:
    found = broker.find(job_id)
    return None if found is None else found.place


def claimed_by_another(broker: FailingBroker) -> tuple[Consumer, Claimed]:
    other = Consumer(id=uuid4().hex, queues=QUEUES)
    broker.register(other, lease_ms=LEASE_MS)
    (claimed,) = broker.claim(other, "default", 1).jobs
    return other, claimed


@pytest.fixture
def suspect(broker: FailingBroker, store: FailingStore, tmp_path: Path) -> Iterator[Path]:
    """A job that was running when its process died, and runs until the file that is returned appears."""
    gate = tmp_path / "gate"
    jobs.held.delay(str(tmp_path / "ledger"), str(gate))
    other, claimed = claimed_by_another(broker)
    broker.reap("default", other.id, suspect_ms=0, force=True, running=[claimed.id])
    yield gate
    gate.touch()


def in_thread(child: Child) -> tuple[threading.Thread, list[Exit]]:
    ends: list[Exit] = []
    thread = threading.Thread(target=lambda: ends.append(child.run()), daemon=True)
    thread.start()
    wait_for(child._slots.running_jobs, what="the job to run")
    return thread, ends


def test_a_process_that_is_told_to_end_under_a_suspect_ends_after_it(child: Child, suspect: Path) -> None:
    thread, ends = in_thread(child)
    child.drain()
    suspect.touch()
    thread.join(10)
    assert ends == [Exit.DONE]


def test_a_pump_sleeps_while_a_suspect_runs(child: Child, suspect: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    step = child._pump._step

    def counted(block_seconds: float) -> None:
        turns.append(1)
        step(block_seconds)

    monkeypatch.setattr(child._pump, "_step", counted)
    thread, _ = in_thread(child)
    before = len(turns)
    thread.join(0.5)
    assert len(turns) - before < 20
    child.drain()
    suspect.touch()
    thread.join(10)


def test_who_is_lost_in_one_queue_gives_back_what_it_has_just_got_from_another(
    child: Child, broker: FailingBroker
) -> None:
    sent = jobs.add.delay(1, 2)
    broker.lost_in = "mail"
    child._pump._step(0.0)
    assert place_of(broker, sent.id) is Place.IN_FLIGHT
    child._pump._step(0.0)
    assert place_of(broker, sent.id) is Place.READY


def test_handing_back_waits_for_no_store(
    child: Child, broker: FailingBroker, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.add.delay(1, 2)
    child._pump._step(0.0)
    child._slots.stop()
    slot = threading.Thread(target=child._slots.work)
    slot.start()
    slot.join(10)
    store.is_away = True

    def leave(code: int) -> NoReturn:
        raise SystemExit(code)

    monkeypatch.setattr("django_jobs.worker.pump.os._exit", leave)
    child.hand_back()
    with pytest.raises(SystemExit) as end:
        child._pump._step(0.0)
    assert end.value.code == Exit.HANDED_BACK
    _, claimed = claimed_by_another(broker)
    assert claimed.deliveries == 1


def finished(broker: FailingBroker, outcome: Outcome) -> Finished:
    """Return the end of a job that is in flight."""
    jobs.add.delay(1, 2)
    _, claimed = claimed_by_another(broker)
    job = read(claimed)
    assert isinstance(job, Job)
    return Finished(claimed, job, outcome, clock.now_ms(), clock.now_ms())


def test_a_batch_that_is_settled_again_says_the_same_once(broker: FailingBroker, store: FailingStore) -> None:
    end = finished(broker, Retried(error_of(ValueError("no luck")), 60.0))
    settler = Settler(broker, store, worker="w/1")
    broker.fails_to_retry = True
    with pytest.raises(BrokerUnavailable):
        settler.settle([end])
    broker.fails_to_retry = False
    assert settler.settle([end]) == []
    row = store.get(end.claimed.id)
    assert row is not None
    assert len(row.history.splitlines()) == 1
    assert place_of(broker, end.claimed.id) is Place.SCHEDULED


def test_a_job_that_has_shown_itself_and_snoozes_does_not_go_on_running(
    broker: FailingBroker, store: FailingStore
) -> None:
    end = finished(broker, Snoozed(60.0))
    settler = Settler(broker, store, worker="w/1")
    assert end.job is not None
    progress = ProgressReporter(store, settler.reported, wake=Wake())
    progress.started(end.job, "w/1", 0)
    progress.write()
    settler.settle([end])
    row = store.get(end.claimed.id)
    assert row is not None
    assert row.record.state == State.SCHEDULED


def test_what_a_job_said_right_before_its_end_is_dropped(broker: FailingBroker, store: FailingStore) -> None:
    end = finished(broker, Retried(error_of(ValueError("no luck")), 60.0))
    settler = Settler(broker, store, worker="w/1")
    assert end.job is not None
    progress = ProgressReporter(store, settler.reported, wake=Wake())
    progress.started(end.job, "w/1", 0)
    progress.drop([end.claimed.id])
    settler.settle([end])
    progress.write()
    row = store.get(end.claimed.id)
    assert row is not None
    assert row.record.state == State.RETRY


def test_a_job_is_known_at_every_moment_of_its_way_through_the_slots(child: Child, broker: FailingBroker) -> None:
    slots = child._slots
    sent = jobs.add.delay(1, 2)
    seen: list[tuple[bool, bool]] = []

    class Watched(deque[Finished]):
        def append(self, finished: Finished) -> None:
            before = sent.id in slots.known()
            super().append(finished)
            seen.append((before, sent.id in slots.known()))

    slots._finished = Watched()
    thread = threading.Thread(target=child.run, daemon=True)
    thread.start()
    wait_for(lambda: place_of(broker, sent.id) is None, what="the end of the job")
    child.drain()
    thread.join(10)
    assert seen == [(True, True)]
