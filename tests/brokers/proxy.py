"""A TCP proxy that does on command what networks do: lose answers, swallow, delay, cut."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Proxy:
    """
    Forward to a port of this machine. While these are set:

    ``lose_answers``: a connection is closed instead of forwarding what comes back.
    ``swallow_answers``, ``swallow_questions``: what goes in that direction disappears; connections stay open.
    ``delay``: everything is late by so many seconds, in each direction.
    ``lose_answer_to``: asked about what is sent; where it says yes that is forwarded, and the connection is closed
    instead of answering.
    ``vanish_at``: asked about what is sent; from where it says yes nothing is forwarded any more in either direction,
    and the server's side stays open whatever the client does: to the server, a machine that has lost its power.
    """

    def __init__(self, target_port: int) -> None:
        self.lose_answers = False
        self.swallow_answers = False
        self.swallow_questions = False
        self.delay = 0.0
        self.lose_answer_to: Callable[[bytes], bool] | None = None
        self.vanish_at: Callable[[bytes], bool] | None = None
        self.has_vanished = False
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._doomed: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> int:
        """Close every connection, and return how many there were."""
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        return len(sockets) // 2

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.has_vanished:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target_port))
                except OSError:  # the server is down: so are we
                    client.close()
                    continue
                self._sockets += [client, server]
                threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not answers and self.vanish_at is not None and self.vanish_at(data):
                    self.has_vanished = True
                if self.has_vanished:
                    continue
                if answers and (self.lose_answers or source in self._doomed):
                    break
                if not answers and self.lose_answer_to is not None and self.lose_answer_to(data):
                    self._doomed.add(sink)
                if self.delay:
                    time.sleep(self.delay)
                if not (self.swallow_answers if answers else self.swallow_questions):
                    sink.sendall(data)
        self._doomed.discard(source)
        if self.has_vanished:
            return
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
