"""A broker that notes what it is handed, and is away when a test says so."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Message
from django_jobs.envelope import Job, decode
from django_jobs.exceptions import BrokerUnavailable
from django_jobs.testing.memory import MemoryBroker


class RecordingBroker(MemoryBroker):
    """The memory broker, with a list of the batches that came in."""

    def __init__(self, location: str, **kwargs: object) -> None:
        super().__init__(location, **kwargs)  # type: ignore[arg-type]
        self.batches: list[list[str]] = []
        #: What was taken.
        self.messages: list[Message] = []
        #: Batches with one of these ids fail.
        self.refused: set[str] = set()
        self.away = False

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        ids = [message.id for message in messages]
        self.batches.append(ids)
        if self.away or not self.refused.isdisjoint(ids):
            raise BrokerUnavailable("The test has pulled the plug.")
        self.messages.extend(messages)
        return super().enqueue(messages)

    @property
    def jobs(self) -> list[Job]:
        """What was taken, decoded."""
        return [decode(message.body, job_id=message.id, queue=message.queue) for message in self.messages]


def recording() -> RecordingBroker:
    """Return the broker of the running test."""
    broker = get_broker()
    assert isinstance(broker, RecordingBroker)
    return broker
