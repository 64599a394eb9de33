"""What one measured process needs to know, handed to it through its environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self

ENVIRONMENT_KEY = "DJANGO_JOBS_BENCHMARK"
ROOT = Path(__file__).resolve().parent.parent

Contender = Literal["django_jobs", "celery", "huey", "dramatiq", "procrastinate"]
Broker = Literal["redis", "database"]
Results = Literal["none", "redis", "sqlite", "postgresql"]
Pool = Literal["processes", "threads", "asyncio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One contender in one way of running it."""

    contender: Contender
    label: str
    broker: Broker = "redis"
    results: Results = "none"
    pool: Pool = "processes"
    processes: int = 1
    # Jobs at once in one process, for the pools "threads" and "asyncio".
    slots: int = 1

    @property
    def needs_postgresql(self) -> bool:
        return self.broker == "database" or self.results == "postgresql"

    def using(self, *, processes: int | None = None, results: Results | None = None) -> Self:
        return replace(self, processes=processes or self.processes, results=results or self.results)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAddress:
    host: str
    port: int
    user: str
    database: str

    @property
    def dsn(self) -> str:
        return f"host={self.host} port={self.port} user={self.user} dbname={self.database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A variant with the services, the database and the stamp file of one sample."""

    variant: Variant
    redis_url: str
    postgresql: PostgresAddress | None
    sqlite_path: str
    stamps_path: str

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that takes part in this scenario."""
        return {
            **os.environ,
            ENVIRONMENT_KEY: json.dumps(asdict(self)),
            "DJANGO_SETTINGS_MODULE": "benchmarks.apps.site.settings",
            "PYTHONPATH": str(ROOT),
        }

    @classmethod
    def from_environment(cls) -> Self:
        fields = json.loads(os.environ[ENVIRONMENT_KEY])
        address = fields.pop("postgresql")
        return cls(
            variant=Variant(**fields.pop("variant")),
            postgresql=PostgresAddress(**address) if address else None,
            **fields,
        )

    def require_postgresql(self) -> PostgresAddress:
        if self.postgresql is None:
            raise RuntimeError(f"{self.variant.label} needs PostgreSQL, but this scenario has none.")
        return self.postgresql
