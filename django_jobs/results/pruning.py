"""Deleting rows whose time is over, a bounded number at a time, so that nothing is locked for long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django_jobs import clock
from django_jobs.models.workflow import Workflow
from django_jobs.results.upsert.columns import TABLE, moment_writer

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_WORKFLOWS = Workflow._meta.db_table
#: What follows in a workflow may need the results of its steps until it has finished.
_UNNEEDED = (
    f"(workflow_id IS NULL OR NOT EXISTS (SELECT 1 FROM {_WORKFLOWS} w"  # noqa: S608
    f" WHERE w.id = {TABLE}.workflow_id AND w.finished_at IS NULL))"
)
_OVER = f"WHERE expires_at <= %s AND {_UNNEEDED} ORDER BY expires_at LIMIT %s"

_DELETES: Mapping[str, str] = {
    "postgresql": f"DELETE FROM {TABLE} WHERE id IN (SELECT id FROM {TABLE} {_OVER} FOR UPDATE SKIP LOCKED)",  # noqa: S608
    "sqlite": f"DELETE FROM {TABLE} WHERE id IN (SELECT id FROM {TABLE} {_OVER})",  # noqa: S608
    "mysql": f"DELETE FROM {TABLE} {_OVER}",  # noqa: S608
}


def prune(cursor: CursorWrapper, limit: int) -> int:
    """Delete up to ``limit`` rows, those that have been over the longest first. Return how many."""
    vendor = cursor.db.vendor
    now = clock.now() if vendor == "postgresql" else moment_writer(cursor.db)(clock.now_ms())
    cursor.execute(_DELETES[vendor], (now, limit))
    return int(cursor.rowcount)
