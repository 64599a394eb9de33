"""What the tests of every broker share: making jobs and consumers, waiting for a condition, asking for a place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from uuid import uuid4

from django_jobs.brokers.base import BaseBroker, Claimed, Consumer, Found, Message
from django_jobs.identifiers import new_id
from django_jobs.states import Place

#: A lease that no test outlives.
LONG_MS = 600_000
HOUR_MS = 3_600_000


def message(
    body: bytes = b"body",
    *,
    queue: str = "alpha",
    priority: int = 0,
    eta_ms: int | None = None,
    job_id: str | None = None,
) -> Message:
    return Message(id=job_id or new_id(), queue=queue, body=body, priority=priority, eta_ms=eta_ms)


def messages(count: int, *, queue: str = "alpha", priority: int = 0) -> list[Message]:
    return [message(b"body %d" % number, queue=queue, priority=priority) for number in range(count)]


def consumer(broker: BaseBroker, *queues: str, lease_ms: int = LONG_MS) -> Consumer:
    """Return a registered consumer of these queues ("alpha" when none is given)."""
    made = Consumer(id=uuid4().hex, queues=queues or ("alpha",))
    broker.register(made, lease_ms=lease_ms)
    return made


def silent_consumer(broker: BaseBroker, *queues: str, jobs: int = 100) -> tuple[Consumer, list[Claimed]]:
    """Return a consumer whose lease has run out, and what it has claimed from its first queue before that."""
    made = consumer(broker, *queues)
    claimed = broker.claim(made, made.queues[0], jobs).jobs
    broker.heartbeat([made], lease_ms=1)
    until(lambda: {holder for _, holder in broker.expired(made.queues)} >= {made.id})
    return made, claimed


def claim(broker: BaseBroker, by: Consumer, limit: int = 100, queue: str | None = None) -> list[Claimed]:
    return broker.claim(by, queue or by.queues[0], limit).jobs


def ids(jobs: Iterable[Message | Claimed | Found]) -> list[str]:
    return [job.id for job in jobs]


def broker_now(broker: BaseBroker) -> int:
    """Return the broker's own clock."""
    return broker.claim(consumer(broker, "clock"), "clock", 0).now_ms


def place(broker: BaseBroker, job: Message | Claimed | str, queue: str = "alpha") -> Place | None:
    found = broker.find(job if isinstance(job, str) else job.id, queue if isinstance(job, str) else job.queue)
    return found.place if found else None


def places(broker: BaseBroker, jobs: Sequence[Message | Claimed]) -> set[Place | None]:
    return {place(broker, job) for job in jobs}


def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait for a condition; it must come true before the time is over."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
