"""
Keeping what the ends of jobs have changed in workflows.

On PostgreSQL that is one statement, whatever has changed and in however many workflows: each column travels as one
array. The others take a statement for each barrier, each workflow, and each source of a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django_jobs import clock
from django_jobs.conf import settings
from django_jobs.models.workflow import Workflow
from django_jobs.results.arrays import plain, texts
from django_jobs.results.sql import among, id_writer
from django_jobs.results.workflows.base import Changes, KeptBarrier
from django_jobs.results.workflows.tables import BARRIERS, MEMBERS, STEPS

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_WORKFLOWS = Workflow._meta.db_table
_AT_ONCE = f"""
    WITH members AS (
        INSERT INTO {MEMBERS.name} (barrier, position, source, cause)
        SELECT * FROM unnest(%s::uuid[], %s::integer[], %s::uuid[], %s::uuid[])
    ), barriers AS (
        UPDATE {BARRIERS.name} AS kept SET size = new.size, reported = new.reported, failed = new.failed,
            cause = new.cause, resolved = new.resolved
        FROM unnest(%s::uuid[], %s::integer[], %s::integer[], %s::integer[], %s::uuid[], %s::bigint[])
            AS new (id, size, reported, failed, cause, resolved)
        WHERE kept.id = new.id
    ), opened AS (
        UPDATE {STEPS.name} AS kept SET opened = %s, source = new.source
        FROM unnest(%s::uuid[], %s::text[]) AS new (id, source) WHERE kept.id = new.id
    )
    UPDATE {_WORKFLOWS} AS kept SET remaining = kept.remaining + new.remaining, failed = kept.failed + new.failed,
        finished_at = CASE WHEN kept.remaining + new.remaining > 0 THEN kept.finished_at ELSE %s END,
        expires_at = CASE WHEN kept.remaining + new.remaining > 0 THEN kept.expires_at
            WHEN kept.failed + new.failed > 0 THEN %s ELSE %s END
    FROM unnest(%s::uuid[], %s::integer[], %s::integer[]) AS new (id, remaining, failed) WHERE kept.id = new.id
"""  # noqa: S608


def note(cursor: CursorWrapper, changes: Changes, now_ms: int) -> None:
    """Keep what has changed, and which workflows have finished with it."""
    if cursor.db.vendor == "postgresql":
        _note_at_once(cursor, changes, now_ms)
    else:
        if changes.members:
            MEMBERS.insert(cursor, changes.members)
        for kept in changes.barriers.values():
            change_barrier(cursor, kept)
        _open(cursor, changes.opened, now_ms)
        for one in changes.remaining:
            _count(cursor, one, changes, now_ms)
    _end(cursor, changes.ended)
    change_steps(cursor, changes.moved, "target = NULL, position = NULL, callbacks = ''", [])


def _note_at_once(cursor: CursorWrapper, changes: Changes, now_ms: int) -> None:
    barriers = [
        (kept.barrier.id, kept.barrier.size, kept.reported, kept.failed, kept.cause, kept.resolved_ms)
        for kept in changes.barriers.values()
    ]
    opened, workflows = changes.opened, changes.remaining
    cursor.execute(
        _AT_ONCE,
        [
            *_arrays(changes.members, 4),
            *_arrays(barriers, 6),
            now_ms,
            plain([step_id for step_id, _ in opened]),
            texts([source or "" for _, source in opened]),
            _stamp(now_ms),
            _kept_until(now_ms, "FAILURES_EXPIRE"),
            _kept_until(now_ms, "EXPIRES"),
            plain(list(workflows)),
            plain(list(workflows.values())),
            plain([changes.failed.get(one, 0) for one in workflows]),
        ],
    )


def _arrays(rows: Sequence[tuple[Any, ...]], width: int) -> list[str]:
    return [plain(column) for column in zip(*rows, strict=True)] if rows else ["{}"] * width


def _stamp(moment_ms: int) -> datetime:
    return clock.as_stamp(clock.from_ms(moment_ms))


def _kept_until(now_ms: int, key: str) -> datetime | None:
    kept_ms = settings.results_ms(key)
    return None if kept_ms is None else _stamp(now_ms + kept_ms)


def change_barrier(cursor: CursorWrapper, kept: KeptBarrier) -> None:
    to_id = id_writer(cursor)
    cursor.execute(
        f"UPDATE {BARRIERS.name} SET size = %s, reported = %s, failed = %s, cause = %s, resolved = %s WHERE id = %s",  # noqa: S608
        [
            kept.barrier.size, kept.reported, kept.failed, to_id(kept.cause), kept.resolved_ms, to_id(kept.barrier.id)
        ],
    )  # fmt: skip


def _count(cursor: CursorWrapper, workflow_id: str, changes: Changes, now_ms: int) -> None:
    """Count what has ended, and note if that was all."""
    key, failed = id_writer(cursor)(workflow_id), changes.failed.get(workflow_id, 0)
    cursor.execute(
        f"UPDATE {_WORKFLOWS} SET remaining = remaining + %s, failed = failed + %s WHERE id = %s",  # noqa: S608
        [changes.remaining[workflow_id], failed, key],
    )
    cursor.execute(f"SELECT remaining, failed FROM {_WORKFLOWS} WHERE id = %s", [key])  # noqa: S608
    remaining, all_failed = cursor.fetchone()
    if remaining > 0:
        return
    Workflow.objects.using(cursor.db.alias).filter(pk=workflow_id).update(
        finished_at=_stamp(now_ms), expires_at=_kept_until(now_ms, "FAILURES_EXPIRE" if all_failed else "EXPIRES")
    )


def _open(cursor: CursorWrapper, opened: Sequence[tuple[str, str | None]], now_ms: int) -> None:
    by_source: dict[str, list[str]] = {}
    for step_id, source in opened:
        by_source.setdefault(source or "", []).append(step_id)
    for source, ids in by_source.items():
        change_steps(cursor, ids, "opened = %s, source = %s", [now_ms, source])


def _end(cursor: CursorWrapper, ended: Sequence[tuple[str, str]]) -> None:
    by_cause: dict[str, list[str]] = {}
    for step_id, cause in ended:
        by_cause.setdefault("" if step_id == cause else cause, []).append(step_id)
    change_steps(cursor, by_cause.pop("", []), "cause = id", [])
    for cause, ids in by_cause.items():
        change_steps(cursor, ids, "cause = %s", [id_writer(cursor)(cause)])


def change_steps(cursor: CursorWrapper, ids: Sequence[str], change: str, values: list[Any]) -> None:
    for condition, some in among(cursor, ids):
        cursor.execute(f"UPDATE {STEPS.name} SET {change} WHERE id {condition}", [*values, *some])  # noqa: S608
