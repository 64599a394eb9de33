"""
Waiting for work: look, then sleep a little, woken early by this process or by a notification.

Nothing is lost when nobody wakes: the database is looked at after 20 ms while there is work, and twice a second when
there has been none for a while.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from django_jobs.brokers.database.dialects import Sql

POLL_FIRST, POLL_LAST = 0.02, 0.5  # seconds
# Where a claim got nothing although something is ready, another has it, in a transaction that is open yet.
PAUSE_AFTER_NOTHING = 0.01

Look = Callable[[Sequence[str]], str | None]

# The head of each index, not EXISTS: whose plan depends on statistics, which say nothing about a queue a minute later.
HAS_WORK = """
    SELECT NUMBER AS number, CASE WHEN EXISTS (SELECT 1 FROM {queue} WHERE name = %s AND paused) THEN 0
        WHEN (SELECT 1 FROM {job} WHERE state = 0 AND queue = %s ORDER BY precedence, moment, id LIMIT 1) = 1 THEN 1
        WHEN (SELECT moment FROM {job} WHERE state = 1 AND queue = %s ORDER BY moment LIMIT 1) <= {now} THEN 1
        ELSE 0 END AS has_work
"""


@lru_cache
def _has_work(count: int) -> str:
    return " UNION ALL ".join(HAS_WORK.replace("NUMBER", str(number)) for number in range(count))


def look(sql: Sql, queues: Sequence[str]) -> str | None:
    """Return the first of these queues that has work, or None. Asks by index alone, whatever is in the queues."""
    rows = sql.rows(_has_work(len(queues)), [queue for queue in queues for _ in range(3)])
    first = min((number for number, has_work in rows if has_work), default=None)
    return None if first is None else queues[first]


class Wakeups:
    """Who waits at one instance of the broker, and what they are told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._marked: set[str] = set()
        self._quiet: dict[str, float] = {}
        self._interruptions = 0
        self._active_at = time.monotonic()

    def mark(self, queues: Iterable[str]) -> None:
        """Say that these queues may have work now."""
        with self._changed:
            self._marked.update(queues)
            self._changed.notify_all()

    def interrupt(self) -> None:
        """End every wait that is under way."""
        with self._changed:
            self._interruptions += 1
            self._changed.notify_all()

    def claimed(self, queue: str, *, limit: int, count: int) -> None:
        """
        Take note of a claim, so that work which is there but cannot be had is not looked at again and again.

        Nothing was wanted: the caller is busy, and comes by itself when it is not. Nothing was got: others have it.
        """
        if count:
            self._active_at = time.monotonic()
            self._quiet.pop(queue, None)
        else:
            self._quiet[queue] = time.monotonic() + (PAUSE_AFTER_NOTHING if limit else POLL_LAST)

    def wait(self, queues: Sequence[str], timeout_ms: int, look: Look) -> str | None:
        """Return a queue when it is marked or ``look`` finds it; None when interrupted or the time is over."""
        deadline = time.monotonic() + timeout_ms / 1000
        interruptions = self._interruptions
        pause = 0.0
        while True:
            with self._changed:
                if pause:
                    self._changed.wait_for(lambda: self._is_over(queues, interruptions), pause)
                found = next((queue for queue in queues if queue in self._marked), None)
                if found is not None:
                    self._marked.discard(found)
                elif self._interruptions != interruptions:
                    return None
            now = time.monotonic()
            loud = [queue for queue in queues if self._quiet.get(queue, now) <= now]
            found = found or (look(loud) if loud else None)
            now = time.monotonic()
            if found is not None:
                self._active_at = now
                return found
            if now >= deadline:
                return None
            pause = min(self._pause(now, queues), deadline - now)

    def _pause(self, now: float, queues: Sequence[str]) -> float:
        until_loud = min(
            (self._quiet[queue] - now for queue in queues if self._quiet.get(queue, now) > now), default=POLL_LAST
        )
        return min(max(POLL_FIRST, (now - self._active_at) / 10), POLL_LAST, until_loud)

    def _is_over(self, queues: Sequence[str], interruptions: int) -> bool:
        return self._interruptions != interruptions or not self._marked.isdisjoint(queues)


class Bell:
    """What is rung after a commit: it reaches every instance of the broker in this process."""

    def __init__(self) -> None:
        self._wakeups: weakref.WeakSet[Wakeups] = weakref.WeakSet()

    def add(self, wakeups: Wakeups) -> None:
        """Have an instance told."""
        self._wakeups.add(wakeups)

    def mark(self, queues: Iterable[str]) -> None:
        """Tell every instance that these queues may have work now."""
        for wakeups in list(self._wakeups):
            wakeups.mark(queues)


#: By alias.
bells: defaultdict[str, Bell] = defaultdict(Bell)
