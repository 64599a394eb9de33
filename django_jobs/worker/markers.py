"""
What runs where, in memory that outlives the process it is about.

Each child has a block of anonymous shared memory, made before the fork: 32 bytes a slot, the id of the job that runs
there (or zeros), since when, and until when it may. When a child dies its parent reads from it which jobs were running;
only those are charged with the crash. And it reads there whose time is over, however deaf the child itself may be.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple
from uuid import UUID

_ID_SIZE = 16
_TIMES = struct.Struct("=dd")
_SIZE = _ID_SIZE + _TIMES.size
_EMPTY = bytes(_ID_SIZE)


class Running(NamedTuple):
    """A job that runs in a slot."""

    id: str
    #: Milliseconds since the epoch, the worker's clock.
    started_ms: int
    #: Monotonic seconds, which all processes of a machine share; 0.0: it has no limit.
    deadline: float


class RunningMarkers:
    """The jobs that run in one process."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        #: The slots, and the id that has left one last.
        self._memory = mmap.mmap(-1, slots * _SIZE + _ID_SIZE)
        self._free = list(range(slots))

    def start(self, job_id: str, started_ms: int) -> int:
        """
        Say that a job starts; return the slot to end it with. Called by the child. list.pop is atomic, so threads may.
        """
        slot = self._free.pop()
        start = slot * _SIZE
        # The id last: who reads it finds the times that belong to it.
        self._memory[start + _ID_SIZE : start + _SIZE] = _TIMES.pack(started_ms, 0.0)
        self._memory[start : start + _ID_SIZE] = bytes.fromhex(job_id.replace("-", ""))
        return slot

    def limit(self, slot: int, deadline: float) -> None:
        """Say until when the job of a slot may run (monotonic seconds)."""
        start = slot * _SIZE + _ID_SIZE + 8
        self._memory[start : start + 8] = struct.pack("=d", deadline)

    def end(self, slot: int) -> None:
        """Say that the job of a slot has ended."""
        start = slot * _SIZE
        self._memory[-_ID_SIZE:] = self._memory[start : start + _ID_SIZE]
        self._memory[start : start + _ID_SIZE] = _EMPTY
        self._free.append(slot)

    def read(self) -> list[Running]:
        """Return what runs, or ran when the process died."""
        memory = self._memory[:]
        found = []
        for start in range(0, self._slots * _SIZE, _SIZE):
            raw = memory[start : start + _ID_SIZE]
            if raw != _EMPTY:
                started_ms, deadline = _TIMES.unpack_from(memory, start + _ID_SIZE)
                found.append(Running(str(UUID(bytes=raw)), int(started_ms), deadline))
        return found

    def running(self) -> list[str]:
        """Return the ids of what runs, or ran when the process died."""
        return [running.id for running in self.read()]

    def last(self) -> str | None:
        """Return the id of the job that ended last; None: none has."""
        raw = self._memory[-_ID_SIZE:]
        return None if raw == _EMPTY else str(UUID(bytes=raw))

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
