"""Workflows in memory: for tests that may not use the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django_jobs.canvas.records import Barrier, Continuation, Join, Plan, Scope, Then
from django_jobs.results.workflows import BaseWorkflows, Changes, Head, KeptBarrier, KeptStep, Member
from django_jobs.serializers import dump_packed


class MemoryWorkflows(BaseWorkflows):
    """Keeps workflows in dictionaries. Nothing is undone: what a transaction would roll back stays."""

    def __init__(self) -> None:
        self._heads: dict[str, Head] = {}
        self._steps: dict[str, KeptStep] = {}
        self._barriers: dict[str, KeptBarrier] = {}
        self._scopes: dict[str, Scope] = {}
        self._members: dict[str, dict[int, Member]] = {}

    def create(self, plan: Plan, *, name: str, root_id: str, parent_id: str | None, now_ms: int) -> None:
        """Keep a canvas that is sent."""
        self._heads[plan.workflow_id] = Head(plan.workflow_id, len(plan.steps), root_id=root_id, parent_id=parent_id)
        self._insert(plan)

    def add_headers(self, workflow_id: str, headers: Mapping[str, str]) -> None:
        """Let all steps that are sent from now on carry these headers."""
        self._heads[workflow_id] = self._heads[workflow_id]._replace(headers=dict(headers))

    def extend(self, plan: Plan) -> None:
        """Keep a plan whose workflow is there."""
        self._insert(plan)

    def _insert(self, plan: Plan) -> None:
        for step in plan.steps:
            self._steps[step.id] = KeptStep(
                id=step.id,
                workflow_id=step.workflow_id,
                task=step.signature.task,
                continuation=step.continuation,
                callbacks=step.callbacks,
                entry=step.entry,
                takes_value=step.takes_value,
                scopes=step.scopes,
                leads=step.leads,
                text=dump_packed(step.signature.to_dict()).decode("ascii"),
            )
        self._barriers |= {barrier.id: KeptBarrier(barrier) for barrier in plan.barriers}
        self._scopes |= {scope.id: scope for scope in plan.scopes}

    def lock(self, workflow_ids: Sequence[str]) -> dict[str, Head]:
        """Return workflows: there is one thread."""
        return {one: self._heads[one] for one in workflow_ids if one in self._heads}

    def touch(self, workflow_id: str, *, revoke: bool = False) -> None:
        """Note that steps of a workflow must be looked at before they are opened; ``revoke``: that none is any more."""
        head = self._heads[workflow_id]
        self._heads[workflow_id] = head._replace(is_touched=True, is_revoked=head.is_revoked or revoke)

    def reopen(
        self, workflow_id: str, *, steps: Sequence[str], barriers: Sequence[KeptBarrier], remaining: int
    ) -> None:
        """Let steps that never ran wait again, and barriers stand as is said here, without what was reported."""
        for one in steps:
            self._steps[one] = self._steps[one]._replace(cause=None, opened_ms=None, source=None)
        for kept in barriers:
            self._barriers[kept.barrier.id] = kept
            self._members.pop(kept.barrier.id, None)
        head = self._heads[workflow_id]
        self._heads[workflow_id] = head._replace(remaining=head.remaining + remaining)

    def revive(self, workflow_id: str) -> None:
        """Take back that a workflow was revoked."""
        self._heads[workflow_id] = self._heads[workflow_id]._replace(is_revoked=False)

    def unfinished(self, *, before_ms: int, limit: int) -> list[str]:
        """Return the ids of workflows that have not finished, oldest first."""
        return sorted(one for one, head in self._heads.items() if head.remaining > 0)[:limit]

    def open_steps(self, *, before_ms: int, limit: int) -> list[KeptStep]:
        """Return none: nothing is lost in memory."""
        return []

    def prune(self, *, limit: int) -> int:
        """Delete nothing."""
        return 0

    def head(self, workflow_id: str) -> Head | None:
        """Return a workflow."""
        return self._heads.get(workflow_id)

    def steps(self, step_ids: Sequence[str], *, texts: bool = False) -> dict[str, KeptStep]:
        """Return steps."""
        return {one: self._steps[one] for one in step_ids if one in self._steps}

    def steps_of(self, workflow_id: str) -> list[KeptStep]:
        """Return all steps of a workflow."""
        return self._sorted(step for step in self._steps.values() if step.workflow_id == workflow_id)

    def entering(self, barrier_id: str) -> list[KeptStep]:
        """Return the steps whose ``entry`` is this barrier."""
        return self._sorted(step for step in self._steps.values() if step.entry == barrier_id)

    @staticmethod
    def _sorted(steps: Iterable[KeptStep]) -> list[KeptStep]:
        return sorted(steps, key=lambda step: step.id)

    def barriers(self, barrier_ids: Sequence[str]) -> dict[str, KeptBarrier]:
        """Return barriers."""
        return {one: self._barriers[one] for one in barrier_ids if one in self._barriers}

    def barriers_of(self, workflow_id: str) -> list[KeptBarrier]:
        """Return all barriers of a workflow."""
        return [kept for kept in self._barriers.values() if kept.barrier.workflow_id == workflow_id]

    def scopes(self, scope_ids: Sequence[str]) -> dict[str, Scope]:
        """Return scopes."""
        return {one: self._scopes[one] for one in scope_ids if one in self._scopes}

    def reported(self, joins: Sequence[Join]) -> set[tuple[str, int]]:
        """Return (barrier, position) of those of these members that have reported."""
        return {(one.barrier, one.index) for one in joins if one.index in self._members.get(one.barrier, {})}

    def members(self, barrier_ids: Sequence[str]) -> dict[str, list[Member]]:
        """Return the members of barriers that have reported, in their order."""
        return {one: [member for _, member in sorted(self._members.get(one, {}).items())] for one in barrier_ids}

    def joining(self, barrier_ids: Sequence[str]) -> dict[str, list[tuple[str, bool]]]:
        """Return who is to report to barriers, in their order."""
        joining = sorted(
            (place.index, record_id, is_barrier, place.barrier)
            for record_id, place, is_barrier in self._places()
            if isinstance(place, Join)
        )
        found: dict[str, list[tuple[str, bool]]] = {one: [] for one in barrier_ids}
        for _, record_id, is_barrier, barrier_id in joining:
            if barrier_id in found:
                found[barrier_id].append((record_id, is_barrier))
        return found

    def before(self, step_id: str) -> list[str]:
        """Return the ids of the steps and barriers that a step or barrier follows."""
        return [
            record_id for record_id, place, _ in self._places() if isinstance(place, Then) and place.target == step_id
        ]

    def _places(self) -> list[tuple[str, Continuation | None, bool]]:
        barriers: list[Barrier] = [kept.barrier for kept in self._barriers.values()]
        return [
            *((step.id, step.continuation, False) for step in self._steps.values()),
            *((barrier.id, barrier.continuation, True) for barrier in barriers),
        ]

    def note(self, changes: Changes, now_ms: int) -> None:
        """Keep what has changed."""
        for member in changes.members:
            self._members.setdefault(member.barrier, {})[member.position] = member
        self._barriers |= changes.barriers
        for step_id, source in changes.opened:
            self._steps[step_id] = self._steps[step_id]._replace(opened_ms=now_ms, source=source)
        for step_id in changes.moved:
            self._steps[step_id] = self._steps[step_id]._replace(continuation=None, callbacks=())
        for step_id, cause in changes.ended:
            self._steps[step_id] = self._steps[step_id]._replace(cause=cause)
        for one, remaining in changes.remaining.items():
            head = self._heads[one]
            self._heads[one] = head._replace(
                remaining=head.remaining + remaining, failed=head.failed + changes.failed.get(one, 0)
            )
