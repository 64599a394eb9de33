"""
What is read of a workflow for its page, in a bounded number of queries and rows, whatever its size.

Members of a group that are one step each are counted by the database when there are many. What is left is read, up to
a bound; of a workflow with more than that, its ends, and the first members of every group on the way to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from django_jobs.admin.workflow_folding import MOST_MEMBERS
from django_jobs.admin.workflow_records import FAILURE_OF, BarrierRow, CrowdRow, Records, StepRow, shown_state
from django_jobs.models import JobResult, WorkflowBarrier, WorkflowStep
from django_jobs.results.sql import id_of, id_writer, marks

#: So many steps are read one by one; of a larger workflow, so many in all.
MOST_READ, MOST_SAMPLED = 3000, 400
#: Of a sample: members of one group, and how far back from the ends of the workflow it goes.
SAMPLE, DEEPEST = 4, 40
#: Groups whose members are counted.
_MOST_CROWDS = 60

_STEPS, _BARRIERS, _JOBS = (model._meta.db_table for model in (WorkflowStep, WorkflowBarrier, JobResult))
_NEVER_RAN = "CASE WHEN s.cause IS NOT NULL AND s.cause <> s.id THEN 1 ELSE 0 END"
_WAS_SENT = "CASE WHEN s.opened IS NOT NULL THEN 1 ELSE 0 END"
#: A step that has nothing but its report to a barrier: one member of a group.
_PLAIN = "s.position >= 0 AND s.entry IS NOT NULL AND s.callbacks = ''"
_ERROR = f"s.target IS NULL AND s.callbacks = '' AND s.source LIKE '{FAILURE_OF}%%'"
_BEGINS, _ID_LENGTH = '{"replaced_by": "', 36
_COLUMNS = (
    "s.id, s.task, s.target, s.position, s.callbacks, s.entry, s.source, s.cause, s.opened, r.state, r.retries,"
    " r.started_at, r.finished_at, r.exception_type,"
    f" CASE WHEN r.meta LIKE '{_BEGINS}%%' THEN SUBSTR(r.meta, {len(_BEGINS) + 1}, {_ID_LENGTH}) END"
)
_JOINED = f"{_STEPS} s LEFT JOIN {_JOBS} r ON r.id = s.id"
_BARRIER_COLUMNS = "id, target, position, callbacks, size, reported, failed, waits, allow_failures, resolved, cause"
#: As people go through them: in the order in which they were sent, then those that were not.
IN_ORDER = "CASE WHEN s.opened IS NULL THEN 1 ELSE 0 END, s.opened, s.id"


class _Crowd(NamedTuple):
    """Whose steps are counted: of one task, in one place."""

    task: str
    target: str | None = None

    def where(self) -> str:
        return f"({_ERROR} AND s.task = %s)" if self.target is None else f"({_PLAIN} AND s.task = %s AND s.target = %s)"


class Reading:
    """Reads one workflow."""

    def __init__(self, using: str, workflow_id: str) -> None:
        self._connection = connections[using]
        self._workflow_id = workflow_id
        with self._connection.cursor() as cursor:
            self._to_id: Callable[[str | None], Any] = id_writer(cursor)
        self._key = self._to_id(workflow_id)

    def records(self, size: int) -> Records:
        """Return what is drawn of a workflow that has so many steps."""
        crowds = self._crowds() if size > MOST_MEMBERS else []
        where, params = self._outside(crowds)
        steps = self._steps(where, params, limit=MOST_READ + 1)
        counted = self._count(crowds)
        if len(steps) > MOST_READ:
            steps, barriers = self._sample(where, params)
        else:
            barriers = self._barriers("workflow_id = %s", [self._key], limit=MOST_READ)
        left_out = max(0, size - len(steps) - sum(sum(crowd.counts.values()) for crowd in counted))
        return Records(steps, barriers, counted, self._inside(steps, barriers, crowds, counted), left_out)

    def page(self, offset: int, limit: int) -> list[StepRow]:
        """Return some steps, in the order in which they were sent."""
        return self._steps("s.workflow_id = %s", [self._key], limit=limit, offset=offset, order=IN_ORDER)

    def steps(self, ids: Sequence[str]) -> list[StepRow]:
        """Return the steps with these ids."""
        return self._steps(f"s.id IN ({marks(len(ids))})", [self._to_id(one) for one in ids]) if ids else []

    # Crowds

    def _crowds(self) -> list[_Crowd]:
        found = self._ask(
            f"SELECT s.task, s.target FROM {_STEPS} s WHERE s.workflow_id = %s AND {_PLAIN} GROUP BY s.task, s.target"  # noqa: S608
            f" HAVING COUNT(*) > {MOST_MEMBERS} ORDER BY COUNT(*) DESC LIMIT {_MOST_CROWDS}",
            [self._key],
        )
        errors = self._ask(
            f"SELECT s.task FROM {_STEPS} s WHERE s.workflow_id = %s AND {_ERROR} GROUP BY s.task"  # noqa: S608
            f" HAVING COUNT(*) > {MOST_MEMBERS} ORDER BY COUNT(*) DESC LIMIT {_MOST_CROWDS}",
            [self._key],
        )
        return [_Crowd(row[0], id_of(row[1])) for row in found] + [_Crowd(row[0]) for row in errors]

    def _params(self, crowds: Iterable[_Crowd]) -> list[Any]:
        return [value for one in crowds for value in (one.task, *([self._to_id(one.target)] if one.target else []))]

    def _outside(self, crowds: Sequence[_Crowd]) -> tuple[str, list[Any]]:
        """Return what finds the steps that are in no crowd."""
        if not crowds:
            return "s.workflow_id = %s", [self._key]
        # What is compared with NULL is neither true nor false, and its opposite is not true.
        inside = " OR ".join(one.where() for one in crowds)
        return f"s.workflow_id = %s AND NOT COALESCE(({inside}), {self._false})", [self._key, *self._params(crowds)]

    @property
    def _false(self) -> str:
        return "FALSE" if self._connection.vendor == "postgresql" else "0"

    def _count(self, crowds: Sequence[_Crowd]) -> list[CrowdRow]:
        """Return how many of each crowd are in which state."""
        if not crowds:
            return []
        rows = self._ask(
            f"SELECT s.task, s.target, s.entry, r.state, {_WAS_SENT}, {_NEVER_RAN}, COUNT(*), MIN(r.started_at),"  # noqa: S608
            f" MAX(r.finished_at), MIN(s.source) FROM {_JOINED} WHERE s.workflow_id = %s"
            f" AND ({' OR '.join(one.where() for one in crowds)})"
            f" GROUP BY s.task, s.target, s.entry, r.state, {_WAS_SENT}, {_NEVER_RAN}",
            [self._key, *self._params(crowds)],
        )
        found: dict[tuple[str, Any, Any], list[Any]] = {}
        for row in rows:
            found.setdefault((row[0], id_of(row[1]), id_of(row[2])), []).append(row)
        return [self._crowd_of(key, some) for key, some in found.items()]

    def _crowd_of(self, key: tuple[str, str | None, str | None], rows: Sequence[Any]) -> CrowdRow:
        task, target, entry = key
        counts: dict[str, int] = {}
        for row in rows:
            state = shown_state(row[3], was_sent=bool(row[4]), never_ran=bool(row[5]))
            counts[state] = counts.get(state, 0) + int(row[6])
        starts = [self._moment(row[7]) for row in rows if not row[5] and row[7] is not None]
        ends = [self._moment(row[8]) for row in rows if not row[5] and row[8] is not None]
        source = min(row[9] for row in rows) if target is None else ""
        return CrowdRow(
            task=task,
            target=target,
            entry=entry,
            source=source,
            counts=counts,
            started=min((one for one in starts if one is not None), default=None),
            finished=max((one for one in ends if one is not None), default=None),
        )

    def _inside(
        self,
        steps: Sequence[StepRow],
        barriers: Sequence[BarrierRow],
        crowds: Sequence[_Crowd],
        counted: Sequence[CrowdRow],
    ) -> dict[str, int]:
        """Return in which crowds the steps are whose failures were followed by callbacks."""
        if not crowds:
            return {}
        failed = {source.removeprefix(FAILURE_OF) for source in _sources(steps, counted)}
        failed -= {step.id for step in steps} | {barrier.id for barrier in barriers}
        numbers = {(crowd.task, crowd.target, crowd.entry): n for n, crowd in enumerate(counted)}
        found = self.steps(sorted(failed)[:MOST_SAMPLED])
        places = {step.id: (step.task, step.target, step.entry) for step in found}
        return {one: numbers[place] for one, place in places.items() if place in numbers}

    # Samples

    def _sample(self, where: str, params: list[Any]) -> tuple[list[StepRow], list[BarrierRow]]:
        """Return the ends, and the way back from them: of each barrier a few members."""
        few = "(position IS NULL OR position < %s)"
        steps = self._steps(f"{where} AND s.target IS NULL", params, limit=MOST_SAMPLED // 4)
        barriers = self._barriers("workflow_id = %s AND target IS NULL", [self._key], limit=MOST_SAMPLED // 4)
        last = [*(row.id for row in steps), *(row.id for row in barriers)]
        for _level in range(DEEPEST):
            room = MOST_SAMPLED - len(steps) - len(barriers)
            if not last or room <= 0:
                break
            ids, targets = [self._to_id(one) for one in last], marks(len(last))
            more = self._steps(f"{where} AND s.target IN ({targets}) AND {few}", [*params, *ids, SAMPLE], limit=room)
            others = self._barriers(f"target IN ({targets}) AND {few}", [*ids, SAMPLE], limit=room)
            steps += more
            barriers += others
            last = [*(row.id for row in more), *(row.id for row in others)]
        return steps, barriers

    # Rows

    def _steps(
        self, where: str, params: Sequence[Any], *, limit: int = MOST_READ, offset: int = 0, order: str = "s.id"
    ) -> list[StepRow]:
        rows = self._ask(
            f"SELECT {_COLUMNS} FROM {_JOINED} WHERE {where} ORDER BY {order} LIMIT {limit} OFFSET {offset}",  # noqa: S608
            params,
        )
        return [self._step(row) for row in rows]

    def _step(self, row: Sequence[Any]) -> StepRow:
        return StepRow(
            id=str(id_of(row[0])),
            task=row[1],
            target=id_of(row[2]),
            position=row[3],
            callbacks=row[4],
            entry=id_of(row[5]),
            source=row[6],
            cause=id_of(row[7]),
            opened=row[8],
            state=row[9],
            retries=row[10] or 0,
            started=self._moment(row[11]),
            finished=self._moment(row[12]),
            exception_type=row[13] or "",
            replaced_by=row[14],
        )

    def _barriers(self, where: str, params: Sequence[Any], *, limit: int) -> list[BarrierRow]:
        rows = self._ask(
            f"SELECT {_BARRIER_COLUMNS} FROM {_BARRIERS} WHERE {where} ORDER BY id LIMIT {limit}",  # noqa: S608
            params,
        )
        return [
            BarrierRow(
                str(id_of(row[0])), id_of(row[1]), row[2], row[3], row[4], row[5], row[6], bool(row[7]), row[8], row[9],
                id_of(row[10]),
            )
            for row in rows
        ]  # fmt: skip

    def _ask(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def _moment(self, value: Any) -> datetime | None:
        """Return a moment as a column of the project has it; SQLite knows none, and gives texts."""
        if isinstance(value, str):
            value = parse_datetime(value)
        if not isinstance(value, datetime):
            return None
        zone = self._connection.timezone
        return timezone.make_aware(value, zone) if zone is not None and timezone.is_naive(value) else value


def _sources(steps: Iterable[StepRow], crowds: Iterable[CrowdRow]) -> list[str]:
    found = [step.source for step in steps if step.is_error_callback]
    return found + [crowd.source for crowd in crowds if crowd.source]
