"""Looking for an answer instead of sleeping for it: only where that is faster, and never for long."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from django_jobs.brokers.redis import patience
from django_jobs.brokers.redis.patience import LONGEST_MS, LOOKS, ROUND, TRIALS, Patience


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how many milliseconds the kernel was asked to wait, each time that it was asked."""
    milliseconds: list[float] = []

    def poll_of(wire_socket: socket.socket) -> Any:
        real = select.poll()
        real.register(wire_socket, select.POLLIN)

        def poll(timeout: float) -> Any:
            milliseconds.append(timeout)
            return real.poll(timeout)

        return SimpleNamespace(poll=poll)

    monkeypatch.setattr(patience, "_poll", poll_of)
    return milliseconds


def test_an_answer_that_is_there_is_seen_at_once(pair: tuple[socket.socket, socket.socket], asked: list[float]):
    here, there = pair
    there.send(b"+OK\r\n")
    waiting = Patience()
    for _ in range(2 * ROUND):
        asked.clear()
        waiting.wait(here)
        assert len(asked) <= 1
    assert here.recv(100) == b"+OK\r\n"


def test_no_answer_costs_little(pair: tuple[socket.socket, socket.socket], asked: list[float]):
    waiting = Patience()
    for _ in range(2 * TRIALS):
        asked.clear()
        waiting.wait(pair[0])
        assert len(asked) <= LOOKS + 1
        assert sum(asked) <= LONGEST_MS


@pytest.mark.parametrize("looking_is_faster", [True, False])
def test_the_faster_way_is_taken(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, looking_is_faster: bool
):
    """On a machine where an answer that is looked for comes sooner, or later, than another."""
    looks: list[int] = []
    now = 0.0

    def pass_time(seconds: float) -> bool:
        nonlocal now
        now += seconds
        return True

    def look(wire_socket: socket.socket) -> bool:
        looks.append(1)
        return pass_time(0.001 if looking_is_faster else 0.003)

    monkeypatch.setattr(patience, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(patience, "_poll", lambda wire_socket: SimpleNamespace(poll=lambda _: pass_time(0.002)))
    monkeypatch.setattr(patience, "_look", look)
    waiting = Patience()
    for _ in range(ROUND):
        waiting.wait(pair[0])
    looks.clear()
    for _ in range(ROUND - 1):
        waiting.wait(pair[0])
    assert (len(looks) > ROUND // 2) is looking_is_faster
