"""How a worker is to run: what the command line and the settings said, once."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from django_jobs.conf import settings

POOLS = ("prefork", "threads", "solo")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """The decisions of one worker. Times in ms."""

    name: str
    #: The queues it was told to serve, with their weights (0: strict order); empty: every queue that is known, also
    #: later.
    queues: tuple[tuple[str, int], ...] = ()
    exclude: frozenset[str] = frozenset()
    pool: str = "prefork"
    #: Processes; 1 with the pools threads and solo.
    concurrency: int = 1
    #: Threads that run jobs, in each process.
    threads: int = 1
    #: Jobs of ``async def`` tasks at once, in each process.
    async_concurrency: int = 100
    #: A process is replaced after this many jobs, or when it uses this much memory (KiB); 0: never.
    max_jobs_per_child: int = 0
    max_memory_per_child: int = 0
    #: End when nothing is left to do.
    burst: bool = False
    grace_ms: int = 30_000
    heartbeat_ms: int = 5_000
    lease_ms: int = 20_000
    suspect_ms: int = 10_000

    @property
    def slots(self) -> int:
        """Jobs at once in one process, of both kinds."""
        return self.threads + self.async_concurrency


def default_name() -> str:
    """Return a name that no other worker has: host and process."""
    return f"{socket.gethostname()}-{os.getpid()}"


def usable_cores() -> int:
    """Count the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def weight_of(queue: str) -> int:
    """Return a queue's share among those that have jobs (``QUEUES[name]["weight"]``, 1 by default)."""
    return int(settings.top["QUEUES"].get(queue, {}).get("weight", 1))
