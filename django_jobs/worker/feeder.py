"""
What to claim next, from where, and how much of it.

As much as there are free slots, and a little ahead when jobs are short: what a thread can do in 50 ms, at most 100
jobs. Jobs over 50 ms are claimed only when a slot is free for them, so nothing waits behind a long one; what was
claimed ahead and does wait is given back after 100 ms, to its old place.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

from django_jobs.brokers.base import CLAIM_BATCH, BaseBroker, Claim, Claimed, Consumer
from django_jobs.registry import registry
from django_jobs.worker.slots import Slots

#: Claim ahead what a thread does in this time (a guess that measurements on no-op and 10 ms jobs bore out).
PREFETCH_SECONDS = 0.05
#: A job claimed ahead that has waited this long is given back.
PATIENCE_SECONDS = 0.1
#: Every queue is asked this often even if nobody said that it has work: the safety net for a wake-up that was lost.
POLL_SECONDS = 2.0


class Feeder:
    """Claims jobs for one process."""

    def __init__(
        self, broker: BaseBroker, consumer: Consumer, slots: Slots, *, weights: Sequence[tuple[str, int]]
    ) -> None:
        self._broker = broker
        self._consumer = consumer
        self._slots = slots
        self._weights = list(weights)
        #: Queues that may have work now; the others are asked when they wake us, when something is due, or after
        #: POLL_SECONDS.
        self._hot: set[str] = {queue for queue, _ in weights}
        #: When the next scheduled job of a queue is due, monotonic seconds.
        self._due: dict[str, float] = {}
        self._next_poll = 0.0
        self._was_idle = False
        self._lock = threading.Lock()
        #: Share of ``async def`` jobs among the last ones, and whether there are both kinds at all.
        kinds = {task.is_async for task in registry}
        self._async_share = 1.0 if kinds == {True} else 0.0 if True not in kinds else 0.5
        self._claimed_at = 0.0
        #: No claims ahead before this moment: the last ones had to be given back.
        self._cautious_until = 0.0

    def add_queue(self, queue: str, weight: int) -> None:
        """Serve one more queue."""
        self._weights.append((queue, weight))
        self.wake(queue)

    def wake(self, queue: str) -> None:
        """Say that a queue may have work. Any thread may."""
        with self._lock:
            self._hot.add(queue)

    def has_found_nothing(self, *, idle: bool) -> bool:
        """Say whether every queue has been asked while the process was idle; let them all be asked when it is."""
        found_nothing, self._was_idle = idle and self._was_idle, idle
        if idle:
            self._next_poll = 0.0
        return found_nothing

    def seconds_to_next(self) -> float:
        """Return how long nothing is to be claimed, as far as is known."""
        now = time.monotonic()
        if self._hot:
            return 0.0
        return max(0.0, min([self._next_poll, *self._due.values()]) - now)

    def has_free_slot(self) -> bool:
        """Say whether a job could start right now."""
        slots = self._slots
        return len(slots.in_threads) < slots.threads or (
            self._async_share > 0 and len(slots.in_loop) < slots.async_limit
        )

    def want(self) -> int:
        """Return how many more jobs the slots can take."""
        slots, share = self._slots, self._async_share
        free_threads = slots.threads - len(slots.in_threads)
        free_loop = slots.async_limit - len(slots.in_loop)
        if share >= 1.0:
            return min(free_loop, CLAIM_BATCH)
        prefetch = 0
        if time.monotonic() >= self._cautious_until and slots.average_seconds < PREFETCH_SECONDS:
            prefetch = min(CLAIM_BATCH, int(PREFETCH_SECONDS / max(slots.average_seconds, 1e-4)) * slots.threads)
            if slots.threads > 1:
                # Threads wait for each other's interpreter lock: a job's duration says little about the next free
                # thread.
                prefetch = min(prefetch, 2 * slots.threads)
        room = free_threads + prefetch
        if share == 0.0:
            return max(0, min(room, CLAIM_BATCH))
        # As many as fit, if the next ones are mixed as the last were; at least one of either kind that has a free slot.
        fitting = min(max(room, 0) / (1 - share), max(free_loop, 0) / share)
        least = 1 if free_threads > 0 or (free_loop > 0 and share > 0.05) else 0
        return max(least, min(int(fitting), CLAIM_BATCH))

    def claim(self, want: int, settled: Sequence[Claimed]) -> list[Claimed]:
        """
        Ack ``settled`` and claim up to ``want`` jobs from the queues that may have some.

        ``settled`` goes with the first call, in the same round trip. Raises ConsumerLost, BrokerUnavailable.
        """
        now = time.monotonic()
        order = self._order(now)
        if settled and not order:
            self._broker.ack(settled)
        jobs: list[Claimed] = []
        for queue in order:
            with self._lock:
                self._hot.discard(queue)
            claim = self._broker.claim(self._consumer, queue, want - len(jobs), settled=settled)
            settled = ()
            jobs += self._taken(queue, claim, want - len(jobs))
            if len(jobs) >= want or (claim.jobs and claim.jobs[0].deliveries):
                break  # a job that was handed out before comes alone, over all queues
        return jobs

    def wait_and_claim(self, consumer: Consumer, want: int, seconds: float) -> list[Claimed]:
        """Wait until a queue has work, at most so long, and claim up to ``want`` of it. Raises as ``claim`` does."""
        woken = self._broker.wait_and_claim(consumer, want, max(1, round(seconds * 1000)))
        if woken is None:
            return []
        if woken.other is not None:
            self.wake(woken.other)
        return self._taken(woken.queue, woken.claim, want)

    def _taken(self, queue: str, claim: Claim, want: int) -> list[Claimed]:
        """Learn from a claim, and return its jobs."""
        if claim.next_eta_ms is None:
            self._due.pop(queue, None)
        else:
            self._due[queue] = time.monotonic() + max(0, claim.next_eta_ms - claim.now_ms) / 1000
        if claim.jobs:
            self._claimed_at = time.monotonic()
            if len(claim.jobs) == want or claim.jobs[0].deliveries:
                self.wake(queue)  # there may be more
        return claim.jobs

    def _order(self, now: float) -> list[str]:
        """Return the queues to ask, best first: strict order when a weight is 0, else a random order by weight."""
        if now >= self._next_poll:
            self._next_poll = now + POLL_SECONDS
            hot = {queue for queue, _ in self._weights}
        else:
            hot = self._hot | {queue for queue, due in self._due.items() if due <= now}
        candidates = [(queue, weight) for queue, weight in self._weights if queue in hot]
        if len(candidates) < 2 or any(weight == 0 for _, weight in candidates):
            return [queue for queue, _ in candidates]
        # Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): sort by u ** (1 / weight).
        return [queue for queue, _ in sorted(candidates, key=lambda c: random.random() ** (1 / c[1]), reverse=True)]

    def learn(self, jobs: Sequence[Claimed]) -> None:
        """Remember of what kinds the last jobs were, now that the slots have them."""
        if not jobs or not 0.0 < self._async_share < 1.0:
            return
        share = sum(claimed in self._slots.in_loop for claimed in jobs) / len(jobs)
        self._async_share = min(0.95, max(0.05, 0.8 * self._async_share + 0.2 * share))

    def stale(self) -> bool:
        """Say whether jobs that were claimed ahead have waited too long."""
        return bool(self._slots.waiting) and time.monotonic() - self._claimed_at > PATIENCE_SECONDS

    def was_wrong(self) -> None:
        """Claim nothing ahead for a while: what was, had to be given back."""
        self._cautious_until = time.monotonic() + 1.0
