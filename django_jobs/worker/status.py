"""What a worker reports of itself with each heartbeat, for operators."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django_jobs.worker.config import WorkerConfig

DISTRIBUTION = "django-jobs-redis"


def describe(
    config: WorkerConfig,
    queues: Sequence[str],
    *,
    started_ms: int,
    quiet: bool,
    children: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Say how a worker stands. Values of JSON alone."""
    return {
        "name": config.name,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started_ms": started_ms,
        "pool": config.pool,
        "queues": list(queues),
        "concurrency": config.concurrency,
        "threads": config.threads,
        "version": _version(),
        "quiet": quiet,
        "children": list(children),
    }


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a checkout
        return ""
