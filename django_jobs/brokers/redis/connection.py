"""
Connections to one server, the short way.

The hot path costs one ``sendall`` and one ``recv``: redis-py makes the connection (TLS, password, database, Sentinel)
and parses answers; its command layers, which cost more than Redis itself does, are left out. A connection that failed
in whatever way is closed, and those that lie idle with it; the next call opens a new one. Nothing is sent twice here.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from collections.abc import Callable, Iterable
from typing import Any

from redis import exceptions
from redis.exceptions import RedisError, ResponseError
from redis.sentinel import MasterNotFoundError

from django_jobs.brokers.redis.locations import Endpoint, Wire
from django_jobs.brokers.redis.patience import Patience
from django_jobs.exceptions import BrokerUnavailable

#: A connection that has lain idle for longer than this many seconds is looked at before it is used: servers and
#: middleboxes close those without a word.
TRUSTED_SECONDS = 1.0

#: What Redis says when it is there but refuses, and what that means to an operator. Inside a script Redis 6.2 answers
#: with a plain error that has the word somewhere in it, so words are looked for, not classes.
REFUSALS = {
    "MISCONF": "it cannot write its data to disk",
    "LOADING": "it is still loading its data",
    "READONLY": "it is a replica, or was just made one",
    "NOREPLICAS": "it has too few replicas to accept writes",
    "OOM": "its memory is full (maxmemory)",
    "CLUSTERDOWN": "its cluster is down",
    "MASTERDOWN": "its link with the master is down",
    "TRYAGAIN": "its slots are being moved to another node",
    "BUSY": "it is busy with a script",
    "NOAUTH": "it wants a password",
    "WRONGPASS": "it does not accept the user or the password",
    "NOPERM": "its user may not do that",
    "max number of clients": "it has no connection left (maxclients)",
}

#: redis-py takes the word off some errors, and keeps it elsewhere only in newer versions.
WORDS = {
    exceptions.ReadOnlyError: "READONLY",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.TryAgainError: "TRYAGAIN",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.NoPermissionError: "NOPERM",
}

#: After these the server that answered is not the one to talk to: connect anew, through Sentinel and DNS.
ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN")

_RAISED = re.compile(r" - (?:\w+:)?(\w+Error)")


def unavailable(error: Exception, where: str) -> BrokerUnavailable:
    """Return the error of the broker for one of redis-py's, in words for an operator."""
    if isinstance(error, MasterNotFoundError):
        # Its own text shows the clients that have asked, as they show themselves, each with what it has raised.
        reasons = ", ".join(dict.fromkeys(_RAISED.findall(str(error))))
        text = f"Redis at {where} cannot be reached: no Sentinel that answers names one that is up"
        return BrokerUnavailable(f"{text} (others: {reasons})." if reasons else f"{text}.")
    word = next((word for kind, word in WORDS.items() if isinstance(error, kind)), "")
    text = f"{word} {error}".strip()
    for word, meaning in REFUSALS.items():
        if word in text:
            return BrokerUnavailable(f"Redis at {where} refuses: {meaning}. It said: {text}")
    if isinstance(error, exceptions.AuthenticationError):
        return BrokerUnavailable(f"Redis at {where} refuses the user or the password. It said: {text}")
    if isinstance(error, exceptions.TimeoutError):
        return BrokerUnavailable(f"Redis at {where} does not answer in time: {text}")
    if isinstance(error, ResponseError):
        return BrokerUnavailable(f"Redis at {where} refuses. It said: {text}")
    return BrokerUnavailable(f"Redis at {where} cannot be reached: {text}")


def is_moved(error: object) -> bool:
    """Say whether a node of a cluster has answered that the slot is on another. Nothing was executed then."""
    return isinstance(error, exceptions.MovedError) or (
        isinstance(error, ResponseError) and str(error).startswith("MOVED ")
    )


def is_stale(connection: Wire) -> bool:
    """Say whether the other side has closed an idle connection, or has said what nobody asked for."""
    poll = select.poll()
    poll.register(connection._sock, select.POLLIN)
    return bool(poll.poll(0))


class Link:
    """The connections of this process to one server. Thread-safe; each call has a connection to itself."""

    def __init__(self, endpoint: Endpoint, timeout_ms: int, *, on_failure: Callable[[], None] = lambda: None) -> None:
        """``on_failure``: called when the server does not answer, or says that it is not the one to talk to."""
        self._endpoint = endpoint
        self._timeout = timeout_ms / 1000
        self._on_failure = on_failure
        self._pid = os.getpid()
        #: (connection, when it was put back); append and pop are atomic.
        self._idle: list[tuple[Wire, float]] = []
        self._patience = Patience()
        #: How many connections were opened.
        self.connects = 0
        arguments = endpoint.arguments
        self.where = str(arguments.get("path") or f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}")
        if "connection_pool" in arguments:
            self.where = f"the master of {arguments['connection_pool'].service_name!r}"

    def take(self) -> Wire:
        """Return a connection for the caller alone, connected. Raises redis-py's errors."""
        if self._pid != os.getpid():
            # The parent goes on using its sockets; ours are copies, and closing a copy says nothing to the server.
            self._pid, self._idle = os.getpid(), []
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if time.monotonic() - since < TRUSTED_SECONDS or not is_stale(connection):
                return connection
            connection.disconnect()
        start = time.monotonic()
        connection = self._endpoint.connection()
        self.connects += 1
        connection.connect()
        # What connecting took is not there for the answer; put_back() sets the full time again.
        connection._sock.settimeout(max(self._timeout - (time.monotonic() - start), 0.05))
        connection.fresh = True
        return connection

    def put_back(self, connection: Wire) -> None:
        """Make a connection, whose last answer was read to its end, free for the next call."""
        if getattr(connection, "fresh", False):
            connection.fresh = False
            connection._sock.settimeout(self._timeout)
        self._idle.append((connection, time.monotonic()))

    def drop(self, connection: Wire | None = None) -> None:
        """Close a connection that failed, and the idle ones: most likely they are as dead as it is."""
        if connection is not None:
            connection.disconnect()
        self.close()
        self._on_failure()

    def close(self) -> None:
        """Close the idle connections. The next call opens a new one."""
        idle, self._idle = self._idle, []
        if self._pid == os.getpid():
            for connection, _ in idle:
                with contextlib.suppress(OSError, RedisError):
                    connection.disconnect()

    def call(self, packed: bytes, *, quick: bool = False) -> Any:
        """
        Send one command and return its answer. Raises ResponseError as it came, and BrokerUnavailable.

        ``quick``: the server needs next to no time for it.
        """
        connection = None
        try:
            connection = self.take()
            connection.send_packed_command((packed,), False)
            if quick:
                self._patience.wait(connection._sock)
            answer = connection.read_response(True)
        except ResponseError:
            self._keep_after_refusal(connection)
            raise
        except (RedisError, OSError) as error:
            self.drop(connection)
            raise unavailable(error, self.where) from error
        except BaseException:  # a KeyboardInterrupt between question and answer
            self.drop(connection)
            raise
        self.put_back(connection)
        return answer

    def exchange(self, packed: Iterable[bytes], count: int) -> list[Any]:
        """Send ``count`` commands in one round trip; return their answers, a refusal as an error in its place."""
        connection, answers = None, []
        try:
            connection = self.take()
            connection.send_packed_command(packed, False)
            for _ in range(count):
                try:
                    answers.append(connection.read_response(True))
                except ResponseError as error:
                    answers.append(error)
        except (RedisError, OSError) as error:
            self.drop(connection)
            raise unavailable(error, self.where) from error
        except BaseException:
            self.drop(connection)
            raise
        self.put_back(connection)
        return answers

    def _keep_after_refusal(self, connection: Wire | None) -> None:
        if connection is None or connection._sock is None:
            self.drop(connection)
        else:
            self.put_back(connection)

    def refused(self, error: Exception) -> BrokerUnavailable:
        """Return the broker's error for a refusal, having left a server that is not the one to talk to."""
        reason = unavailable(error, self.where)
        if any(word in str(reason) for word in ELSEWHERE):
            self.drop()
        return reason
