"""How a user starts the worker of each contender."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.contenders import celery, django_jobs, dramatiq, huey, procrastinate
from benchmarks.contenders.base import WorkerCommand
from benchmarks.scenario import Contender

WORKER_COMMANDS: Mapping[Contender, WorkerCommand] = {
    "django_jobs": django_jobs.worker_command,
    "celery": celery.worker_command,
    "huey": huey.worker_command,
    "dramatiq": dramatiq.worker_command,
    "procrastinate": procrastinate.worker_command,
}
