"""
Job ids: UUIDs in the shape of version 7 (RFC 9562), so that ids sort by the moment they were made.

Own, because the standard library has none before Python 3.14. The 12 bits after the version hold the fraction of the
millisecond (method 3 of section 6.2), made strictly rising within a process, so jobs of one sender keep their order.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last = 0
# The variant takes the two upper bits of the ninth byte: 8, 9, a or b.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_id() -> str:
    """Return a new id, larger than every earlier one of this process."""
    return _shape(f"{_reserve(1):015x}", os.urandom(8).hex())


def new_ids(count: int) -> list[str]:
    """Return new ids, rising, each larger than every earlier one of this process."""
    first = _reserve(count)
    tails = os.urandom(8 * count).hex()
    return [_shape(f"{first + i:015x}", tails[16 * i : 16 * i + 16]) for i in range(count)]


def derived_id(moment_ms: int, *parts: str) -> str:
    """Return the id that these parts always give: the time of a moment, the rest from SHA-256."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return _shape(f"{moment_ms:012x}{digest[:3]}", digest[3:19])


def moment_of(record_id: str) -> int:
    """Return the moment in an id of ours, in ms since the epoch."""
    return int(record_id[:8] + record_id[9:13], 16)


def _reserve(count: int) -> int:
    """Return the first of ``count`` stamps that nobody else has. 60 bits: milliseconds << 12 | 1/4096ths of one."""
    global _last
    with _lock:
        milliseconds, rest = divmod(time.time_ns(), 1_000_000)
        first = max(milliseconds << 12 | rest * 4096 // 1_000_000, _last + 1)
        _last = first + count - 1
    return first


def _shape(stamp: str, tail: str) -> str:
    return f"{stamp[:8]}-{stamp[8:12]}-7{stamp[12:]}-{_VARIANT[tail[0]]}{tail[1:4]}-{tail[4:]}"


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent's may have held it at the fork, and is not here


os.register_at_fork(after_in_child=_renew_lock)


def parse_id(value: object) -> str:
    """Return the canonical form of an id given by somebody. Raises ValueError naming what was expected."""
    try:
        return str(value if isinstance(value, UUID) else UUID(str(value)))
    except ValueError:
        raise ValueError(f"A job id is a UUID, not {value!r}.") from None
