"""
The Lua scripts: found by name, called by the keys that their header declares.

A header is the signature. ``KEYS[n]  name`` says which key of the queue stands at that place, so the order is written
once, in the script; ``--- @include "name"`` puts a function of ``lua/include`` there. Scripts are called by their hash;
a server that does not know one (restarted, SCRIPT FLUSH) is sent the whole text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from django_jobs.brokers.redis.keys import CommonKeys, QueueKeys

FOLDER = Path(__file__).parent / "lua"

_INCLUDE = re.compile(r'^--- @include "(\w+)"$', re.MULTILINE)
_KEY = re.compile(r"^  KEYS\[\d+\]\s+(\w+)", re.MULTILINE)


class Script:
    """One script: its text with the includes in their places, its hash, and the names of its keys."""

    __slots__ = ("keys", "name", "sha", "text")

    def __init__(self, name: str) -> None:
        text = (FOLDER / f"{name}.lua").read_text()
        header, _, _ = text.partition("]]")
        self.name = name
        self.keys = tuple(_KEY.findall(header))
        self.text = _INCLUDE.sub(lambda found: (FOLDER / "include" / f"{found[1]}.lua").read_text(), text).encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


@cache
def script(name: str) -> Script:
    """Return a script by its verb, read once."""
    return Script(name)


def bulk(value: bytes) -> bytes:
    """Return one argument in the protocol of Redis."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


class Bound:
    """A script with its keys: all that does not change from call to call is packed once."""

    __slots__ = ("_by_hash", "_by_text", "_fixed", "slot")

    def __init__(self, called: Script, keys: QueueKeys | CommonKeys, inflight: bytes = b"") -> None:
        """``inflight``: the key of what the consumer holds whom the call is about."""
        names = [inflight if name == "inflight" else keys[name] for name in called.keys]
        packed_keys = bulk(b"%d" % len(names)) + b"".join(map(bulk, names))
        self._fixed = 3 + len(names)
        self._by_hash = bulk(b"EVALSHA") + bulk(called.sha) + packed_keys
        self._by_text = bulk(b"EVAL") + bulk(called.text) + packed_keys
        self.slot = keys.slot

    def pack(self, arguments: Sequence[bytes], *, whole: bool = False) -> bytes:
        """Return the bytes of one call; ``whole``: with the text of the script."""
        packed = [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
        return self.head(len(arguments), whole=whole) + b"".join(packed)

    def head(self, count: int, *, whole: bool = False) -> bytes:
        """Return the bytes of a call up to its ``count`` arguments."""
        return b"*%d\r\n%b" % (self._fixed + count, self._by_text if whole else self._by_hash)


class Call:
    """One call of a script that is to be sent."""

    __slots__ = ("arguments", "bound", "slot")

    def __init__(self, bound: Bound, arguments: Sequence[bytes] = ()) -> None:
        self.bound = bound
        self.arguments = arguments
        self.slot = bound.slot

    def pack(self, *, whole: bool = False) -> bytes:
        return self.bound.pack(self.arguments, whole=whole)


class PackedCall:
    """One call of a script whose arguments are packed already."""

    __slots__ = ("bound", "count", "packed", "slot")

    def __init__(self, bound: Bound, count: int, packed: bytes) -> None:
        """``count``: how many arguments are in ``packed``."""
        self.bound = bound
        self.count = count
        self.packed = packed
        self.slot = bound.slot

    def pack(self, *, whole: bool = False) -> bytes:
        return self.bound.head(self.count, whole=whole) + self.packed


class Command:
    """One plain command that is to be sent."""

    __slots__ = ("parts", "slot")

    def __init__(self, slot: int, *parts: bytes) -> None:
        self.slot = slot
        self.parts = parts

    def pack(self, *, whole: bool = False) -> bytes:
        return b"*%d\r\n" % len(self.parts) + b"".join(map(bulk, self.parts))


Request = Call | PackedCall | Command
