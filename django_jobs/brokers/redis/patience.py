"""Whether to stay awake for an answer that comes at once."""

from __future__ import annotations

import select
import time
from typing import Any

#: How often a call looks for its answer before it goes to sleep after all: about a tenth of a millisecond.
LOOKS = 300

#: Out of so many calls, this many are spent on finding out which way is faster: half of them looking, half of them not.
ROUND = 256
TRIALS = 16

#: A measured call is slow anyway when it takes longer: from then on it waits as every other does.
LONGEST_MS = 5


class Patience:
    """
    Wait for the answer of a call that takes a server on the same machine some ten microseconds.

    A processor that falls asleep and is woken again costs more than such a call itself, so that looking for the answer
    doubles the rate; but where client and server share a processor, or the answer comes from another machine, looking
    only keeps others from running. Which it is depends on the machine and changes while it runs: it is measured.
    Threads that share an instance may disturb a measurement, which costs a little time and nothing else.
    """

    __slots__ = ("_calls", "_looking", "_times")

    def __init__(self) -> None:
        self._calls = 0
        self._looking = False
        self._times: tuple[list[float], list[float]] = ([], [])

    def wait(self, wire_socket: Any) -> None:
        """Return when there is something to read, or when it is better to sleep until there is."""
        turn = self._calls = (self._calls + 1) % ROUND
        if turn >= TRIALS:
            if self._looking:
                _look(wire_socket)
            return
        if turn == 0:
            slept, looked = (sorted(times) for times in self._times)
            self._looking = bool(slept and looked) and looked[len(looked) // 2] < slept[len(slept) // 2]
            self._times = ([], [])
        looks = turn % 2 == 1
        start = time.perf_counter()
        if not (looks and _look(wire_socket)):
            _poll(wire_socket).poll(LONGEST_MS)
        self._times[looks].append(time.perf_counter() - start)


def _poll(wire_socket: Any) -> select.poll:
    poll = select.poll()
    poll.register(wire_socket, select.POLLIN)
    return poll


def _look(wire_socket: Any) -> bool:
    poll = _poll(wire_socket)
    return any(poll.poll(0) for _ in range(LOOKS))
