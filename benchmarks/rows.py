"""Everything that a run measures, as one list: a row is a measurement and who takes part in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measurements.base import Measurement
from benchmarks.measurements.drain import Drain, InputOutput
from benchmarks.measurements.enqueue import EnqueueMany, EnqueueOneByOne
from benchmarks.measurements.idle import Idle
from benchmarks.measurements.latency import Latency, RoundTrip
from benchmarks.measurements.scheduled import Scheduled
from benchmarks.scenario import Results, Variant

IO_SLOTS = 50

OURS = Variant(contender="django_jobs", label="django_jobs")
OURS_RECORDED = Variant(contender="django_jobs", label="django_jobs, results in PostgreSQL", results="postgresql")
OURS_DATABASE = Variant(contender="django_jobs", label="django_jobs", broker="database")
CELERY = Variant(contender="celery", label="Celery prefork")
HUEY = Variant(contender="huey", label="Huey")
DRAMATIQ = Variant(contender="dramatiq", label="Dramatiq")
PROCRASTINATE = Variant(contender="procrastinate", label="Procrastinate", broker="database")

OURS_THREADS = Variant(contender="django_jobs", label="django_jobs, threads", pool="threads", slots=IO_SLOTS)
OURS_ASYNCIO = Variant(contender="django_jobs", label="django_jobs, asyncio", pool="asyncio", slots=IO_SLOTS)
CELERY_THREADS = Variant(contender="celery", label="Celery, threads", pool="threads", slots=IO_SLOTS)
DRAMATIQ_THREADS = Variant(contender="dramatiq", label="Dramatiq, threads", pool="threads", slots=IO_SLOTS)
HUEY_THREADS = Variant(contender="huey", label="Huey, threads", pool="threads", slots=IO_SLOTS)

CELERY_REDIS_RESULTS = Variant(contender="celery", label="Celery, results in Redis", results="redis")
CELERY_ORM_RESULTS = Variant(contender="celery", label="Celery + django-celery-results", results="postgresql")
HUEY_RESULTS = Variant(contender="huey", label="Huey, results in Redis", results="redis")
DRAMATIQ_RESULTS = Variant(contender="dramatiq", label="Dramatiq, results in Redis", results="redis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    key: str
    title: str
    measurement: Measurement
    variants: Sequence[Variant]
    # Measured in the first round only: long, and hardly different from round to round.
    once: bool = False
    # Measured only when it is asked for.
    optional: bool = False


def in_processes(processes: int) -> list[Variant]:
    return [variant.using(processes=processes) for variant in (OURS, CELERY, HUEY, DRAMATIQ)]


def recorded_drain(results: Results, name: str, *, processes: int) -> Row:
    return Row(
        key=f"drain-{processes}-{results}",
        title=f"Drain, {processes} {'process' if processes == 1 else 'processes'}, results in {name}",
        measurement=Drain(),
        variants=[variant.using(processes=processes, results=results) for variant in (OURS, CELERY_ORM_RESULTS)],
    )


ROWS: Sequence[Row] = [
    Row(key="enqueue", title="Enqueue one by one", measurement=EnqueueOneByOne(), variants=in_processes(1)),
    Row(
        key="enqueue-many",
        title="Enqueue in bulk",
        measurement=EnqueueMany({"celery": "enqueue_group"}),
        variants=[OURS, Variant(contender="celery", label="Celery, group()")],
    ),
    Row(key="drain-1", title="Drain, 1 process", measurement=Drain(), variants=in_processes(1)),
    Row(key="drain-2", title="Drain, 2 processes", measurement=Drain(), variants=in_processes(2)),
    recorded_drain("postgresql", "PostgreSQL", processes=1),
    recorded_drain("postgresql", "PostgreSQL", processes=2),
    recorded_drain("sqlite", "SQLite", processes=1),
    recorded_drain("sqlite", "SQLite", processes=2),
    Row(
        key="database",
        title="Drain, jobs in PostgreSQL, 1 process",
        measurement=Drain(),
        variants=[
            OURS_DATABASE,
            Variant(
                contender="django_jobs", label="django_jobs, with results", broker="database", results="postgresql"
            ),
            PROCRASTINATE,
        ],
    ),
    Row(
        key="io",
        title="Jobs that wait 10 ms, 50 at once, 1 process",
        measurement=InputOutput(),
        variants=[OURS_THREADS, OURS_ASYNCIO, CELERY_THREADS, HUEY_THREADS, DRAMATIQ_THREADS],
    ),
    Row(key="latency", title="Idle worker: enqueue to start", measurement=Latency(), variants=in_processes(1)),
    Row(
        key="get",
        title="Idle worker: enqueue to the return of get()",
        measurement=RoundTrip(),
        variants=[OURS_RECORDED, CELERY_REDIS_RESULTS, CELERY_ORM_RESULTS, HUEY_RESULTS, DRAMATIQ_RESULTS],
    ),
    Row(key="idle", title="Idle worker, 2 processes", measurement=Idle(), variants=in_processes(2)),
    Row(
        key="scheduled",
        title="10,000 jobs due in an hour, 1 process",
        measurement=Scheduled(10_000),
        variants=in_processes(1),
        once=True,
    ),
    Row(
        key="scheduled-million",
        title="1,000,000 jobs due in an hour, 1 process",
        measurement=Scheduled(1_000_000),
        variants=[OURS],
        once=True,
        optional=True,
    ),
]
