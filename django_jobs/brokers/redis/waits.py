"""Waiting without asking again and again: for work, and for the end of a job."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import MovedError, NoScriptError, RedisError

from django_jobs.brokers.redis.codec import pack_id
from django_jobs.brokers.redis.connection import Link, unavailable
from django_jobs.brokers.redis.core import Lane, RedisCore
from django_jobs.brokers.redis.locations import Wire
from django_jobs.brokers.redis.scripts import Command, Request

#: Seconds that one blocking command lasts at most. A server that is gone without a word is noticed this long, and the
#: time of one call, after it went.
SLICE = 1.0


class Waiting:
    """The connections of this process that block. Another thread may shut them, which ends the wait at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocked: set[Wire] = set()
        self.interruptions = 0

    def enter(self, connection: Wire, since: int) -> bool:
        """Note a connection that is about to block; False: interrupted since then, so it should not."""
        with self._lock:
            if self.interruptions != since:
                return False
            self._blocked.add(connection)
            return True

    def leave(self, connection: Wire) -> None:
        with self._lock:
            self._blocked.discard(connection)

    def interrupt(self) -> None:
        with self._lock:
            self.interruptions += 1
            for connection in self._blocked:
                with contextlib.suppress(OSError, TypeError):
                    # Not close(): the number of the socket stays taken until its own thread lets go of it. Not the
                    # method of a TLS socket, which would pull its state from under the thread that reads.
                    socket.socket.shutdown(connection._sock, socket.SHUT_RDWR)


class Waits(RedisCore):
    """wait, interrupt, watch_end, wait_end, unwatch_end."""

    def __init__(
        self, location: str, *, prefix: str = "dj", timeout_ms: int = 2000, options: dict[str, Any] | None = None
    ) -> None:
        super().__init__(location, prefix=prefix, timeout_ms=timeout_ms, options=options)
        self._waiting_by_pid: dict[int, Waiting] = {}

    @property
    def _waiting(self) -> Waiting:
        # A forked child gets one of its own; a lock that a thread of the parent held would stay locked in it.
        return self._waiting_by_pid.setdefault(os.getpid(), Waiting())

    def wait(self, queues: Sequence[str], timeout_ms: int) -> str | None:
        lanes = {lane.keys["wake"]: lane for lane in map(self.lane, queues)}
        key = self._block(list(lanes.values()), list(lanes), timeout_ms / 1000)
        return lanes[key].name if key is not None else None

    def spans_slots(self, queues: Sequence[str]) -> bool:
        """Say whether these queues cannot be waited for with one command."""
        return self._is_cluster and len({self.lane(queue).keys.slot for queue in queues}) > 1

    def pop_then(self, queues: Sequence[str], request: Request, seconds: float) -> tuple[str | None, Any]:
        """
        Wait for a marker of these queues, which are of one slot, and run a request right after that, or after the time.

        Return the queue that woke us, or None, and the answer; None: the request was not executed.
        """
        lanes = {lane.keys["wake"]: lane for lane in map(self.lane, queues)}
        waiting = self._waiting
        blocked = Blocked(waiting, waiting.interruptions, min(seconds, SLICE), self.timeout_ms / 1000)
        woken, answer = blocked.pop_then(self._servers.link(request.slot), list(lanes), request.pack())
        return (lanes[bytes(woken[0])].name if woken else None), answer

    def interrupt(self) -> None:
        self._waiting.interrupt()

    def watch_end(self, job_id: str, queue: str) -> None:
        lane = self.lane(queue)
        self.run(lane.command(b"HINCRBY", lane.keys["waiters"], pack_id(job_id), b"1"))

    def wait_end(self, job_id: str, queue: str, timeout_ms: int) -> bool:
        lane = self.lane(queue)
        return self._block([lane], [lane.keys.done(pack_id(job_id))], timeout_ms / 1000) is not None

    def unwatch_end(self, job_id: str, queue: str) -> None:
        self.run(self.lane(queue).call("unwatch", pack_id(job_id)))

    def _block(self, lanes: Sequence[Lane], keys: Sequence[bytes], seconds: float) -> bytes | None:
        """Pop from the first of these lists (one for each lane) that has something; None: time over, or interrupted."""
        slots: dict[int, list[bytes]] = {}
        for lane, key in zip(lanes, keys, strict=True):
            # Redis outside a cluster blocks on keys of any slots at once, in a cluster on those of one.
            slots.setdefault(lane.keys.slot if self._is_cluster else 0, []).append(key)
        waiting = self._waiting
        since = waiting.interruptions
        deadline = time.monotonic() + seconds
        if len(slots) > 1:
            # What is there already is taken from one list only: of several connections that all have something to say,
            # one is listened to.
            for lane, key in zip(lanes, keys, strict=True):
                if self.run(lane.command(b"LPOP", key)) is not None:
                    return key
        while True:
            rest = max(deadline - time.monotonic(), 0.0)
            blocked = Blocked(waiting, since, min(rest, SLICE), self.timeout_ms / 1000)
            answer = blocked.pop([(self._servers.link(slot), names) for slot, names in slots.items()])
            if answer is not None:
                return bytes(answer[0])
            if waiting.interruptions != since or time.monotonic() >= deadline:
                return None


class Blocked:
    """One blocking pop, on one connection for each slot."""

    def __init__(self, waiting: Waiting, since: int, seconds: float, margin: float) -> None:
        self._waiting = waiting
        self._since = since
        # 0 would be for ever.
        self._seconds = max(seconds, 0.001)
        self._margin = margin
        self._open: dict[Wire, Link] = {}

    def pop(self, wanted: Sequence[tuple[Link, Sequence[bytes]]]) -> Any:
        """Return (key, element) of the first that has something. Raises BrokerUnavailable."""
        link = wanted[0][0]
        try:
            for link, keys in wanted:
                self._send(link, keys)
            while self._open:
                for connection in self._readable():
                    link = self._open[connection]
                    answer = connection.read_response(True)
                    self._leave(connection)
                    if answer is not None:
                        return answer
        except (RedisError, OSError) as error:
            if self._waiting.interruptions != self._since:
                return None
            link.drop()
            raise unavailable(error, link.where) from error
        finally:
            self._abandon()
        return None

    def pop_then(self, link: Link, keys: Sequence[bytes], then: bytes) -> tuple[Any, Any]:
        """Return what was popped, and the answer to what was sent behind it. Raises BrokerUnavailable."""
        answers: list[Any] = []
        try:
            self._send(link, keys, then)
            (connection,) = self._open
            answers.append(connection.read_response(True))
            try:
                answers.append(connection.read_response(True))
            except (NoScriptError, MovedError):
                answers.append(None)  # it was not executed; the caller knows how to do it again
            self._leave(connection)
        except (RedisError, OSError) as error:
            if self._waiting.interruptions != self._since:
                return None, None
            link.drop()
            raise unavailable(error, link.where) from error
        finally:
            self._abandon()
        return answers[0], answers[1]

    def _abandon(self) -> None:
        """Let go of what still blocks: it may be answered at any moment, so nothing else can be said there."""
        for connection in list(self._open):
            connection.disconnect()
            self._waiting.leave(connection)

    def _send(self, link: Link, keys: Sequence[bytes], then: bytes = b"") -> None:
        connection = link.take()
        self._open[connection] = link
        if not self._waiting.enter(connection, self._since):
            raise OSError("interrupted")
        # Redis looks at the times of blocked clients ten times a second.
        connection._sock.settimeout(self._seconds + self._margin)
        connection.fresh = True
        packed = Command(0, b"BLPOP", *keys, b"%.3f" % self._seconds).pack()
        connection.send_packed_command((packed + then,), False)

    def _readable(self) -> list[Wire]:
        if len(self._open) == 1:
            return list(self._open)  # read_response() blocks by itself
        poll = select.poll()
        by_number = {connection._sock.fileno(): connection for connection in self._open}
        for number in by_number:
            poll.register(number, select.POLLIN)
        ready = poll.poll((self._seconds + self._margin) * 1000)
        if not ready:
            raise OSError("a blocking command was not answered")
        return [by_number[number] for number, _ in ready]

    def _leave(self, connection: Wire) -> None:
        link = self._open.pop(connection)
        self._waiting.leave(connection)
        link.put_back(connection)
