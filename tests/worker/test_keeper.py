"""Heartbeats, in the test's own process, on the broker of the testing kit."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from django_jobs.brokers import use_broker
from django_jobs.brokers.base import Consumer
from django_jobs.exceptions import BrokerUnavailable, ConsumerLost
from django_jobs.testing.memory import MemoryBroker
from django_jobs.testing.store import MemoryStore
from django_jobs.worker import companion, keeper_process, process
from django_jobs.worker.channel import Channel
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.keeper import Keeper
from tests.brokers.kit import message
from tests.worker.conftest import wait_for

CONSUMER = Consumer(id="one", queues=("default",))


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    with use_broker(MemoryBroker()) as broker:
        assert isinstance(broker, MemoryBroker)
        yield broker


def test_a_new_keeper_renews_the_lease_of_a_child_that_opens_it_late(broker: MemoryBroker) -> None:
    """The keeper before it died before it had opened the lease, and the child is not that far yet."""
    config = WorkerConfig(name="w", queues=(("default", 0),))
    supervisor, own = Channel.pair()
    keeper = Keeper(broker, MemoryStore(), config, own)
    supervisor.send(what="lives", consumer=CONSUMER.id, queues=CONSUMER.queues, running=[])
    for heard in own.receive(5.0):
        keeper._hear(heard)
    keeper.beat()
    broker.register(CONSUMER, lease_ms=1)
    wait_for(lambda: broker.expired(["default"]), what="the end of the short lease")
    keeper.beat()
    assert broker.expired(["default"]) == []
    supervisor.close()
    own.close()


@pytest.mark.parametrize("queues", [(("default", 0),), ()], ids=["named", "all"])
def test_a_keeper_never_opens_a_lease(broker: MemoryBroker, queues: tuple[tuple[str, int], ...]) -> None:
    """Frozen between hearing of a child and its first heartbeat: meanwhile what the child had is given to others."""
    broker.register(CONSUMER, lease_ms=60_000)
    broker.enqueue([message(queue="default")])
    (claimed,) = broker.claim(CONSUMER, "default", 1).jobs
    supervisor, own = Channel.pair()
    keeper = Keeper(broker, MemoryStore(), WorkerConfig(name="w", queues=queues), own)
    supervisor.send(what="lives", consumer=CONSUMER.id, queues=() if not queues else CONSUMER.queues)
    for heard in own.receive(5.0):
        keeper._hear(heard)
    assert broker.reap("default", CONSUMER.id, suspect_ms=0, force=True).moved == (claimed.id,)
    keeper.beat()
    keeper.beat()
    assert broker.consumers(["default"]) == []
    with pytest.raises(ConsumerLost):
        broker.claim(CONSUMER, "default", 1)
    supervisor.close()
    own.close()


def test_a_keeper_goes_on_after_an_error_of_its_own(broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor, own = Channel.pair()
    keeper = Keeper(broker, MemoryStore(), WorkerConfig(name="w", queues=(("default", 0),), heartbeat_ms=10), own)
    beats: list[int] = []

    def broken() -> None:
        beats.append(1)
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(keeper, "beat", broken)
    thread = threading.Thread(target=keeper.run, daemon=True)
    thread.start()
    wait_for(lambda: len(beats) > 3, what="more heartbeats")
    supervisor.send(what="stop")
    thread.join(10)
    assert not thread.is_alive()
    supervisor.close()
    own.close()


def test_a_keeper_that_dies_at_once_is_replaced_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 1000.0
    monkeypatch.setattr("django_jobs.worker.keeper_process.time.monotonic", lambda: moment)
    started: list[int] = []

    def fork(body: Callable[[], int]) -> int:
        started.append(1)
        return 4711

    keeper = keeper_process.KeeperProcess(fork, lambda channel: 0, heartbeat_seconds=5.0, lease_seconds=20.0)
    keeper.start_if_due([])
    keeper.start_if_due([])
    assert len(started) == 1
    keeper.has_died(status=256)
    keeper.start_if_due([])
    assert len(started) == 1
    assert keeper.start_at == moment + companion.PAUSE_SECONDS
    moment += companion.PAUSE_SECONDS
    keeper.start_if_due([CONSUMER])
    assert len(started) == 2
    moment += 60.0
    keeper.has_died(status=9)  # after a long life: at once
    keeper.start_if_due([])
    assert len(started) == 3
    assert keeper.channel is not None
    keeper.channel.close()


def test_a_keeper_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(channel: Channel) -> int:
        threading.Event().wait(60)
        return 0

    monkeypatch.setattr(keeper_process, "HUNG_SECONDS", 0.3)
    keeper = keeper_process.KeeperProcess(process.fork, hang, heartbeat_seconds=0.1, lease_seconds=0.1)
    keeper.start_if_due([])

    def status() -> int:
        keeper.end_if_hung()
        pid, status = os.waitpid(keeper.pid, os.WNOHANG)
        return status if pid else 0

    try:
        assert os.WTERMSIG(wait_for(status, what="its end")) == signal.SIGKILL
    finally:
        assert keeper.channel is not None
        keeper.channel.close()


def test_a_keeper_speaks_with_each_heartbeat_though_the_broker_is_away(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise BrokerUnavailable("away on purpose")

    monkeypatch.setattr(broker, "heartbeat", away)
    supervisor, own = Channel.pair()
    keeper = Keeper(broker, MemoryStore(), WorkerConfig(name="w", queues=(("default", 0),), heartbeat_ms=10), own)
    supervisor.send(what="lives", consumer=CONSUMER.id, queues=CONSUMER.queues, running=[])
    thread = threading.Thread(target=keeper.run, daemon=True)
    thread.start()
    heard: list[str] = []

    def words() -> int:
        heard.extend(message["what"] for message in supervisor.receive(0.1))
        return heard.count("alive") > 3

    wait_for(words, what="its words")
    supervisor.send(what="stop")
    thread.join(10)
    supervisor.close()
    own.close()
