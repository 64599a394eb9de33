"""The worker of Procrastinate: one process with coroutines, ten of which have proved its fastest setting."""

from __future__ import annotations

from benchmarks.contenders.base import script
from benchmarks.scenario import Variant

COROUTINES = 10


def worker_command(variant: Variant) -> list[str]:
    return [script("procrastinate"), "--app", "benchmarks.apps.procrastinate_app.app", "worker", "-c", str(COROUTINES)]
