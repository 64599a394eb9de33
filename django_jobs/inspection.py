"""
How workers, queues and jobs stand: read, and put into words. Nothing here changes anything.

For the command line, the admin and whoever watches. Everything raises BrokerUnavailable, and StoreUnavailable where a
result is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from django_jobs import clock
from django_jobs.async_result.look import Look, look
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import ConsumerInfo, Found, QueueCounts
from django_jobs.brokers.known import known_queues
from django_jobs.envelope import Job, decode
from django_jobs.exceptions import DecodeError
from django_jobs.identifiers import parse_id
from django_jobs.results import get_store
from django_jobs.states import Place, State
from django_jobs.workflow.standing import never_ran

#: Jobs in flight of one queue that are looked at.
IN_FLIGHT_LIMIT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job that a process says it runs."""

    id: str
    #: By the worker's clock.
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process of a worker that runs jobs."""

    number: int
    pid: int
    consumer: str
    started_ms: int = 0
    running: tuple[RunningJob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker, as it described itself with its last heartbeat."""

    #: What it is reached by.
    key: str
    name: str
    host: str = ""
    pid: int = 0
    started_ms: int = 0
    pool: str = ""
    #: The queues it serves.
    queues: tuple[str, ...] = ()
    concurrency: int = 0
    threads: int = 0
    version: str = ""
    #: Claims it nothing any more?
    quiet: bool = False
    children: tuple[Child, ...] = ()

    @property
    def running(self) -> int:
        """How many jobs it runs."""
        return sum(len(child.running) for child in self.children)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveJob:
    """A job that a consumer holds."""

    id: str
    #: "": its message cannot be read.
    task: str
    queue: str
    #: The worker and the number of its process; "": nobody who is heard of.
    worker: str
    consumer: str
    #: When it began to run, by the worker's clock; None: it has been claimed, and has not begun.
    since_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a job stands, and why."""

    id: str
    state: str
    task: str = ""
    queue: str = ""
    #: Sentences, the most important first.
    reasons: tuple[str, ...] = ()


def workers() -> list[Worker]:
    """Return the workers that are heard of, by name."""
    found = [_worker(key, info) for key, info in get_broker().workers().items()]
    return sorted(found, key=lambda worker: (worker.name, worker.key))


def _worker(key: str, info: bytes) -> Worker:
    """Read what a worker said. Another version may say more, or less."""
    said = _mapping(info)
    plain = {
        name: said[name]
        for name in ("host", "pid", "started_ms", "pool", "concurrency", "threads", "version", "quiet")
        if name in said
    }
    return Worker(
        key=key,
        name=str(said.get("name", key)),
        queues=tuple(said.get("queues", ())),
        children=tuple(_child(child) for child in said.get("children", ())),
        **plain,
    )


def _mapping(info: bytes) -> dict[str, Any]:
    try:
        said = json.loads(info)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _child(said: Mapping[str, Any]) -> Child:
    return Child(
        number=said.get("number", 0),
        pid=said.get("pid", 0),
        consumer=said.get("consumer", ""),
        started_ms=said.get("started_ms", 0),
        running=tuple(RunningJob(id=job["id"], since_ms=job["since_ms"]) for job in said.get("running", ())),
    )


def queues() -> list[QueueCounts]:
    """Count what is where in every queue, and who listens."""
    broker = get_broker()
    return broker.counts(known_queues(broker))


def consumers() -> list[ConsumerInfo]:
    """Return who has a lease, run out or not."""
    broker = get_broker()
    return broker.consumers(broker.queues())


def active() -> list[ActiveJob]:
    """Return what is in flight, by queue; at most IN_FLIGHT_LIMIT of each."""
    broker = get_broker()
    holders = _holders(workers())
    return [
        _active_job(found, holders)
        for queue in broker.queues()
        for found in broker.peek(queue, Place.IN_FLIGHT, limit=IN_FLIGHT_LIMIT)
    ]


#: By consumer: the name of the process, and since when it runs what.
Holders = Mapping[str, tuple[str, Mapping[str, int]]]


def _holders(found: list[Worker]) -> Holders:
    return {
        child.consumer: (f"{worker.name}/{child.number}", {job.id: job.since_ms for job in child.running})
        for worker in found
        for child in worker.children
    }


def _active_job(found: Found, holders: Holders) -> ActiveJob:
    process, running = holders.get(found.consumer or "", ("", {}))
    return ActiveJob(
        id=found.id,
        task=task_of(found),
        queue=found.queue,
        worker=process,
        consumer=found.consumer or "",
        since_ms=running.get(found.id),
    )


def job_of(found: Found) -> Job | None:
    """Read the message of a job; None: it cannot be read."""
    try:
        return decode(found.body, job_id=found.id, queue=found.queue)
    except DecodeError:
        return None


def task_of(found: Found) -> str:
    """Return the name of a job's task; "": its message cannot be read."""
    job = job_of(found)
    return "" if job is None else job.task


# Why


def explain(job_id: str, queue: str | None = None) -> Explanation:
    """Say how a job stands, and why it does not go on. Raises ValueError when that is no id."""
    job_id = parse_id(job_id)
    seen = look(job_id, queue)
    record = None if seen.stored is None else seen.stored.record
    task, in_queue = ("", "") if record is None else (record.task, record.queue)
    if seen.found is not None:
        task, in_queue = task_of(seen.found) or task, seen.found.queue
    return Explanation(id=job_id, state=seen.state, task=task, queue=in_queue, reasons=tuple(_reasons(job_id, seen)))


def _reasons(job_id: str, seen: Look) -> Iterator[str]:
    if seen.is_recorded:
        yield from _how_it_ended(seen)
    elif seen.found is None:
        yield from _why_nowhere(job_id, seen)
    elif seen.in_outbox:
        yield "It is in the outbox alone: the broker has not got it yet, or has lost it, and is given it again."
        yield from _why_unserved(seen.found.queue)
    elif seen.found.place is Place.READY:
        yield from _why_ready(seen.found)
    elif seen.found.place is Place.SCHEDULED:
        yield from _why_scheduled(seen, seen.found)
    elif seen.found.place is Place.IN_FLIGHT:
        yield from _why_in_flight(seen.found)
    else:
        reason = seen.found.reason or "for no reason that is known"
        yield f"It has ended ({reason}), and a worker is about to record that."


def _how_it_ended(seen: Look) -> Iterator[str]:
    assert seen.stored is not None
    record = seen.stored.record
    when = "" if record.finished_ms is None else f" at {moment(record.finished_ms)}"
    where = f" on {record.worker}" if record.worker else ""
    yield f"It has ended{when}{where}."
    if record.exception_type:
        yield f"{record.exception_type}: {record.exception}".rstrip(": ")
    if never_ran([record.id]):
        yield f"manage.py jobs retry {record.workflow_id} has it wait again, and its workflow go on."


def _why_blocked(job_id: str, seen: Look) -> Iterator[str]:
    """Say what a step of a workflow, or a group, waits for."""
    workflows = get_store().workflows
    if workflows is None:
        return
    for kept in workflows.barriers([*workflows.before(job_id), *([job_id] if seen.is_group else [])]).values():
        of = f"{kept.reported:,} of {kept.barrier.size:,} members"
        yield f"{of} of the group {kept.barrier.id} have ended, {kept.failed:,} of them not well."
    for step in workflows.steps(workflows.before(job_id)).values():
        yield f"It follows {step.task}[{step.id}]."
    workflow_id = next((step.workflow_id for step in workflows.steps([job_id]).values()), None)
    if workflow_id is not None:
        yield f"It is a step of the workflow {workflow_id}."


def _why_nowhere(job_id: str, seen: Look) -> Iterator[str]:
    if seen.is_blocked:
        yield from _why_blocked(job_id, seen)
        return
    if seen.stored is None:
        yield "Nobody knows it: it was never sent, was rolled back, or its result has been pruned."
        return
    yield f"Its row says {seen.state}, and the broker does not know it: it was lost on its way."
    yield "manage.py jobs doctor --fix sends it again."


def _why_ready(found: Found) -> Iterator[str]:
    broker = get_broker()
    (counts,) = broker.counts([found.queue])
    ahead = broker.ahead(found)
    yield from _why_unserved(found.queue)
    if counts.consumers and not counts.paused:
        yield from _why_not_taken(found.queue, counts)
    yield f"{ahead:,} jobs are before it in the queue." if ahead != 1 else "One job is before it in the queue."
    yield f"It is in the queue {found.queue!r} since {moment(found.moment_ms)}."


def _why_not_taken(queue: str, counts: QueueCounts) -> Iterator[str]:
    listening = [worker for worker in workers() if queue in worker.queues]
    if listening and all(worker.quiet for worker in listening):
        names = ", ".join(worker.name for worker in listening)
        yield f"All workers that listen to {queue!r} are quiet, and claim nothing any more: {names}."
    processes = "One process listens" if counts.consumers == 1 else f"{counts.consumers} processes listen"
    yield f"{processes} to the queue {queue!r}, and {counts.in_flight:,} of its jobs are being worked on."


def _why_scheduled(seen: Look, found: Found) -> Iterator[str]:
    if seen.state == State.RETRY and seen.stored is not None:
        yield f"It has failed ({seen.stored.record.exception_type}), and runs again at {moment(found.moment_ms)}."
    else:
        yield f"It is scheduled for {moment(found.moment_ms)}."
    yield from _why_unserved(found.queue)


def _why_unserved(queue: str) -> Iterator[str]:
    (counts,) = get_broker().counts([queue])
    if counts.paused:
        yield f"The queue {queue!r} is paused: manage.py jobs resume {queue}"
    if not counts.consumers:
        yield f"No worker listens to the queue {queue!r}: manage.py runworker -q {queue}"


def _why_in_flight(found: Found) -> Iterator[str]:
    leases = {info.id: info for info in get_broker().consumers([found.queue])}
    lease = leases.get(found.consumer or "")
    job = _active_job(found, _holders(workers()))
    if lease is None:
        yield "Whoever held it has no lease: nobody works on it. manage.py jobs doctor --fix gives it back."
    elif lease.lease_ms < 0:
        yield f"Its worker has been silent since {span(-lease.lease_ms)}: it is given to another one soon."
    if job.since_ms is not None:
        yield f"It has been running for {span(clock.now_ms() - job.since_ms)} on {job.worker}."
    elif job.worker:
        yield f"It was claimed by {job.worker}, and has not begun."
    elif lease is not None:
        yield f"The process {found.consumer} holds it."


def moment(moment_ms: int) -> str:
    """Write a moment for people, in the current time zone."""
    return timezone.localtime(clock.from_ms(moment_ms)).strftime("%Y-%m-%d %H:%M:%S %Z")


def span(duration_ms: int) -> str:
    """Write a duration for people: "340 ms", "12 s", "5 min", "3 h", "2 d"."""
    if duration_ms < 1000:
        return f"{max(duration_ms, 0)} ms"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if duration_ms >= 2 * size:
            return f"{duration_ms // size} {unit}"
    return f"{duration_ms // 1000} s"
