"""Deleting rows whose time is over, a bounded number at a time, so that nothing is locked for long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django_jobs import clock
from django_jobs.models.workflow import Workflow
from django_jobs.results.sql import batches, id_writer, marks
from django_jobs.results.upsert.columns import TABLE, moment_writer

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_WORKFLOWS = Workflow._meta.db_table
#: What follows in a workflow may need the results of its steps until it has finished; and for as long as it can be
#: retried, they say what need not run again. They go with it then.
UNNEEDED = (
    f"(workflow_id IS NULL OR NOT EXISTS (SELECT 1 FROM {_WORKFLOWS} w"  # noqa: S608
    f" WHERE w.id = {TABLE}.workflow_id AND (w.finished_at IS NULL OR w.failed > 0)))"
)
_OVER = f"WHERE expires_at <= %s AND {UNNEEDED} ORDER BY expires_at LIMIT %s"

_DELETES: Mapping[str, str] = {
    "postgresql": f"DELETE FROM {TABLE} WHERE id IN (SELECT id FROM {TABLE} {_OVER} FOR UPDATE SKIP LOCKED)",  # noqa: S608
    "sqlite": f"DELETE FROM {TABLE} WHERE id IN (SELECT id FROM {TABLE} {_OVER})",  # noqa: S608
}


def prune(cursor: CursorWrapper, limit: int) -> int:
    """Delete up to ``limit`` rows, those that have been over the longest first. Return how many."""
    now = _now(cursor)
    if cursor.db.vendor == "mysql":
        return _prune_in_two_steps(cursor, now, limit)
    cursor.execute(_DELETES[cursor.db.vendor], (now, limit))
    return int(cursor.rowcount)


def _prune_in_two_steps(cursor: CursorWrapper, now: Any, limit: int) -> int:
    """
    Look first, then delete: to MySQL and MariaDB a deletion that asks about workflows locks these, too, and would wait
    for all that goes on in them.
    """
    done = 0
    while done < limit:
        cursor.execute(f"SELECT id FROM {TABLE} {_OVER}", (now, limit - done))  # noqa: S608
        ids = [row[0] for row in cursor.fetchall()]
        if not ids:
            break
        cursor.execute(f"DELETE FROM {TABLE} WHERE id IN ({marks(len(ids))}) AND expires_at <= %s", (*ids, now))  # noqa: S608
        if not cursor.rowcount:
            break
        done += int(cursor.rowcount)  # fewer than were seen: others prune, too
    return done


def let_go(cursor: CursorWrapper, job_ids: Sequence[str]) -> None:
    """Delete the rows of these jobs; those that workflows may still need are over from now on, and pruned in time."""
    to_id, now = id_writer(cursor), _now(cursor)
    for ids in batches(job_ids):
        some = [to_id(one) for one in ids]
        among = f"id IN ({marks(len(some))})"
        cursor.execute(f"SELECT id FROM {TABLE} WHERE {among} AND NOT {UNNEEDED}", some)  # noqa: S608
        needed = [row[0] for row in cursor.fetchall()]
        if needed:
            cursor.execute(
                f"UPDATE {TABLE} SET expires_at = %s WHERE id IN ({marks(len(needed))})",  # noqa: S608
                [now, *needed],
            )
            among += f" AND id NOT IN ({marks(len(needed))})"
        cursor.execute(f"DELETE FROM {TABLE} WHERE {among}", [*some, *needed])  # noqa: S608


def _now(cursor: CursorWrapper) -> Any:
    return clock.now() if cursor.db.vendor == "postgresql" else moment_writer(cursor.db)(clock.now_ms())
