"""Damage that others do to the service, found and mended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_jobs.brokers.base import BaseBroker, Claimed
from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.brokers.redis.codec import pack_id
from django_jobs.brokers.strays import Fault
from django_jobs.models import ConsumerLease
from django_jobs.states import Place
from django_jobs.testing.memory import MemoryBroker
from tests.brokers.conftest import BrokerFactory
from tests.brokers.invariants import check_invariants
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer, ids, message, messages, place

only_redis = pytest.mark.parametrize("make_broker", ["redis7", "redis62", "cluster", "cluster slots"], indirect=True)


def delete_leases(broker: BaseBroker) -> None:
    """Do what no verb does: forget who may claim from "alpha"."""
    if isinstance(broker, RedisBroker):
        lane = broker.lane("alpha")
        broker.run(lane.command(b"DEL", lane.keys["consumers"]))
    elif isinstance(broker, MemoryBroker):
        broker._shelf.queue("alpha").leases.clear()
    else:
        alias = broker.location.removeprefix("database://")
        ConsumerLease._default_manager.using(alias).filter(queue="alpha").delete()


@pytest.fixture
def held(broker: BaseBroker) -> Iterator[list[Claimed]]:
    broker.enqueue(messages(5))
    yield claim(broker, consumer(broker), 3)
    assert broker.strays(["alpha"]) == []
    check_invariants(broker, "alpha")


def test_orphans_are_given_back(broker: BaseBroker, held: list[Claimed]):
    broker.revoke(held[2].id, "alpha")
    delete_leases(broker)
    found = broker.strays(["alpha", "beta"])
    assert {(stray.id, stray.queue, stray.fault) for stray in found} == {
        (job.id, "alpha", Fault.ORPHAN) for job in held
    }
    assert len({stray.consumer for stray in found}) == 1
    assert broker.strays(["beta"], mend=True) == []
    assert {place(broker, job) for job in held} == {Place.IN_FLIGHT}
    assert len(broker.strays(["alpha"], mend=True)) == 3
    assert [place(broker, job) for job in held] == [Place.READY, Place.READY, Place.DEAD]
    again = claim(broker, consumer(broker), 1)
    assert (again[0].id, again[0].deliveries, again[0].crashes) == (held[0].id, 1, 0)


def test_only_those_of_who_has_no_lease(broker: BaseBroker, held: list[Claimed]):
    delete_leases(broker)
    alive = consumer(broker)
    claimed = claim(broker, alive, 2)
    assert sorted(stray.id for stray in broker.strays(["alpha"], mend=True)) == sorted(ids(held))
    assert broker.ack(claimed) == []


@only_redis
@pytest.mark.parametrize("lost", ["ready", "sched", "dead"])
def test_jobs_whose_place_was_deleted_are_ready_again(broker: RedisBroker, held: list[Claimed], lost: str):
    later = [message(eta_ms=broker_now(broker) + HOUR_MS + number) for number in range(1200)]
    broker.enqueue(later)
    broker.bury(held[:1], reason="test")
    lane = broker.lane("alpha")
    broker.run(lane.command(b"DEL", lane.keys[lost]))
    broker.run(lane.command(b"DEL", lane.keys["reasons"]))
    expected = {"ready": 2, "sched": 1200, "dead": 1}[lost]
    assert {stray.fault for stray in broker.strays(["alpha"])} == {Fault.LOST}
    assert len(broker.strays(["alpha"], mend=True)) == expected
    if lost != "dead":
        broker.forget(ids(broker.peek("alpha", Place.DEAD)), "alpha")
    assert broker.counts(["alpha"])[0].ready == 2 + (expected if lost != "ready" else 0)


@only_redis
def test_ghosts_are_dropped(broker: RedisBroker, held: list[Claimed]):
    scheduled = message(eta_ms=broker_now(broker) + HOUR_MS, priority=7)
    broker.enqueue([*messages(2000), scheduled])
    broker.bury(held[:1], reason="test")
    ghosts = [*ids(broker.peek("alpha", Place.READY, limit=1700)), scheduled.id, held[0].id]
    lane = broker.lane("alpha")
    broker.run(lane.command(b"HDEL", lane.keys["jobs"], *map(pack_id, ghosts)))
    found = broker.strays(["alpha"])
    assert {stray.id for stray in found} == set(ghosts)
    assert {stray.fault for stray in found} == {Fault.GHOST}
    assert len(broker.strays(["alpha"], mend=True)) == len(ghosts)
    counts = broker.counts(["alpha"])[0]
    assert (counts.ready, counts.scheduled, counts.in_flight, counts.dead) == (302, 0, 2, 0)


def test_the_pattern_of_keys_is_that_of_one_prefix(broker: BaseBroker, held: list[Claimed], make_broker: BrokerFactory):
    if not isinstance(broker, RedisBroker):
        pytest.skip("about keys")
    other = type(broker)(broker.location, prefix=broker.prefix + "x", options=broker.options)
    try:
        other.enqueue(messages(1))
        claim(other, consumer(other))
        delete_leases(other)
        assert broker.strays(["alpha"]) == []
        assert len(other.strays(["alpha"], mend=True)) == 1
    finally:
        other.close()
