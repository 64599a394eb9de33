"""Ids and messages as Redis keeps them: 16 raw bytes, and 19 bytes of header before a body that nobody here reads."""

from __future__ import annotations

from typing import NamedTuple

from django_jobs.brokers.base import PRIORITY_MAX, PRIORITY_MIN, Message

#: One unit of rank: more than any moment in milliseconds until the year 2527.
RANK = 1 << 44
TOP = 100
#: Version (1), score (17), flag (1).
HEADER = 19

_RANKS = {priority: b"%d" % (TOP - priority) for priority in range(PRIORITY_MIN, PRIORITY_MAX + 1)}


def pack_id(job_id: str) -> bytes:
    """Return a UUID's 16 bytes. Raises ValueError."""
    raw = bytes.fromhex(job_id.replace("-", ""))
    if len(raw) != 16:
        raise ValueError(f"A job id is a UUID, not {job_id!r}.")
    return raw


def unpack_id(raw: bytes) -> str:
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def rank_of(priority: int) -> bytes:
    """Return what orders by priority, smaller first, as an argument of a script. Raises ValueError."""
    try:
        return _RANKS[priority]
    except (KeyError, TypeError):
        raise ValueError(f"A priority is from {PRIORITY_MIN} to {PRIORITY_MAX}, not {priority!r}.") from None


def eta_of(message: Message) -> bytes:
    """Return the eta as an argument of a script. Raises ValueError."""
    eta_ms = message.eta_ms
    if eta_ms is None:
        return b""
    if not 0 <= eta_ms < RANK:
        raise ValueError(f"The eta of job {message.id} is {eta_ms!r}. Expected milliseconds since the epoch.")
    return b"%d" % eta_ms


#: How many arguments of a script a message is: id, rank, eta, body.
MESSAGE_PARTS = 4


def pack_message(message: Message) -> bytes:
    """Return a message as arguments of a script, in the protocol of Redis. Raises ValueError."""
    rank, eta, body = rank_of(message.priority), eta_of(message), message.body
    return b"$16\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        pack_id(message.id), len(rank), rank, len(eta), eta, len(body), body,
    )  # fmt: skip


class Stored(NamedTuple):
    """A message out of Redis."""

    priority: int
    moment_ms: int
    body: bytes


def unpack_message(message: bytes) -> Stored:
    """
    Take a message apart.

    One that is damaged (somebody else has written to the hash) is first in order, as ``place_of`` in Lua says, and its
    body is all of it: whoever runs it finds that it cannot be read, and records that.
    """
    place = message[1:18]
    if len(place) == 17 and place.isdigit():
        rank, moment_ms = divmod(int(place), RANK)
        if rank <= TOP - PRIORITY_MIN:
            return Stored(TOP - rank, moment_ms, message[HEADER:])
    return Stored(TOP, 0, message)
