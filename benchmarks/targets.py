"""What django_jobs wants to reach, as one list; a run says of each whether it does.

Targets against another contender are judged by the median of the ratios within each round, so that a
machine that is slower for a minute does not decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OURS = "django_jobs"
OURS_RECORDED = "django_jobs, results in PostgreSQL"
CELERY = "Celery prefork"
CELERY_ORM = "Celery + django-celery-results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    row: str
    label: str
    metric: str = "rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastestPeer:
    """The best contender of a row that is not ours."""

    row: str
    metric: str = "rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``figure`` (divided by ``against``, when that is given) lies within the bounds."""

    text: str
    figure: Figure
    against: Figure | FastestPeer | None = None
    at_least: float | None = None
    at_most: float | None = None


def ours(row: str, metric: str = "rate", *, label: str = OURS) -> Figure:
    return Figure(row=row, label=label, metric=metric)


def celery(row: str, metric: str = "rate", *, label: str = CELERY) -> Figure:
    return Figure(row=row, label=label, metric=metric)


TARGETS: Sequence[Target] = [
    Target(
        text="Enqueue one by one: 8 times Celery's delay()",
        figure=ours("enqueue"), against=celery("enqueue"), at_least=8,
    ),
    Target(
        text="Enqueue one by one: not behind the fastest peer",
        figure=ours("enqueue"), against=FastestPeer(row="enqueue"), at_least=1,
    ),
    Target(
        text="enqueue_many(): 40 times Celery's delay()",
        figure=ours("enqueue-many"), against=celery("enqueue"), at_least=40,
    ),
    Target(
        text="Drain with results in PostgreSQL: 50 times Celery with django-celery-results",
        figure=ours("drain-1-postgresql"), against=celery("drain-1-postgresql", label=CELERY_ORM), at_least=50,
    ),
    Target(
        text="Drain without results: 15 times Celery",
        figure=ours("drain-1"), against=celery("drain-1"), at_least=15,
    ),
    Target(
        text="Drain without results: 3 times the fastest peer",
        figure=ours("drain-1"), against=FastestPeer(row="drain-1"), at_least=3,
    ),
    Target(
        text="Drain without results: 2 processes 1.6 times one",
        figure=ours("drain-2"), against=ours("drain-1"), at_least=1.6,
    ),
    Target(
        text="Jobs in PostgreSQL: 5 times Procrastinate",
        figure=ours("database"), against=Figure(row="database", label="Procrastinate"), at_least=5,
    ),
    Target(
        text="Jobs in PostgreSQL, with results: 5 times Procrastinate",
        figure=ours("database", label="django_jobs, with results"),
        against=Figure(row="database", label="Procrastinate"), at_least=5,
    ),
    Target(
        text="Waiting jobs, threads: ahead of every peer",
        figure=ours("io", label="django_jobs, threads"), against=FastestPeer(row="io"), at_least=1,
    ),
    Target(
        text="Waiting jobs, asyncio: ahead of every peer",
        figure=ours("io", label="django_jobs, asyncio"), against=FastestPeer(row="io"), at_least=1,
    ),
    Target(text="Enqueue to start, p50: under 1.5 ms", figure=ours("latency", "p50"), at_most=1.5),
    Target(
        text="Enqueue to start, p50: not behind the fastest peer",
        figure=ours("latency", "p50"), against=FastestPeer(row="latency", metric="p50"), at_most=1,
    ),
    Target(
        text="Enqueue to start, p99: under Celery's p50",
        figure=ours("latency", "p99"), against=celery("latency", "p50"), at_most=1,
    ),
    Target(text="get(), p50: under 3 ms", figure=ours("get", "p50", label=OURS_RECORDED), at_most=3),
    Target(
        text="Memory of an idle worker with 2 processes: under Celery's",
        figure=ours("idle", "pss"), against=celery("idle", "pss"), at_most=1,
    ),
    Target(
        text="10,000 scheduled jobs: memory grows by less than 1 MiB", figure=ours("scheduled", "growth"), at_most=1
    ),
    Target(text="10,000 scheduled jobs: idle CPU under 1 %", figure=ours("scheduled", "cpu"), at_most=1),
    Target(
        text="1,000,000 scheduled jobs: memory grows by less than 1 MiB",
        figure=ours("scheduled-million", "growth"), at_most=1,
    ),
    Target(
        text="1,000,000 scheduled jobs: idle CPU under 1 %", figure=ours("scheduled-million", "cpu"), at_most=1
    ),
]  # fmt: skip
