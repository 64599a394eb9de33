"""
What supervisor and keeper tell each other: lines of JSON over a pair of sockets, or a queue when they share a process.

The supervisor says who starts ("lives", consumer), and to a new keeper who was there before it, who has died ("died",
consumer, ids that were running), how the worker stands ("status"), and when it is over ("stop"). The keeper
answers "reaped" (consumer) when the dead one's jobs are back in their queues, and says which jobs somebody has revoked
("revoked"). What has not been answered is said again to the next keeper.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from typing import Any

#: What is kept for an end that does not read.
UNSENT_BYTES = 8 * 1024 * 1024


class Channel:
    """One end of a connection that carries small JSON messages."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._received = b""
        self._unsent = b""
        self._lock = threading.Lock()

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return two connected ends."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def fileno(self) -> int:
        """Return the file descriptor, for select()."""
        return self._socket.fileno()

    def send(self, **message: Any) -> bool:
        """
        Send a message, or keep what the other end has no room for until the next. False: it is gone, or has not read
        for so long that the message is dropped; a message is never cut.
        """
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            if self._unsent and len(self._unsent) + len(data) > UNSENT_BYTES:
                return False
            self._unsent += data
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                pass
            except OSError:
                return False
            return True

    def receive(self, timeout: float = 0.0) -> list[dict[str, Any]]:
        """
        Return the messages that have come, waiting up to ``timeout`` seconds for the first. Raises EOFError when the
        other end is gone.
        """
        readable, _, _ = select.select([self._socket], [], [], timeout)
        if not readable:
            return []
        data = self._socket.recv(1 << 20)
        if not data:
            raise EOFError
        lines = (self._received + data).split(b"\n")
        self._received = lines.pop()
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
