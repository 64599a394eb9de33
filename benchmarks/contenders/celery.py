"""The worker of Celery."""

from __future__ import annotations

from benchmarks.contenders.base import script
from benchmarks.scenario import Variant


def worker_command(variant: Variant) -> list[str]:
    if variant.pool == "threads":
        pool = ["-P", "threads", "-c", str(variant.slots)]
    else:
        pool = ["-P", "prefork", "-c", str(variant.processes)]
    return [script("celery"), "-A", "benchmarks.apps.celery_app", "worker", *pool, "-l", "WARNING"]
