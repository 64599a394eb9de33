"""
Invariants that hold between any two calls, read from what Redis really keeps.

I1  an id is in exactly one place: the jobs hash and the places name the same ids, and agree about their order
I2  whoever sleeps finds a marker when there is something to claim (unless a waiter has just taken it)
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.brokers.redis.codec import RANK


def _pairs(flat: list[Any]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def check_invariants(broker: object, queue: str, *, nobody_waits: bool = True) -> None:
    """Check a queue. For other brokers there is nothing to compare: a row is in one place by being one row."""
    if isinstance(broker, RedisBroker):
        check_places(broker, queue)
        check_marker(broker, queue, nobody_waits=nobody_waits)


def check_places(broker: RedisBroker, queue: str) -> None:
    lane = broker.lane(queue)
    keys = lane.keys

    def ask(*parts: bytes) -> Any:
        return broker.run(lane.command(*parts))

    jobs = _pairs(ask(b"HGETALL", keys["jobs"]))
    ready, sched, dead, consumers = (
        _pairs(ask(b"ZRANGE", keys[name], b"0", b"-1", b"WITHSCORES"))
        for name in ("ready", "sched", "dead", "consumers")
    )
    held_keys = ask(b"KEYS", keys["flights"] + b"*")
    held = {key.removeprefix(keys["flights"]): ask(b"HKEYS", key) for key in held_keys}
    placed = Counter([*ready, *(member[1:] for member in sched), *dead, *(raw for ids in held.values() for raw in ids)])

    assert set(placed) == set(jobs), "ids in a place and ids with a message differ"
    assert set(placed.values()) <= {1}, "an id is in two places"
    assert set(held) <= set(consumers), "somebody without a lease holds jobs"
    for raw, score in ready.items():
        assert int(score) == int(jobs[raw][1:18]), "ready and the message disagree about the order"
    for member, eta in sched.items():
        assert member[0] * RANK + int(eta) == int(jobs[member[1:]][1:18]), "sched and the message disagree"
    assert set(ask(b"HKEYS", keys["reasons"])) == set(dead)
    assert set(ask(b"HKEYS", keys["redeliv"])) <= set(jobs) - set(dead)
    assert set(ask(b"HKEYS", keys["revoked"])) <= {raw for ids in held.values() for raw in ids}
    assert set(ask(b"ZRANGE", keys["suspects"], b"0", b"-1")) <= set(consumers)


def check_marker(broker: RedisBroker, queue: str, *, nobody_waits: bool) -> None:
    lane = broker.lane(queue)
    markers = broker.run(lane.command(b"LLEN", lane.keys["wake"]))
    ready = broker.run(lane.command(b"ZCARD", lane.keys["ready"]))
    paused = broker.run(lane.command(b"HEXISTS", lane.keys["meta"], b"paused"))
    assert markers <= 1
    if nobody_waits and ready and not paused:
        assert markers == 1, "there is work, and nobody would be told"


def check_empty(broker: object, queue: str) -> None:
    """Check that nothing is left of the jobs of a queue: no key that grows with every job."""
    if isinstance(broker, RedisBroker):
        lane = broker.lane(queue)
        left = [
            name
            for name in ("jobs", "ready", "sched", "dead", "reasons", "redeliv", "revoked", "waiters")
            if broker.run(lane.command(b"EXISTS", lane.keys[name]))
        ]
        assert left == []
        assert broker.run(lane.command(b"KEYS", lane.keys["flights"] + b"*")) == []
