"""A server that takes connections and never says a word."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType
from typing import Self


class SilentServer:
    """Let clients connect, and count how often they did. Nothing of what they send is read."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._clients: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    @property
    def connections(self) -> int:
        """How many connections were opened so far, whether or not they are open still."""
        self._listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._clients.append(self._listener.accept()[0])
        return len(self._clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._clients):
            one.close()
