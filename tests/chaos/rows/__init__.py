"""The rows: one function for each kind of fault."""

from __future__ import annotations

from tests.chaos.rows import (
    bad_jobs,
    beats,
    canvases,
    databases,
    deep_queue,
    deploys,
    failover,
    network,
    processes,
    redis_server,
)
from tests.chaos.rows.base import ROWS, Row

__all__ = [
    "ROWS",
    "Row",
    "bad_jobs",
    "beats",
    "canvases",
    "databases",
    "deep_queue",
    "deploys",
    "failover",
    "network",
    "processes",
    "redis_server",
]
