"""What is known of the workflows that a transaction has locked: read when it is asked for, kept with its changes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from django_jobs import clock
from django_jobs.canvas.opening import Arrival, Tally
from django_jobs.canvas.records import Barrier, Join, Plan, Scope, Step, Then
from django_jobs.results.workflows import BaseWorkflows, Changes, KeptBarrier, KeptStep, Member

logger = logging.getLogger("django_jobs")

#: After so many records that were not at hand, the whole workflow is read: what can no longer run may be a long chain.
MOST_MISSES = 3


class StoredBook:
    """A ``canvas.opening.Book`` of workflows that are kept."""

    def __init__(self, workflows: BaseWorkflows) -> None:
        self._workflows = workflows
        self._steps: dict[str, KeptStep | Step] = {}
        self._barriers: dict[str, KeptBarrier] = {}
        self._scopes: dict[str, Scope] = {}
        self._entries: dict[str, Sequence[KeptStep | Step]] = {}
        #: Members whose report was looked for, and those that were found, or have reported since.
        self._asked: set[tuple[str, int]] = set()
        self._reported: set[tuple[str, int]] = set()
        self._unreported: set[str] = set()
        #: Of those that were opened again, the ones whose failures have not failed them yet: they are new to them.
        self._unfailed: set[str] = set()
        self._misses: dict[str, int] = {}
        self._read: set[str] = set()
        #: Is it a failure that is gone after?
        self.is_failing = False
        #: The workflow that is gone through.
        self.workflow_id = ""
        self.changes = Changes()

    def load(self, step_ids: Sequence[str], *, trusting: bool = False) -> None:
        """
        Read what is needed when these steps have ended, in a few queries.

        ``trusting``: they have not reported to their barriers before. If one has, for somebody has deleted the row that
        says how it ended, the database refuses the second report (IntegrityError), and the transaction with it.
        """
        steps = self._workflows.steps([one for one in step_ids if one not in self._steps])
        self._steps |= steps
        places = [place for step in steps.values() for place in (step.continuation, *step.callbacks)]
        joins = [place for place in places if isinstance(place, Join)]
        self._barriers |= self._workflows.barriers(sorted({join.barrier for join in joins} - self._barriers.keys()))
        nexts = {place.target for place in places if isinstance(place, Then) and not place.fan_out}
        self._steps |= self._workflows.steps(sorted(nexts - self._steps.keys()), texts=True)
        if not trusting:
            self._reported |= self._workflows.reported(joins)
        self._asked.update((join.barrier, join.index) for join in joins)

    def know(
        self,
        steps: Iterable[KeptStep],
        barriers: Iterable[KeptBarrier],
        *,
        unreported: Collection[str],
        unfailed: Collection[str],
    ) -> None:
        """
        Take in what has been read already. ``unreported``: barriers to which nobody has reported; ``unfailed``: those
        to which an old failure is a new one.
        """
        self._steps |= {step.id: step for step in steps}
        self._barriers |= {kept.barrier.id: kept for kept in barriers}
        self._unreported.update(unreported)
        self._unfailed.update(unfailed)

    def add(self, plan: Plan) -> None:
        """Take in a plan that was just kept. Its scopes are read when they are needed, as those from before it are."""
        self._steps |= {step.id: step for step in plan.steps}
        self._barriers |= {barrier.id: KeptBarrier(barrier) for barrier in plan.barriers}
        entries: dict[str, list[KeptStep | Step]] = {barrier.id: [] for barrier in plan.barriers}
        for step in plan.steps:
            if step.entry is not None:
                entries.setdefault(step.entry, []).append(step)
        self._entries |= entries

    def find(self, step_id: str) -> KeptStep | Step | None:
        """Return a step; None: there is none with this id."""
        if step_id not in self._steps:
            self._steps |= self._workflows.steps([step_id], texts=True)
        return self._steps.get(step_id)

    # What following asks and says

    def step(self, step_id: str) -> KeptStep | Step:
        """Return a step."""
        if step_id not in self._steps:
            self._missed()
        found = self.find(step_id)
        if found is None:
            raise LookupError(f"The step {step_id} of the workflow {self.workflow_id} is gone.")
        return found

    def barrier(self, barrier_id: str) -> Barrier:
        """Return a barrier, as large as it is now."""
        return self._kept(barrier_id).barrier

    def _kept(self, barrier_id: str) -> KeptBarrier:
        if barrier_id not in self._barriers:
            self._missed()
        if barrier_id not in self._barriers:
            self._barriers |= self._workflows.barriers([barrier_id])
        try:
            return self._barriers[barrier_id]
        except KeyError:
            raise LookupError(f"The barrier {barrier_id} of the workflow {self.workflow_id} is gone.") from None

    def scope(self, scope_id: str) -> Scope:
        """Return a scope."""
        if scope_id not in self._scopes:
            self._scopes |= self._workflows.scopes([scope_id])
        if scope_id not in self._scopes:
            # Somebody has deleted the row: that must not keep what follows the failure from its end.
            logger.error("The error callbacks %s of the workflow %s are gone", scope_id, self.workflow_id)
            self._scopes[scope_id] = Scope(id=scope_id, workflow_id=self.workflow_id, errbacks=())
        return self._scopes[scope_id]

    def entries(self, barrier_id: str) -> Iterable[KeptStep | Step]:
        """Return the steps whose ``entry`` is this barrier."""
        if barrier_id not in self._entries:
            self._missed()
        if barrier_id not in self._entries:
            found = self._workflows.entering(barrier_id)
            self._steps |= {step.id: step for step in found}
            self._entries[barrier_id] = found
        return self._entries[barrier_id]

    def report(
        self, barrier_id: str, members: Sequence[Arrival], cause: str | None, *, is_old: bool = False
    ) -> Tally | None:
        """
        Note how members ended. None: all of them have reported already, or their barrier is resolved.

        An open barrier with failures and without a cause has failed for all of them before.
        """
        kept = self._kept(barrier_id)
        if kept.resolved_ms is not None:
            return None
        new = [one for one in members if not self._has_reported(barrier_id, one.position)]
        if not new:
            return None
        self._reported.update((barrier_id, one.position) for one in new)
        self.changes.members += [Member(barrier_id, one.position, one.source, cause) for one in new]
        kept = kept._replace(
            reported=kept.reported + len(new),
            failed=kept.failed + (0 if cause is None else len(new)),
            cause=kept.cause or (None if is_old and barrier_id not in self._unfailed else cause),
        )
        self._change(kept)
        return Tally(kept.reported, kept.failed, kept.cause)

    def failure_in(self, barrier_id: str) -> str:
        """Return a step whose failure was reported to a barrier."""
        reported = [one for one in self.changes.members if one.barrier == barrier_id and one.cause is not None]
        members = reported or self._workflows.members([barrier_id])[barrier_id]
        return next(one.cause for one in members if one.cause is not None)

    def _has_reported(self, barrier_id: str, index: int) -> bool:
        key = (barrier_id, index)
        if barrier_id not in self._unreported and key not in self._asked and key not in self._reported:
            self._asked.add(key)
            self._reported |= self._workflows.reported([Join(barrier_id, index)])
        return key in self._reported

    def resolve(self, barrier_id: str, cause: str | None) -> None:
        """Note that a barrier is resolved: opened, or failed because of the step ``cause``."""
        self._change(self._kept(barrier_id)._replace(cause=cause, resolved_ms=clock.now_ms()))

    def _change(self, kept: KeptBarrier) -> None:
        self._barriers[kept.barrier.id] = self.changes.barriers[kept.barrier.id] = kept

    def _missed(self) -> None:
        """Count that something was not at hand, and read all of the workflow when that happens too often."""
        if not self.is_failing:
            return  # what goes on well needs few of them, however large the workflow is
        misses = self._misses[self.workflow_id] = self._misses.get(self.workflow_id, 0) + 1
        if misses != MOST_MISSES or not self.workflow_id or self.workflow_id in self._read:
            return
        self._read.add(self.workflow_id)
        entries: dict[str, list[KeptStep | Step]] = {}
        for step in self._workflows.steps_of(self.workflow_id):
            self._steps.setdefault(step.id, step)
            if step.entry is not None:
                entries.setdefault(step.entry, []).append(step)
        for kept in self._workflows.barriers_of(self.workflow_id):
            self._barriers.setdefault(kept.barrier.id, kept)
            entries.setdefault(kept.barrier.id, [])
        self._entries = entries | self._entries

    def settle(self, kept: KeptBarrier, cause: str | None) -> None:
        """Note that a barrier is resolved, whatever is still to be reported to it."""
        self._change(kept._replace(cause=cause, resolved_ms=clock.now_ms()))

    def resize(self, kept: KeptBarrier, size: int) -> None:
        """Note that a barrier has more members from now on."""
        self._change(kept._replace(barrier=replace(kept.barrier, size=size)))

    def is_barrier(self, record_id: str) -> bool:
        """Say whether an id is that of a barrier that was looked at."""
        return record_id in self._barriers
