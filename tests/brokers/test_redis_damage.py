"""Messages that somebody else has overwritten: nothing raises on them, and whoever claims one can tell."""

from __future__ import annotations

import pytest

from django_jobs.brokers.base import Message, Retry
from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.brokers.redis.codec import pack_id
from django_jobs.envelope import decode
from django_jobs.exceptions import DecodeError
from django_jobs.states import Place
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer, ids, message, place, silent_consumer, until

pytestmark = pytest.mark.parametrize("make_broker", ["redis7", "redis62", "cluster"], indirect=True)

GARBAGE = [b"", b"garbage", b"\xff\x00" * 40, b"1" + b"9" * 17 + b"-{}", b"1 12345678901234 -x", b"[" * 5000]


def damage(broker: RedisBroker, job: Message, garbage: bytes) -> None:
    lane = broker.lane("alpha")
    broker.run(lane.command(b"HSET", lane.keys["jobs"], pack_id(job.id), garbage))


@pytest.fixture(params=GARBAGE, ids=lambda garbage: repr(garbage[:8]))
def garbage(request: pytest.FixtureRequest) -> bytes:
    found: bytes = request.param
    return found


@pytest.fixture
def ready(broker: RedisBroker, garbage: bytes) -> Message:
    """A job that waits, behind another one, and is damaged."""
    job = message(priority=7)
    broker.enqueue([message(priority=8), job])
    damage(broker, job, garbage)
    return job


@pytest.fixture
def scheduled(broker: RedisBroker, garbage: bytes) -> Message:
    job = message(priority=7, eta_ms=broker_now(broker) + HOUR_MS)
    broker.enqueue([job])
    damage(broker, job, garbage)
    return job


def test_it_is_handed_out_and_cannot_be_read(broker: RedisBroker, ready: Message):
    first, damaged = claim(broker, consumer(broker), 2)
    assert (first.body, damaged.id) == (b"body", ready.id)
    with pytest.raises(DecodeError):
        decode(damaged.body, job_id=damaged.id, queue="alpha")
    assert broker.bury([damaged], reason="test") == []
    assert ids(broker.peek("alpha", Place.DEAD)) == [ready.id]
    assert broker.forget([ready.id], "alpha") == 1
    assert place(broker, ready) is None


@pytest.mark.parametrize("delay_ms", [0, HOUR_MS])
def test_it_can_be_given_back(broker: RedisBroker, ready: Message, delay_ms: int):
    worker = consumer(broker)
    damaged = claim(broker, worker, 2)[1]
    assert broker.release([damaged], delay_ms=delay_ms) == []
    assert place(broker, ready) is (Place.SCHEDULED if delay_ms else Place.READY)
    assert broker.strays(["alpha"]) == []


def test_it_can_be_sent_again(broker: RedisBroker, ready: Message):
    worker = consumer(broker)
    damaged = claim(broker, worker, 2)[1]
    assert broker.retry([Retry(damaged, b"mended", 0)]) == []
    assert [job.body for job in claim(broker, worker, 1)] == [b"mended"]


def test_it_comes_back_from_a_consumer_that_is_gone(broker: RedisBroker, ready: Message):
    worker, claimed = silent_consumer(broker)
    assert ready.id in ids(claimed)
    until(lambda: broker.reap("alpha", worker.id, suspect_ms=0).verdict == "reaped")
    assert place(broker, ready) is Place.READY
    leaving = consumer(broker)
    assert ready.id in [job.id for _ in range(2) for job in claim(broker, leaving, 1)]
    assert ready.id in broker.resync(leaving, [])
    claim(broker, leaving, 1)
    broker.unregister(leaving)
    assert place(broker, ready) is Place.READY


def test_it_is_found_and_stopped_where_it_waits(broker: RedisBroker, ready: Message):
    found = broker.find(ready.id, "alpha")
    assert found is not None
    assert (found.place, broker.ahead(found)) == (Place.READY, 1)
    assert ready.id in ids(broker.peek("alpha", Place.READY))
    assert broker.revoke(ready.id, "alpha") is Place.READY
    assert place(broker, ready) is Place.DEAD


def test_it_is_found_and_stopped_where_it_waits_for_its_time(broker: RedisBroker, scheduled: Message):
    assert place(broker, scheduled) is Place.SCHEDULED
    assert ids(broker.peek("alpha", Place.SCHEDULED)) == [scheduled.id]
    assert broker.strays(["alpha"], mend=True) == []
    assert broker.revoke(scheduled.id, "alpha") is Place.SCHEDULED
    assert place(broker, scheduled) is Place.DEAD
    assert broker.counts(["alpha"])[0].scheduled == 0


def test_it_is_mended_when_its_place_is_gone_too(broker: RedisBroker, ready: Message):
    lane = broker.lane("alpha")
    broker.run(lane.command(b"DEL", lane.keys["ready"]))
    assert ready.id in [stray.id for stray in broker.strays(["alpha"], mend=True)]
    assert place(broker, ready) is Place.READY
