"""The worker of Dramatiq: eight threads in each process unless told otherwise, which is its own default."""

from __future__ import annotations

from benchmarks.contenders.base import script
from benchmarks.scenario import Variant

DEFAULT_THREADS = 8


def worker_command(variant: Variant) -> list[str]:
    threads = variant.slots if variant.pool == "threads" else DEFAULT_THREADS
    # Without --skip-logging it writes a line per job.
    options = ["--processes", str(variant.processes), "--threads", str(threads), "--skip-logging"]
    return [script("dramatiq"), "benchmarks.apps.dramatiq_app", *options]
