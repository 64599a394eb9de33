"""Workflows in the project's database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from django.db.models import F

from django_jobs import bounds, clock
from django_jobs.canvas.records import Join, Plan, Scope
from django_jobs.models.workflow import Workflow
from django_jobs.results.outbox import Ask, Run
from django_jobs.results.sql import among, among_numbers, for_update, id_of, id_writer
from django_jobs.results.upsert.columns import TABLE as RESULTS
from django_jobs.results.workflows import codec, noting, pruning
from django_jobs.results.workflows.base import BaseWorkflows, Changes, Head, KeptBarrier, KeptStep, Member
from django_jobs.results.workflows.codec import STEP_COLUMNS
from django_jobs.results.workflows.tables import BARRIERS, MEMBERS, SCOPES, STEPS, sees_the_past

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.utils import CursorWrapper

T = TypeVar("T")

_WORKFLOWS = Workflow._meta.db_table
_HEAD = (
    "SELECT id, remaining, failed, is_touched, root_id, parent_id, headers, revoked_at"  # noqa: S608
    f" FROM {_WORKFLOWS} WHERE id"
)
_OPEN = (
    f"SELECT s.id FROM {_WORKFLOWS} w JOIN {STEPS.name} s ON s.workflow_id = w.id"  # noqa: S608
    " WHERE w.finished_at IS NULL AND s.opened < %s AND s.cause IS NULL"
    f" AND NOT EXISTS (SELECT 1 FROM {RESULTS} r WHERE r.id = s.id)"
    # Somebody has deleted the row of a step that has ended: it was reported, or what follows it was sent.
    f" AND NOT EXISTS (SELECT 1 FROM {MEMBERS.name} m WHERE m.barrier = s.target AND m.position = s.position)"
    f" AND NOT EXISTS (SELECT 1 FROM {STEPS.name} n WHERE n.id = s.target AND n.opened IS NOT NULL)"
    " ORDER BY s.opened, s.id LIMIT %s"
)
_NAME_LENGTH = 255


class Workflows(BaseWorkflows):
    """The workflows of one database. Raises StoreUnavailable as the store does."""

    def __init__(self, using: str, run: Run, ask: Ask, *, wait_ms: int, is_locked: bool = False) -> None:
        self._using = using
        self._run = run
        self._ask = ask
        self._wait_ms = wait_ms
        self._is_locked = is_locked

    def locked(self) -> Workflows:
        """Return the same for whoever holds the locks."""
        return Workflows(self._using, self._run, self._ask, wait_ms=self._wait_ms, is_locked=True)

    def _now(self, cursor: CursorWrapper) -> str:
        """Return what makes a query see what others have committed since the transaction began: a lock."""
        return "FOR UPDATE" if self._is_locked and sees_the_past(cursor) else ""

    # Writing, inside the transaction that is open

    def create(self, plan: Plan, *, name: str, root_id: str, parent_id: str | None, now_ms: int) -> None:
        """Keep a canvas that is sent."""

        def write(cursor: CursorWrapper) -> None:
            _insert(cursor, plan)
            Workflow.objects.using(self._using).create(
                id=plan.workflow_id,
                name=name[:_NAME_LENGTH],
                result_id=plan.result,
                root_id=root_id,
                parent_id=parent_id,
                created_at=_stamp(now_ms),
                size=len(plan.steps),
                remaining=len(plan.steps),
            )

        self._write(write)

    def add_headers(self, workflow_id: str, headers: Mapping[str, str]) -> None:
        """Let all steps that are sent from now on carry these headers, unless they have others of that name."""
        Workflow.objects.using(self._using).filter(pk=workflow_id).update(headers=json.dumps(dict(headers)))

    def extend(self, plan: Plan) -> None:
        """Keep a plan whose workflow is there."""

        def write(cursor: CursorWrapper) -> None:
            _insert(cursor, plan)
            cursor.execute(
                f"UPDATE {_WORKFLOWS} SET size = size + %s WHERE id = %s",  # noqa: S608
                [len(plan.steps), id_writer(cursor)(plan.workflow_id)],
            )

        self._write(write)

    def lock(self, workflow_ids: Sequence[str]) -> dict[str, Head]:
        """Lock workflows until the transaction ends, and return them."""

        return self._write(lambda cursor: _heads(cursor, workflow_ids, for_update(cursor)))

    def touch(self, workflow_id: str, *, revoke: bool = False) -> None:
        """Note that steps of a workflow must be looked at before they are opened; ``revoke``: that none is any more."""
        revoked = {"revoked_at": clock.stamp()} if revoke else {}
        Workflow.objects.using(self._using).filter(pk=workflow_id).update(is_touched=True, **revoked)

    def reopen(
        self, workflow_id: str, *, steps: Sequence[str], barriers: Sequence[KeptBarrier], remaining: int
    ) -> None:
        """Let steps that never ran wait again, and barriers stand as is said here, without what was reported."""

        def write(cursor: CursorWrapper) -> None:
            noting.change_steps(cursor, steps, "cause = NULL, opened = NULL, source = ''", [])
            for kept in barriers:
                noting.change_barrier(cursor, kept)
            MEMBERS.delete(cursor, "barrier", [kept.barrier.id for kept in barriers])

        self._write(write)
        Workflow.objects.using(self._using).filter(pk=workflow_id).update(
            remaining=F("remaining") + remaining, finished_at=None, expires_at=None
        )

    def note(self, changes: Changes, now_ms: int) -> None:
        """Keep what has changed, and which workflows have finished with it."""

        self._write(lambda cursor: noting.note(cursor, changes, now_ms))

    # Reading

    def head(self, workflow_id: str) -> Head | None:
        """Return a workflow, without a lock."""
        return self._ask(lambda cursor: _heads(cursor, [workflow_id])).get(workflow_id)

    def steps(self, step_ids: Sequence[str], *, texts: bool = False) -> dict[str, KeptStep]:
        """Return steps; ``texts``: with their signatures."""
        columns = (*STEP_COLUMNS, "signature") if texts else STEP_COLUMNS

        def read(cursor: CursorWrapper) -> dict[str, KeptStep]:
            rows = STEPS.select(cursor, "id", step_ids, columns=columns, more=self._now(cursor))
            width = len(STEP_COLUMNS)
            return {row[0]: codec.step_of(row[:width], row[width] if texts else "") for row in rows}

        return self._ask(read) if step_ids else {}

    def steps_of(self, workflow_id: str) -> list[KeptStep]:
        """Return all steps of a workflow, without their signatures, in the order of their ids."""
        return self._select_steps("workflow_id", workflow_id)

    def entering(self, barrier_id: str) -> list[KeptStep]:
        """Return the steps whose ``entry`` is this barrier, in the order of their ids, without their signatures."""
        return self._select_steps("entry", barrier_id)

    def _select_steps(self, column: str, value: str) -> list[KeptStep]:
        def read(cursor: CursorWrapper) -> list[KeptStep]:
            more = f"ORDER BY id {self._now(cursor)}"
            rows = STEPS.select(cursor, column, [value], columns=STEP_COLUMNS, more=more)
            return [codec.step_of(row) for row in bounds.speaking(rows)]

        return self._ask(read)

    def barriers(self, barrier_ids: Sequence[str]) -> dict[str, KeptBarrier]:
        """Return barriers."""

        def read(cursor: CursorWrapper) -> dict[str, KeptBarrier]:
            rows = BARRIERS.select(cursor, "id", barrier_ids, more=self._now(cursor))
            return {row[0]: codec.barrier_of(row) for row in rows}

        return self._ask(read) if barrier_ids else {}

    def barriers_of(self, workflow_id: str) -> list[KeptBarrier]:
        """Return all barriers of a workflow."""
        return self._ask(
            lambda cursor: [codec.barrier_of(row) for row in BARRIERS.select(cursor, "workflow_id", [workflow_id])]
        )

    def scopes(self, scope_ids: Sequence[str]) -> dict[str, Scope]:
        """Return scopes."""

        def read(cursor: CursorWrapper) -> dict[str, Scope]:
            rows = SCOPES.select(cursor, "id", scope_ids, more=self._now(cursor))
            return {row[0]: codec.scope_of(row) for row in rows}

        return self._ask(read)

    def reported(self, joins: Sequence[Join]) -> set[tuple[str, int]]:
        """Return (barrier, position) of those of these members that have reported."""

        def read(cursor: CursorWrapper) -> set[tuple[str, int]]:
            found: set[tuple[str, int]] = set()
            by_barrier = groupby(sorted((join.barrier, join.index) for join in joins), key=lambda pair: pair[0])
            for barrier, pairs in by_barrier:
                for condition, some in among_numbers(cursor, [position for _, position in pairs]):
                    cursor.execute(
                        f"SELECT position FROM {MEMBERS.name} WHERE barrier = %s"  # noqa: S608
                        f" AND position {condition} {self._now(cursor)}",
                        [id_writer(cursor)(barrier), *some],
                    )
                    found.update((barrier, row[0]) for row in cursor.fetchall())
            return found

        return self._ask(read) if joins else set()

    def members(self, barrier_ids: Sequence[str]) -> dict[str, list[Member]]:
        """Return the members of barriers that have reported, in their order."""

        def read(cursor: CursorWrapper) -> dict[str, list[Member]]:
            found: dict[str, list[Member]] = {one: [] for one in barrier_ids}
            for row in MEMBERS.select(cursor, "barrier", barrier_ids, more="ORDER BY position"):
                found[row[0]].append(Member._make(row))
            return found

        return self._ask(read) if barrier_ids else {}

    def joining(self, barrier_ids: Sequence[str]) -> dict[str, list[tuple[str, bool]]]:
        """Return who is to report to barriers, in their order: ids, and whether each is a barrier itself."""
        found: dict[str, list[tuple[str, bool]]] = {one: [] for one in barrier_ids}
        for barrier, _, one, is_barrier in sorted(self._aiming(barrier_ids, "AND position >= 0")):
            found[barrier].append((one, is_barrier))
        return found

    def before(self, step_id: str) -> list[str]:
        """Return the ids of the steps and barriers that a step or barrier follows."""
        return [one for _, _, one, _ in self._aiming([step_id], "AND (position IS NULL OR position < 0)")]

    def _aiming(self, targets: Sequence[str], more: str) -> list[tuple[str, int, str, bool]]:
        """Return (target, position, id, is it a barrier) of what is followed by these."""
        columns = ("target", "position", "id")

        def read(cursor: CursorWrapper) -> list[tuple[str, int, str, bool]]:
            return [
                (row[0], -1 if row[1] is None else row[1], row[2], table is BARRIERS)
                for table in (STEPS, BARRIERS)
                for row in table.select(cursor, "target", targets, columns=columns, more=more)
            ]

        return self._ask(read) if targets else []

    def revive(self, workflow_id: str) -> None:
        """Take back that a workflow was revoked."""
        Workflow.objects.using(self._using).filter(pk=workflow_id).update(revoked_at=None)

    def unfinished(self, *, before_ms: int, limit: int) -> list[str]:
        """Return the ids of workflows that were sent before a moment and have not finished, oldest first."""
        found = Workflow.objects.using(self._using).filter(finished_at=None, created_at__lt=_stamp(before_ms))
        return self._ask(lambda _: [str(pk) for pk in found.order_by("id").values_list("pk", flat=True)[:limit]])

    def open_steps(self, *, before_ms: int, limit: int) -> list[KeptStep]:
        """Return the steps of unfinished workflows that were sent before a moment and have no row, oldest first."""

        def read(cursor: CursorWrapper) -> list[str]:
            cursor.execute(_OPEN, [before_ms, limit])
            return [str(id_of(row[0])) for row in cursor.fetchall()]

        ids = self._ask(read)
        found = self.steps(ids)
        return [found[one] for one in ids if one in found]

    def prune(self, *, limit: int) -> int:
        """Delete about ``limit`` rows of workflows whose time is over. Return how many; under the limit: all."""
        return self._write(lambda cursor: pruning.prune(cursor, self._using, limit))

    def _write(self, action: Callable[[CursorWrapper], T]) -> T:
        return self._run(action, wait_ms=self._wait_ms)


def _stamp(moment_ms: int) -> datetime:
    return clock.as_stamp(clock.from_ms(moment_ms))


def _heads(cursor: CursorWrapper, workflow_ids: Sequence[str], more: str = "") -> dict[str, Head]:
    ids = sorted(workflow_ids)  # in one order, so that nobody waits in a circle
    heads: dict[str, Head] = {}
    for condition, some in among(cursor, ids):
        cursor.execute(f"{_HEAD} {condition} ORDER BY id {more}", some)
        for row in cursor.fetchall():
            touched, root_id, parent_id = bool(row[3]), id_of(row[4]), id_of(row[5])
            headers = json.loads(row[6]) if row[6] else {}
            head = Head(str(id_of(row[0])), row[1], row[2], touched, root_id, parent_id, headers, row[7] is not None)
            heads[head.id] = head
    return heads


def _insert(cursor: CursorWrapper, plan: Plan) -> None:
    STEPS.insert(cursor, [codec.step_row(step) for step in bounds.speaking(plan.steps)])
    BARRIERS.insert(cursor, [codec.barrier_row(barrier) for barrier in plan.barriers])
    SCOPES.insert(cursor, [codec.scope_row(scope) for scope in plan.scopes])
