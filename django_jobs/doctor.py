"""
What is wrong, why it matters, and how it is mended.

Each examination looks at one thing and yields findings; a finding that can be mended carries how. Looking changes
nothing. Everything raises BrokerUnavailable and StoreUnavailable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django_jobs import clock, inspection, recovery, relay
from django_jobs.beat import examination
from django_jobs.beat.examination import Trouble
from django_jobs.beat.sync import sync
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import ConsumerInfo, QueueCounts
from django_jobs.brokers.hazards import Danger, hazards_of
from django_jobs.brokers.strays import Fault
from django_jobs.conf import settings
from django_jobs.inspection import span
from django_jobs.models import OutboxJob
from django_jobs.results import get_store
from django_jobs.states import Place
from django_jobs.worker.dead_sweep import DeadSweep
from django_jobs.worker.settler import Settler
from django_jobs.workflow import mending

#: Dead jobs whose end nobody has recorded for this long: workers look every minute.
DEAD_MS = 180_000
#: ... and how many of a queue are looked at.
DEAD_LIMIT = 1000
#: Jobs of the outbox that were due so long ago: keepers hand over at least every few seconds.
OVERDUE_MS = 60_000
OVERDUE_LIMIT = 1000
#: One repair of the outbox lasts about so long.
RELAY_SECONDS = 30.0
#: What seems to be gone is looked at once more after this pause, for it may just be on its way.
DOUBT_SECONDS = 2.0
#: Jobs of a finding that are named.
NAMED = 20
#: Batches of dead jobs that are recorded by one repair.
SWEEPS = 1000

_DELETED = "Somebody has deleted keys, or Redis has: see its maxmemory-policy."
_FAULTS = {
    Fault.ORPHAN: (
        "{} held by who has no lease: nobody works on them, and nobody gives them back.",
        f"They are made ready, and run again. {_DELETED}",
    ),
    Fault.LOST: (
        "{} kept by the broker, but in no place: nobody is going to claim them.",
        f"They are made ready, and run. {_DELETED}",
    ),
    Fault.GHOST: ("{} in a place without a message.", f"Only their ids are left, which are dropped. {_DELETED}"),
}
#: What keeps moments of periodic tasks from being fired; the rest may be meant.
_STOPPED = frozenset({Trouble.OVERDUE, Trouble.UNKNOWN_TASK, Trouble.UNUSABLE, Trouble.REFUSED, Trouble.DAMAGED})
_GRAVE = frozenset({Danger.EVICTION, Danger.NO_PERSISTENCE, Danger.SHARED})


class Level(StrEnum):
    """How bad it is."""

    #: Jobs do not go on, and nobody is going to see to it.
    ERROR = "error"
    #: Somebody should know.
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    #: Names the kind, for programs.
    code: str
    level: Level
    #: What is wrong.
    text: str
    #: What it means, or what to do.
    hint: str
    #: The jobs that it is about; the first of them.
    ids: tuple[str, ...] = ()
    #: Mends it, and says what was done; None: that is up to somebody else.
    repair: Callable[[], str] | None = None


def examine() -> list[Finding]:
    """Look at everything, and return what is wrong, errors first."""
    found = [finding for look in EXAMINATIONS for finding in look()]
    return sorted(found, key=lambda finding: finding.level is not Level.ERROR)


def _stuck(*, code: str, ids: Sequence[str], text: str, hint: str, repair: Callable[[], str]) -> Iterator[Finding]:
    """Give the finding that these do not go on, and that nobody is going to see to it; there may be none."""
    if ids:
        yield Finding(code=code, level=Level.ERROR, text=text, hint=hint, ids=tuple(ids[:NAMED]), repair=repair)


def _twice(look: Callable[[Sequence[str] | None], list[str]]) -> list[str]:
    """Look, and look once more after a pause, among what was found: it may just have been on its way."""
    ids = look(None)
    if ids:
        time.sleep(DOUBT_SECONDS)
        ids = look(ids)
    return ids


# Jobs that do not go on


def _strays() -> Iterator[Finding]:
    broker = get_broker()
    found = broker.strays(broker.queues())

    def mend() -> str:
        return f"{len(broker.strays(broker.queues(), mend=True)):,} mended"

    for fault, (text, hint) in _FAULTS.items():
        ids = [stray.id for stray in found if stray.fault is fault]
        yield from _stuck(code=fault.value, ids=ids, text=text.format(_are(len(ids))), hint=hint, repair=mend)


def _are(number: int) -> str:
    return "One job is" if number == 1 else f"{number:,} jobs are"


def _dead() -> Iterator[Finding]:
    broker = get_broker()
    now_ms = broker.now_ms()
    queues = broker.queues()
    old = [
        found.id
        for queue in queues
        for found in broker.peek(queue, Place.DEAD, limit=DEAD_LIMIT)
        if now_ms - found.moment_ms > DEAD_MS
    ]
    yield from _stuck(
        code="dead",
        ids=old,
        text=f"{_are(len(old))} put aside as dead, and their end is not recorded.",
        hint="A worker records them within a minute, if one listens to the queue and knows their tasks.",
        repair=lambda: _record_dead(queues),
    )


def _record_dead(queues: Sequence[str]) -> str:
    broker, store = get_broker(), get_store()
    sweep = DeadSweep(broker, store, Settler(broker, store, worker="manage.py jobs"))
    before = left = _count_dead(queues)
    for _ in range(SWEEPS):
        sweep.hurry()
        sweep.sweep_if_due(queues)
        last, left = left, _count_dead(queues)
        if left in (0, last):
            break
    return f"{before - left:,} recorded"


def _count_dead(queues: Sequence[str]) -> int:
    return sum(counts.dead for counts in get_broker().counts(queues))


def _nowhere() -> Iterator[Finding]:
    ids = _twice(recovery.nowhere)
    yield from _stuck(
        code="nowhere",
        ids=ids,
        text=f"{_are(len(ids))} unfinished by their rows, and nobody has them: they were lost on their way.",
        hint="Those whose message was kept are sent again; the others are recorded as failed (JobLost).",
        repair=lambda: _send_lost(ids),
    )


def _send_lost(ids: Sequence[str]) -> str:
    recovered = recovery.recover(ids)
    return f"{recovered.sent:,} sent again, {recovered.failed:,} recorded as failed"


def _outbox() -> Iterator[Finding]:
    outbox = get_store().outbox
    if outbox is None:
        return
    overdue = OutboxJob.objects.using(settings.database).filter(due__lt=clock.now_ms() - OVERDUE_MS)
    ids = [str(pk) for pk in overdue.order_by("due").values_list("pk", flat=True)[:OVERDUE_LIMIT]]
    yield from _stuck(
        code="outbox",
        ids=ids,
        text=f"{_are(len(ids))} in the outbox for a minute longer than they should be.",
        hint="A worker hands them to the broker, whichever queues it serves: none is up, or the broker is away.",
        repair=lambda: f"{relay.relay_due(outbox, get_broker(), RELAY_SECONDS):,} handed to the broker",
    )


# Workflows


def _workflows() -> Iterator[Finding]:
    before_ms = clock.now_ms() - mending.YOUNG_MS
    lost = _twice(lambda among: mending.lost_steps(before_ms=before_ms, among=among))
    steps = "One step was" if len(lost) == 1 else f"{len(lost):,} steps were"
    yield from _stuck(
        code="step lost",
        ids=lost,
        text=f"{steps} lost on the way, in workflows that go on: nobody has their jobs.",
        hint="They are sent again. A worker does it within a minute or two.",
        repair=lambda: f"{mending.send_again(lost):,} sent again",
    )
    stalled = [] if lost else _twice(lambda among: mending.stalled(before_ms=before_ms, among=among))
    have = "One workflow has" if len(stalled) == 1 else f"{len(stalled):,} workflows have"
    yield from _stuck(
        code="workflow stalled",
        ids=stalled,
        text=f"{have} not finished, and no step is under way there.",
        hint="What follows from the steps that have ended is decided anew. Somebody has changed their tables.",
        repair=lambda: f"{mending.go_on(stalled):,} go on",
    )


# Queues, workers, leases


def _queues() -> Iterator[Finding]:
    workers = inspection.workers()
    for counts in inspection.queues():
        yield from _queue(counts, [worker.quiet for worker in workers if counts.queue in worker.queues])


def _queue(counts: QueueCounts, quiet: Sequence[bool]) -> Iterator[Finding]:
    queue, waiting = counts.queue, counts.ready + counts.scheduled
    wait = "One job waits" if waiting == 1 else f"{waiting:,} jobs wait"
    if counts.paused:
        yield Finding(
            code="paused",
            level=Level.WARNING,
            text=f"The queue {queue!r} is paused. {wait} there.",
            hint=f"manage.py jobs resume {queue}",
        )
    if waiting and not counts.consumers:
        yield Finding(
            code="unserved",
            level=Level.ERROR,
            text=f"{wait} in the queue {queue!r}, and no worker listens there.",
            hint=f"manage.py runworker -q {queue}; or its name is misspelt somewhere.",
        )
    elif waiting and quiet and all(quiet):
        yield Finding(
            code="quiet",
            level=Level.ERROR,
            text=f"{wait} in the queue {queue!r}, and all workers that listen there are quiet.",
            hint="A quiet worker (TSTP) claims nothing until it is started anew.",
        )


def _leases() -> Iterator[Finding]:
    late_ms = settings.worker_ms("LEASE") + 2 * settings.worker_ms("SUSPECT_TIME")
    over = [info for info in inspection.consumers() if info.lease_ms < 0]
    for info in over:
        abandoned = -info.lease_ms > late_ms
        yield Finding(
            code="abandoned" if abandoned else "silent",
            level=Level.ERROR if abandoned and info.in_flight else Level.WARNING,
            text=f"The process {info.id} has not been heard of in the queue {info.queue!r} since its lease ran out"
            f" {span(-info.lease_ms)} ago; it holds so many jobs: {info.in_flight:,}.",
            hint="Any worker that listens there gives them back; none does." if abandoned
            else "If it stays silent its jobs are given to others soon.",
            repair=_reaper(info) if abandoned else None,
        )  # fmt: skip


def _reaper(info: ConsumerInfo) -> Callable[[], str]:
    def reap() -> str:
        for _ in range(2):  # suspected, then reaped, unless it is heard of between the two
            reaped = get_broker().reap(info.queue, info.id, suspect_ms=0)
        return f"{len(reaped.moved):,} given back"

    return reap


def _service() -> Iterator[Finding]:
    for hazard in hazards_of(get_broker()):
        if hazard.danger in _GRAVE:
            yield Finding(code=hazard.danger.value, level=Level.WARNING, text=hazard.text, hint=hazard.hint)


def _periodic_tasks() -> Iterator[Finding]:
    for found in examination.examine():
        yield Finding(
            code=found.trouble.value,
            level=Level.ERROR if found.trouble in _STOPPED else Level.WARNING,
            text=found.text,
            hint=found.hint,
            repair=_sync if found.trouble is Trouble.UNSYNCED else None,
        )


def _sync() -> str:
    written = [change for change in sync() if change.writes]
    return f"{len(written):,} made to follow the code"


EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _strays,
    _dead,
    _outbox,
    _nowhere,
    _workflows,
    _queues,
    _leases,
    _periodic_tasks,
    _service,
)
