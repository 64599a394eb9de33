"""Where results go in a test: to the test's database if it may use one, else to memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_jobs.results import get_store
from django_jobs.results.base import BaseStore, Record, Settled, StoredResult, Written
from django_jobs.results.store import DatabaseStore
from django_jobs.results.upsert.guard import wins
from django_jobs.states import TERMINAL_STATES
from django_jobs.testing.workflows import MemoryWorkflows


class MemoryStore(BaseStore):
    """Keeps results in a dictionary. Nothing is pruned: they are gone with the test."""

    def __init__(self, *, using: str = "default", options: dict[str, Any] | None = None) -> None:
        super().__init__(using=using, options=options)
        self._rows: dict[str, StoredResult] = {}
        self.workflows = MemoryWorkflows()

    def transaction(self) -> AbstractContextManager[Any]:
        """Return a null context."""
        return nullcontext()

    def record(self, records: Sequence[Record]) -> list[str]:
        """Write these. Return the ids whose row was newer and stayed as it was."""
        return [record.id for record in records if not self._write(record)]

    def _write(self, record: Record) -> bool:
        kept = self._rows.get(record.id)
        if kept is not None and not wins(record.fence, kept_fence=kept.record.fence, kept_state=kept.record.state):
            return False
        history = ("" if kept is None else kept.history) + record.history
        self._rows[record.id] = StoredResult(record._replace(history=""), history)
        return True

    def reopen(self, records: Sequence[Record]) -> list[str]:
        """Write these over rows that have ended and are of an earlier generation. Return the ids of those written."""
        ended = [record for record in records if record.id in self._rows and self._has_ended(record.id)]
        return [record.id for record in ended if self._write(record)]

    def _has_ended(self, job_id: str) -> bool:
        return self._rows[job_id].record.state in TERMINAL_STATES

    def get(self, job_id: str) -> StoredResult | None:
        """Return what is known of a job."""
        return self._rows.get(job_id)

    def get_many(self, job_ids: Sequence[str]) -> dict[str, StoredResult]:
        """Return what is known of these jobs."""
        return {job_id: self._rows[job_id] for job_id in job_ids if job_id in self._rows}

    def children(self, job_id: str, *, limit: int = 1000) -> list[str]:
        """Return the ids of the recorded jobs that this one sent, oldest first."""
        return sorted(kept for kept, row in self._rows.items() if row.record.parent_id == job_id)[:limit]

    def settled(self, job_ids: Sequence[str]) -> dict[str, Settled]:
        """Return how these jobs stand."""
        rows = [(job_id, stored.record) for job_id, stored in self.get_many(job_ids).items()]
        return {job_id: Settled(row.state, row.fence, row.message, row.eta_ms) for job_id, row in rows}

    def update_meta(self, record: Record) -> bool:
        """Write state and meta of a running job. False: the row was newer."""
        kept = self._rows.get(record.id)
        if kept is None:
            return self._write(record)
        changes = {
            name: getattr(record, name) for name in ("state", "meta", "worker", "retries", "deliveries", "fence")
        }
        return self._write(kept.record._replace(**changes, history=""))

    def forget(self, job_ids: Sequence[str]) -> int:
        """Delete the rows of these jobs. Return how many there were."""
        return sum(self._rows.pop(job_id, None) is not None for job_id in job_ids)

    def let_go(self, job_ids: Sequence[str]) -> None:
        """Delete the rows of these jobs, but not those that a workflow may still need."""
        self.forget([one for one in job_ids if one in self._rows and not self._is_needed(self._rows[one].record)])

    def _is_needed(self, record: Record) -> bool:
        assert self.workflows is not None
        head = None if record.workflow_id is None else self.workflows.head(record.workflow_id)
        return head is not None and (head.remaining > 0 or head.failed > 0)

    def prune(self, *, limit: int = 1000) -> int:
        """Delete nothing."""
        return 0


class EitherStore(BaseStore):
    """
    Keeps results in the rows of the test's database, or in memory where the test may not use it.

    Asked at every call, because a fixture may allow the database after the kit has begun. Only the rows that Django
    rolls back are a test's own, so a project whose results go elsewhere (Redis, a cache) has them in memory here.
    """

    def __init__(self) -> None:
        project = get_store()
        super().__init__(using=project.using)
        self._rows = project if isinstance(project, DatabaseStore) else None
        self._memory = MemoryStore(using=project.using)
        del self.workflows  # asked of the store in use, as the rest is

    @property
    def is_transactional(self) -> bool:
        """Say whether the store in use writes in the transaction that is open."""
        return self._store().is_transactional

    def __getattr__(self, name: str) -> Any:
        if name == "workflows":
            return self._store().workflows
        raise AttributeError(name)

    def _store(self) -> BaseStore:
        return self._rows if self._rows is not None and may_use_database(self.using) else self._memory

    def transaction(self) -> AbstractContextManager[Any]:
        """Open a transaction of the store in use."""
        return self._store().transaction()

    def savepoint(self) -> AbstractContextManager[Any]:
        """Open a part of it that an error undoes alone."""
        return self._store().savepoint()

    def record(self, records: Sequence[Record]) -> list[str]:
        """Write these. Return the ids whose row was newer and stayed as it was."""
        return self._store().record(records)

    @property
    def may_trust(self) -> bool:
        """Say what the store in use says."""
        return self._store().may_trust

    def write(self, records: Sequence[Record], *, trusting: bool = False) -> Written:
        """Write these, and tell what became of them."""
        return self._store().write(records, trusting=trusting)

    def reopen(self, records: Sequence[Record]) -> list[str]:
        """Write these over rows that have ended and are of an earlier generation. Return the ids of those written."""
        return self._store().reopen(records)

    def get(self, job_id: str) -> StoredResult | None:
        """Return what is known of a job."""
        return self._store().get(job_id)

    def get_many(self, job_ids: Sequence[str]) -> dict[str, StoredResult]:
        """Return what is known of these jobs."""
        return self._store().get_many(job_ids)

    def children(self, job_id: str, *, limit: int = 1000) -> list[str]:
        """Return the ids of the recorded jobs that this one sent, oldest first."""
        return self._store().children(job_id, limit=limit)

    def settled(self, job_ids: Sequence[str]) -> dict[str, Settled]:
        """Return how these jobs stand."""
        return self._store().settled(job_ids)

    def update_meta(self, record: Record) -> bool:
        """Write state and meta of a running job. False: the row was newer."""
        return self._store().update_meta(record)

    def forget(self, job_ids: Sequence[str]) -> int:
        """Delete the rows of these jobs. Return how many there were."""
        return self._store().forget(job_ids)

    def let_go(self, job_ids: Sequence[str]) -> None:
        """Delete the rows of these jobs, but not those that a workflow may still need."""
        self._store().let_go(job_ids)

    def prune(self, *, limit: int = 1000) -> int:
        """Delete rows whose time is over. Return how many."""
        return self._store().prune(limit=limit)


def may_use_database(alias: str) -> bool:
    """Say whether the running test has a test database behind this alias, and may use it."""
    connection = connections[alias]
    if not _is_test_database(connection.settings_dict):
        return False
    try:
        # SimpleTestCase puts its refusal here, pytest-django into the connecting that this leads to.
        with connection.cursor():
            return True
    except (RuntimeError, AssertionError, ImproperlyConfigured):
        return False


def _is_test_database(settings_dict: dict[str, Any]) -> bool:
    """A test runner without any test that asks for the database leaves the project's own behind the alias."""
    name, test_name = str(settings_dict["NAME"]), settings_dict.get("TEST", {}).get("NAME")
    if name == ":memory:" or "mode=memory" in name or Path(name).name.startswith("test_"):
        return True
    return bool(test_name) and Path(name).stem.startswith(Path(str(test_name)).stem)
