"""
Every key there is.

All keys of a queue share one hash tag, so that a script may touch them together in a Redis Cluster: by default the name
of the queue, with SINGLE_SLOT the prefix, which keeps all queues in one slot.

    dj:{mail}:jobs             hash   id -> message; the one truth about which jobs exist
    dj:{mail}:ready            zset   id, by score: (100 - priority) * 2^44 + ms
    dj:{mail}:sched            zset   char(100 - priority) .. id, by eta in ms
    dj:{mail}:inflight:<c>     hash   id -> token, for each consumer
    dj:{mail}:dead             zset   id, by its end in ms; reasons: hash id -> why
    dj:{mail}:consumers        zset   consumer, by end of lease; suspects: zset consumer, by when it was found over
    dj:{mail}:redeliv          hash   id -> deliveries:crashes, only of jobs that came back
    dj:{mail}:revoked          hash   id in flight -> how somebody revoked it: 0 ask it to stop, 1 interrupt it
    dj:{mail}:wake             list   at most one marker
    dj:{mail}:waiters          hash   id -> how many wait for its end; done:<id>: list, what wakes them
    dj:{mail}:meta             hash   since, paused
    {dj}:queues                set    the names of all queues
    {dj}:layout                text   "queue" or "single": where the hash tag is, the same for all who use these keys
    {dj}:epoch                 text   written once: it goes with the data
    {dj}:workers               zset   worker, by the moment until which its word counts; standings: hash worker -> it
    {dj}:orders:<worker>       list   the commands that wait for a worker
"""

from __future__ import annotations

import re

from redis.crc import key_slot

from django_jobs.exceptions import JobsConfigurationError

_QUEUE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)

_PARTS = (
    "jobs",
    "ready",
    "sched",
    "dead",
    "reasons",
    "consumers",
    "suspects",
    "redeliv",
    "revoked",
    "wake",
    "waiters",
    "meta",
)

_COMMON_PARTS = ("queues", "layout", "epoch", "workers", "standings")


def check_queue(name: str) -> str:
    """Return the name of a queue. Raises ValueError when it cannot be one."""
    if not _QUEUE.fullmatch(name):
        raise ValueError(
            f"{name!r} is not the name of a queue. Expected 1 to 64 of: plain letters, digits, '_', '-' and '.'."
        )
    return name


class QueueKeys:
    """The keys of one queue, by the names that the headers of the scripts use."""

    __slots__ = ("_base", "_keys", "slot")

    def __init__(self, prefix: str, queue: str, *, single_slot: bool) -> None:
        check_queue(queue)
        base = f"{{{prefix}}}:{queue}:" if single_slot else f"{prefix}:{{{queue}}}:"
        self._base = base.encode()
        self._keys = {part: self._base + part.encode() for part in _PARTS}
        # Two keys begin with these, completed by a script: it learns the id, or the consumer, only there.
        self._keys["done"] = self._base + b"done:"
        self._keys["flights"] = self._base + b"inflight:"
        self.slot: int = key_slot(self._base)

    def __getitem__(self, part: str) -> bytes:
        return self._keys[part]

    def inflight(self, consumer: str) -> bytes:
        return self._keys["flights"] + consumer.encode()

    def done(self, raw_id: bytes) -> bytes:
        return self._keys["done"] + raw_id


class CommonKeys:
    """The keys that belong to no queue. With SINGLE_SLOT they are in the slot of all the others."""

    __slots__ = ("_keys", "slot")

    def __init__(self, prefix: str) -> None:
        if not prefix or set(prefix) & set("{}"):
            raise JobsConfigurationError(
                f"The prefix of the broker's keys is {prefix!r}. Expected a text without braces."
            )
        self._keys = {part: f"{{{prefix}}}:{part}".encode() for part in _COMMON_PARTS}
        # Completed by a script that is told the worker.
        self._keys["orders"] = f"{{{prefix}}}:orders:".encode()
        self.slot: int = key_slot(self._keys["queues"])

    def __getitem__(self, part: str) -> bytes:
        return self._keys[part]
