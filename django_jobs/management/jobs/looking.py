"""inspect, active, queues: how things stand."""

from __future__ import annotations

from typing import Any

from django_jobs import clock, inspection
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import BaseBroker, QueueCounts
from django_jobs.brokers.continuity import identity_of
from django_jobs.exceptions import StoreUnavailable
from django_jobs.inspection import ActiveJob, Explanation, Worker, span
from django_jobs.management.jobs import workflows
from django_jobs.management.jobs.choosing import ids_of
from django_jobs.management.jobs.screen import Screen, count
from django_jobs.results import get_store
from django_jobs.results.base import Remembered
from django_jobs.states import State

QUEUE_HEADS = ("queue", "ready", "scheduled", "in flight", "dead", "oldest", "processes", "")
ACTIVE_HEADS = ("job", "task", "queue", "process", "running for")


def inspect(screen: Screen, options: dict[str, Any]) -> int:
    """Say how jobs stand, or everything."""
    if options["ids"]:
        return explain(screen, options)
    broker = get_broker()
    workers, queues = inspection.workers(), inspection.queues()
    continuity, known = broker.continuity(), _remembered(broker)
    if screen.as_json:
        screen.document(
            {
                "broker": broker.describe(),
                "continuity": continuity,
                "continuity_lost": known.changes,
                "continuity_lost_ms": known.changed_ms or None,
                "workers": workers,
                "queues": queues,
            }
        )
        return 0
    screen.say(f"broker  {broker.describe()}")
    if continuity:
        changed = f"  (changed {count(known.changes, 'time', 'times')}, last at {inspection.moment(known.changed_ms)})"
        screen.say(f"epoch   {continuity[:12]}{changed if known.changes else ''}")
    screen.say()
    _show_workers(screen, workers)
    screen.say()
    _show_queues(screen, queues)
    return 0


def _remembered(broker: BaseBroker) -> Remembered:
    """Return what is remembered of the broker; nothing when the database is away, which is no reason to see nothing."""
    try:
        return get_store().remembered_broker(identity_of(broker))
    except StoreUnavailable:
        return Remembered()


def _show_workers(screen: Screen, workers: list[Worker]) -> None:
    if not workers:
        screen.say("No worker is heard of.")
    for worker in workers:
        quiet = ", quiet" if worker.quiet else ""
        screen.say(f"worker {worker.name}  ({worker.pool}, pid {worker.pid} on {worker.host}{quiet})")
        screen.say(f"  up      {span(clock.now_ms() - worker.started_ms)}, version {worker.version}")
        screen.say(f"  queues  {', '.join(worker.queues)}")
        now_ms = clock.now_ms()
        rows = [
            (
                child.number,
                str(child.pid),
                span(now_ms - child.started_ms),
                "; ".join(f"{job.id} for {span(now_ms - job.since_ms)}" for job in child.running) or "-",
            )
            for child in worker.children
        ]
        screen.table(("process", "pid", "up", "runs"), rows, indent="  ")


def _show_queues(screen: Screen, queues: list[QueueCounts]) -> None:
    rows = [
        (
            counts.queue,
            counts.ready,
            counts.scheduled,
            counts.in_flight,
            counts.dead,
            "-" if counts.oldest_ready_ms is None else span(counts.oldest_ready_ms),
            counts.consumers,
            _remark(counts),
        )
        for counts in queues
    ]
    screen.table(QUEUE_HEADS, rows)


def _remark(counts: QueueCounts) -> str:
    if counts.paused:
        return "paused"
    return "nobody listens" if not counts.consumers and (counts.ready or counts.scheduled) else ""


def queues(screen: Screen, options: dict[str, Any]) -> int:
    """Count the jobs of each queue."""
    found = inspection.queues()
    if screen.as_json:
        screen.document(found)
    else:
        _show_queues(screen, found)
    return 0


def active(screen: Screen, options: dict[str, Any]) -> int:
    """List what is in flight."""
    found = inspection.active()
    if screen.as_json:
        screen.document(found)
    elif not found:
        screen.say("Nothing is in flight.")
    else:
        screen.table(ACTIVE_HEADS, [_active_row(job) for job in found])
    return 0


def _active_row(job: ActiveJob) -> tuple[str, ...]:
    since = "has not begun" if job.since_ms is None else span(clock.now_ms() - job.since_ms)
    return job.id, job.task or "(not readable)", job.queue, job.worker or f"? {job.consumer}", since


def explain(screen: Screen, options: dict[str, Any]) -> int:
    """Say how jobs and workflows stand, and why. 1: one of them is not known."""
    ids = ids_of(options)
    known = workflows.among(ids)
    found = [known.get(one) or inspection.explain(one) for one in ids]
    if screen.as_json:
        screen.document([one if isinstance(one, Explanation) else workflows.document(one) for one in found])
    else:
        for one in found:
            if isinstance(one, Explanation):
                _show_explanation(screen, one)
            else:
                workflows.show(screen, one)
    return int(any(one.state == State.UNKNOWN for one in found))


def _show_explanation(screen: Screen, explanation: Explanation) -> None:
    task = f" {explanation.task}" if explanation.task else ""
    screen.say(f"{explanation.id}{task}: {explanation.state}")
    for reason in explanation.reasons:
        screen.say(f"  {reason}")
