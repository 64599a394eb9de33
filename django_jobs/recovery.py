"""
Jobs that are unfinished by their rows and that nobody has: found, and sent again.

A broker without an outbox may lose a job between the commit of its row and its sending (an operator's retry whose
process died just then), or with its own data. The row is what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from django_jobs import clock, workflow
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Message
from django_jobs.conf import settings
from django_jobs.envelope import decode
from django_jobs.exceptions import DecodeError, JobLost
from django_jobs.execution import error_of
from django_jobs.models import JobResult
from django_jobs.results import get_store
from django_jobs.results.base import Record
from django_jobs.results.sql import BATCH, batches
from django_jobs.states import TERMINAL_STATES, State

#: Rows of a state that are looked at, oldest first.
LOOKED_AT = 10_000

_UNFINISHED = (State.PENDING.value, State.STARTED.value, State.RETRY.value, State.SCHEDULED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What became of jobs that nobody had."""

    #: Sent again.
    sent: int = 0
    #: Recorded as FAILURE ``JobLost``: their message was not kept.
    failed: int = 0


def nowhere(among: Sequence[str] | None = None) -> list[str]:
    """
    Name the jobs whose rows say that they are unfinished, and that neither broker nor outbox knows; among these ids, or
    the LOOKED_AT oldest of each state.

    Some may just be on their way, so look twice. Raises BrokerUnavailable, StoreUnavailable.
    """
    parts = _oldest() if among is None else batches(among, BATCH)
    return [record.id for ids in parts for record in _lost(ids)]


def recover(ids: Sequence[str]) -> Recovered:
    """
    Send these jobs again if nobody has them; those without a message are recorded as failed.

    Safe to repeat: a job that the broker knows by then stays as it is. Raises BrokerUnavailable, StoreUnavailable.
    """
    broker, store = get_broker(), get_store()
    sent = failed = 0
    for some in batches(ids, BATCH):
        lost = _lost(some)
        messages = [message for record in lost if (message := _message(record)) is not None]
        ends = [_end(record) for record in lost if record.message is None]
        sent += sum(broker.enqueue(messages)) if messages else 0
        if ends:
            with store.transaction():
                failed += len(ends) - len(workflow.record(store, ends).stayed)
    return Recovered(sent=sent, failed=failed)


def _oldest() -> Iterator[list[str]]:
    for state in _UNFINISHED:
        last: UUID | None = None
        for _ in range(0, LOOKED_AT, BATCH):
            rows = JobResult.objects.using(settings.database).filter(state=state).order_by("pk")
            page = list((rows if last is None else rows.filter(pk__gt=last)).values_list("pk", flat=True)[:BATCH])
            if not page:
                break
            yield [str(pk) for pk in page]
            last = page[-1]


def _lost(ids: Sequence[str]) -> list[Record]:
    """Return the rows of those that are unfinished, and known to nobody. The row is read again last: it may end."""
    broker, store = get_broker(), get_store()
    unknown = [record.id for record in _unfinished(ids) if broker.find(record.id, record.queue) is None]
    if unknown and store.outbox is not None:
        kept = store.outbox.get_many(unknown)
        unknown = [job_id for job_id in unknown if job_id not in kept]
    return list(_unfinished(unknown)) if unknown else []


def _unfinished(ids: Iterable[str]) -> Iterator[Record]:
    rows = get_store().get_many(list(ids))
    return (row.record for row in rows.values() if row.record.state not in TERMINAL_STATES)


def _message(record: Record) -> Message | None:
    if record.message is None:
        return None
    body = record.message.encode("ascii")
    with suppress(DecodeError):  # sent as it is: its end will say what is wrong with it
        job = decode(body, job_id=record.id, queue=record.queue)
        if job.outbox:  # it has no row there any more: marked, it would be taken for one that has ended
            body = job.evolve(outbox=False).encode()
    return Message(record.id, record.queue, body, record.priority, record.eta_ms)


def _end(record: Record) -> Record:
    error = error_of(JobLost())
    return record._replace(
        state=State.FAILURE.value,
        exception_type=error.type,
        exception=error.text,
        traceback="",
        finished_ms=clock.now_ms(),
        history="",
    )
