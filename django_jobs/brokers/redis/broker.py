"""The Redis broker: the verbs of the hot path. The others are in its bases."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from django_jobs.brokers.base import (
    ACK_BATCH,
    CLAIM_BATCH,
    ENQUEUE_BATCH,
    IN_FLIGHT_MAX,
    PROMOTE_BATCH,
    Claim,
    Claimed,
    Consumer,
    Message,
    Retry,
    Woken,
)
from django_jobs.brokers.redis.codec import MESSAGE_PARTS, pack_id, pack_message, rank_of, unpack_id, unpack_message
from django_jobs.brokers.redis.continuity import Continuity
from django_jobs.brokers.redis.inspector import Inspector
from django_jobs.brokers.redis.scripts import Bound, Call, PackedCall, Request
from django_jobs.brokers.redis.strays import Strays
from django_jobs.brokers.redis.waits import Waits
from django_jobs.brokers.redis.workers import Workers
from django_jobs.exceptions import ConsumerLost
from django_jobs.states import Place

#: Bodies of one call together, in bytes: Redis reads a call to its end before anybody else is served.
BATCH_BYTES = 4 * 1024 * 1024
#: How many batches are on their way at once.
WINDOW = 4
PURGE_BATCH = 500

Item = TypeVar("Item")

_PROMOTE = b"%d" % PROMOTE_BATCH
_MOST = b"%d" % IN_FLIGHT_MAX
_ADDED = ord("1")


class RedisBroker(Strays, Waits, Workers, Continuity, Inspector):
    """Jobs in Redis 6.2 or newer, or Valkey: standalone, behind Sentinel, or in a cluster."""

    def __init__(
        self, location: str, *, prefix: str = "dj", timeout_ms: int = 2000, options: dict[str, Any] | None = None
    ) -> None:
        super().__init__(location, prefix=prefix, timeout_ms=timeout_ms, options=options)
        # A token is never used twice: a start that nobody else has, then a number.
        self._token_start = os.urandom(4).hex()
        self._token_numbers = itertools.count(1)
        self._last_woken = ""

    # The way in

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        if len(messages) == 1:
            return [self._enqueue_one(messages[0])]
        by_queue: dict[str, list[int]] = {}
        for number, message in enumerate(messages):
            by_queue.setdefault(message.queue, []).append(number)
        batches = []
        for queue, numbers in by_queue.items():
            lane = self.lane(queue)
            for batch in _batches(numbers, ENQUEUE_BATCH, lambda number: len(messages[number].body)):
                batches.append((lane, batch, _carrying(lane.enqueue, [messages[number] for number in batch])))
        self.introduce([lane for lane, _, _ in batches])
        added = [False] * len(messages)
        for start in range(0, len(batches), WINDOW):
            window = batches[start : start + WINDOW]
            answers = self.run_all([call for _, _, call in window])
            for (lane, numbers, _), (epoch, digits) in zip(window, answers, strict=True):
                if epoch == b"new":
                    self.introduce([lane], again=True)
                for number, digit in zip(numbers, digits, strict=True):
                    added[number] = digit == _ADDED
        return added

    def _enqueue_one(self, message: Message) -> bool:
        """Enqueue without the tables that several messages need: delay() does this thousands of times a second."""
        lane = self._lanes.get(message.queue) or self.lane(message.queue)
        if not lane.introduced:
            self.introduce([lane])
        epoch, digits = self.run(PackedCall(lane.enqueue, MESSAGE_PARTS, pack_message(message)), quick=True)
        if epoch == b"new":
            self.introduce([lane], again=True)
        return bool(digits[0] == _ADDED)

    # The way through

    def claim(self, consumer: Consumer, queue: str, limit: int, *, settled: Sequence[Claimed] = ()) -> Claim:
        token, request = self._claim_request(consumer, queue, limit)
        if settled:
            *lost, answer = self.run_all([*self._settle("ack", settled, _no_more), request])
        else:
            lost, answer = [], self.run(request)
        return _claim(answer, consumer, queue, token, [unpack_id(raw) for part in lost for raw in part])

    def wait_and_claim(self, consumer: Consumer, limit: int, timeout_ms: int) -> Woken | None:
        """
        Send the claim right behind the blocking pop: Redis runs it the moment the pop ends, and an idle worker has its
        job after one wake-up, not three. The queue that the claim is for is the one that had work last.
        """
        if self.spans_slots(consumer.queues):
            return super().wait_and_claim(consumer, limit, timeout_ms)
        queue = self._last_woken if self._last_woken in consumer.queues else consumer.queues[0]
        token, request = self._claim_request(consumer, queue, limit)
        woken, answer = self.pop_then(consumer.queues, request, timeout_ms / 1000)
        if woken is not None:
            self._last_woken = woken
        if answer is None:
            return None if woken is None else Woken(woken, self.claim(consumer, woken, limit))
        return Woken(queue, _claim(answer, consumer, queue, token, []), woken if woken != queue else None)

    def _claim_request(self, consumer: Consumer, queue: str, limit: int) -> tuple[str, Call]:
        token = f"{self._token_start}{next(self._token_numbers):x}"
        wanted = b"%d" % max(0, min(limit, CLAIM_BATCH))
        arguments = (consumer.id.encode(), token.encode(), wanted, _PROMOTE, _MOST)
        return token, self.lane(queue).call_for(consumer.id, "claim", arguments)

    def ack(self, jobs: Sequence[Claimed]) -> list[str]:
        return self._settled(self._settle("ack", jobs, _no_more))

    def retry(self, retries: Sequence[Retry]) -> list[str]:
        by_job = {(retry.job.id, retry.job.token): retry for retry in retries}

        def more(job: Claimed) -> tuple[bytes, ...]:
            retry = by_job[job.id, job.token]
            return rank_of(job.priority), b"%d" % max(0, retry.delay_ms), retry.body

        jobs = [retry.job for retry in by_job.values()]
        return self._settled(
            self._settle("retry", jobs, more, size=lambda job: len(by_job[job.id, job.token].body)),
        )

    def release(self, jobs: Sequence[Claimed], *, delay_ms: int = 0, started: bool = False) -> list[str]:
        first = (b"%d" % max(0, delay_ms), b"1" if started else b"0")
        return self._settled(self._settle("release", jobs, lambda job: (rank_of(job.priority),), first))

    def bury(self, jobs: Sequence[Claimed], *, reason: str) -> list[str]:
        return self._settled(self._settle("bury", jobs, _no_more, (reason.encode(),)))

    def _settle(
        self,
        verb: str,
        jobs: Sequence[Claimed],
        more: Callable[[Claimed], tuple[bytes, ...]],
        first: tuple[bytes, ...] = (),
        size: Callable[[Claimed], int] = lambda job: 0,
    ) -> list[Request]:
        """Return the calls that settle these jobs: one for each queue, consumer and batch."""
        by_holder: dict[tuple[str, str], list[Claimed]] = {}
        for job in jobs:
            by_holder.setdefault((job.queue, job.token.rpartition(".")[0]), []).append(job)
        requests: list[Request] = []
        for (queue, holder), held in by_holder.items():
            lane = self.lane(queue)
            for batch in _batches(held, ACK_BATCH, size):
                arguments = list(first)
                for job in batch:
                    arguments += (pack_id(job.id), job.token.rpartition(".")[2].encode(), *more(job))
                requests.append(lane.call_for(holder, verb, arguments))
        return requests

    def _settled(self, requests: list[Request]) -> list[str]:
        lost = []
        for start in range(0, len(requests), WINDOW):
            for answer in self.run_all(requests[start : start + WINDOW]):
                lost += [unpack_id(raw) for raw in answer]
        return lost

    # From outside

    def revoke(self, job_id: str, queue: str, *, terminate: bool = False) -> Place | None:
        return self.revoke_many([job_id], queue, terminate=terminate)[0]

    def revoke_many(self, job_ids: Sequence[str], queue: str, *, terminate: bool = False) -> list[Place | None]:
        lane, how = self.lane(queue), b"1" if terminate else b"0"
        places = [
            place
            for batch in _batches(job_ids, ACK_BATCH, len)
            for place in self.run_all([lane.call("revoke", pack_id(job_id), how) for job_id in batch])
        ]
        return [Place(place.decode()) if place else None for place in places]

    def forget(self, job_ids: Sequence[str], queue: str) -> int:
        lane = self.lane(queue)
        calls = [
            lane.call("forget", *(pack_id(job_id) for job_id in batch)) for batch in _batches(job_ids, ACK_BATCH, len)
        ]
        return sum(self.run(call) for call in calls)

    def revive(self, messages: Sequence[Message]) -> list[str]:
        by_queue: dict[str, list[Message]] = {}
        for message in messages:
            by_queue.setdefault(message.queue, []).append(message)
        return self._settled(
            [
                _carrying(self.lane(queue).call("revive").bound, batch)
                for queue, dead in by_queue.items()
                for batch in _batches(dead, ACK_BATCH, lambda message: len(message.body))
            ]
        )

    def pause(self, queue: str) -> None:
        lane = self.lane(queue)
        self.introduce([lane])
        self.run(lane.call("pause"))

    def resume(self, queue: str) -> None:
        self.run(self.lane(queue).call("resume"))

    def purge(self, queue: str, *, limit: int | None = None) -> int:
        lane, purged = self.lane(queue), 0
        while limit is None or purged < limit:
            batch = PURGE_BATCH if limit is None else min(PURGE_BATCH, limit - purged)
            moved = int(self.run(lane.call("purge", b"%d" % batch)))
            purged += moved
            if moved < batch:
                break
        return purged


def _no_more(job: Claimed) -> tuple[bytes, ...]:
    """Say that a verb wants nothing of a job but its id and token."""
    return ()


def _carrying(bound: Bound, messages: Sequence[Message]) -> PackedCall:
    """Return a call of a script that is told of each message what enqueue.lua is."""
    return PackedCall(bound, MESSAGE_PARTS * len(messages), b"".join(map(pack_message, messages)))


def _batches(items: Sequence[Item], count: int, size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Cut into batches of so many items and about BATCH_BYTES at most."""
    batch: list[Item] = []
    taken = 0
    for item in items:
        if len(batch) == count or (batch and taken + size(item) > BATCH_BYTES):
            yield batch
            batch, taken = [], 0
        batch.append(item)
        taken += size(item)
    if batch:
        yield batch


def _claim(answer: Any, consumer: Consumer, queue: str, token: str, lost: list[str]) -> Claim:
    """Read the answer of claim.lua. Raises ConsumerLost."""
    if answer == b"lost":
        raise ConsumerLost(f"The lease of consumer {consumer.id} in queue {queue!r} is gone; others have its jobs.")
    receipt = f"{consumer.id}.{token}"
    now_ms, next_eta, expired, counts, *rows = answer
    deliveries, crashes = map(int, counts.split(b":")) if counts else (0, 0)
    jobs = []
    for raw, message in zip(rows[::2], rows[1::2], strict=True):
        priority, moment_ms, body = unpack_message(message)
        jobs.append(Claimed(unpack_id(raw), queue, body, receipt, moment_ms, priority, deliveries, crashes))
    return Claim(jobs, now_ms, int(next_eta) if next_eta else None, expired.decode() or None, lost)
