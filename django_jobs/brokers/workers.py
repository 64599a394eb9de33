"""
The verbs about workers: what they say of themselves, what they are told, and who holds leases.

None of them moves a job. What a worker says is opaque to the broker, and so is what it is told.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerInfo:
    """How a consumer stands in one of its queues. Durations, not moments: the broker's clock is nobody else's."""

    id: str
    queue: str
    #: How long its lease still lasts; below 0: it has run out so long ago.
    lease_ms: int
    #: How long ago somebody first found it over; None: nobody has, or it was heard of since.
    suspected_ms: int | None = None
    #: How many jobs of this queue it holds.
    in_flight: int = 0


class WorkerVerbs(abc.ABC):
    """What a broker does for those who look after workers."""

    @abc.abstractmethod
    def report(self, worker: str, info: bytes, *, ttl_ms: int) -> list[bytes]:
        """
        Say how a worker stands, for the next ``ttl_ms`` (0: it leaves). Return the commands that wait for it, oldest
        first, each once.

        A command whose reply is lost on its way is lost: whoever gave it sees in the next report that nothing happened.
        """

    @abc.abstractmethod
    def workers(self) -> dict[str, bytes]:
        """Return what the workers said that were heard of within their time, by worker."""

    @abc.abstractmethod
    def command(self, worker: str, text: bytes) -> bool:
        """
        Leave a command for a worker, which gets it with its next report. False: it is not heard of any more.

        A command that is not fetched goes with what the worker has said, when its time is over.
        """

    @abc.abstractmethod
    def consumers(self, queues: Sequence[str]) -> list[ConsumerInfo]:
        """Say who has a lease in these queues, run out or not, by queue and id, in one round trip."""
