"""Where a run took place: the machine, the versions, the moment."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.servers import Servers

DISTRIBUTIONS: Mapping[str, str] = {
    "django_jobs": "django-jobs-redis",
    "Django": "Django",
    "Celery": "celery",
    "django-celery-results": "django-celery-results",
    "kombu": "kombu",
    "Huey": "huey",
    "Dramatiq": "dramatiq",
    "Procrastinate": "procrastinate",
    "redis-py": "redis",
    "hiredis": "hiredis",
    "psycopg": "psycopg",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    processor: str
    cores: int
    memory_gib: int
    system: str
    python: str
    load_before: float
    date: str
    versions: Mapping[str, str]


def describe_machine(servers: Servers) -> Machine:
    versions = {"Redis": servers.redis.version, "PostgreSQL": servers.postgresql.version}
    for name, distribution in DISTRIBUTIONS.items():
        try:
            versions[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_before=os.getloadavg()[0],
        date=datetime.now(tz=UTC).date().isoformat(),
        versions=versions,
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
