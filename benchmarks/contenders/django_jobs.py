"""The worker of django_jobs."""

from __future__ import annotations

import sys

from benchmarks.scenario import Variant


def worker_command(variant: Variant) -> list[str]:
    options = ["-c", str(variant.processes), "-q", "default", "--loglevel", "WARNING"]
    if variant.pool == "threads":
        options += ["--threads", str(variant.slots)]
    if variant.pool == "asyncio":
        options += ["--async-concurrency", str(variant.slots)]
    return [sys.executable, "-m", "django", "runworker", *options]
