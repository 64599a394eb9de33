"""The shared record of job starts: every job appends its number and the time it ran.

A stamp is 16 bytes, appended by one ``write`` to a file in memory. O_APPEND makes that atomic between
threads and processes, so jobs of every contender are counted the same way and at the same small cost
(one system call), and no job can be counted twice or overlooked. CLOCK_MONOTONIC is the same clock in
every process of the machine, so stamps compare with times taken by the process that enqueued.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

_RECORD = struct.Struct("=qq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    index: int
    at_ns: int


class StampWriter:
    """Append stamps; safe in threads and after a fork."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, index: int) -> None:
        os.write(self._file, _RECORD.pack(index, time.monotonic_ns()))


class StampReader:
    """Count and read the stamps of one sample."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def clear(self) -> None:
        self._path.write_bytes(b"")

    def count(self) -> int:
        return self._path.stat().st_size // _RECORD.size

    def read(self) -> list[Stamp]:
        """Return all stamps, earliest first."""
        stamps = [Stamp(index=index, at_ns=at_ns) for index, at_ns in _RECORD.iter_unpack(self._path.read_bytes())]
        return sorted(stamps, key=lambda stamp: stamp.at_ns)
