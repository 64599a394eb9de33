"""The consumer of Huey."""

from __future__ import annotations

from benchmarks.contenders.base import script
from benchmarks.scenario import Variant


def worker_command(variant: Variant) -> list[str]:
    if variant.pool == "threads":
        pool = ["-k", "thread", "-w", str(variant.slots)]
    else:
        pool = ["-k", "process", "-w", str(variant.processes)]
    return [script("huey_consumer"), "benchmarks.apps.huey_app.huey", *pool, "-q"]
