"""A store of plans in memory, and a worker that runs them in any order."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django_jobs.canvas import Expression, Signature
from django_jobs.canvas.opening import Arrival, Following, Tally, begin, follow
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import Barrier, Join, Plan, Scope, Step
from tests.canvas.evaluate import BARRIER, FAILED, World, label_of


class MemoryBook:
    """What a database would hold."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.barriers: dict[str, Barrier] = {}
        self.scopes: dict[str, Scope] = {}
        self.members: dict[str, dict[int, tuple[str, str | None]]] = defaultdict(dict)
        self.resolved: dict[str, str | None] = {}
        self._entries: dict[str, list[Step]] = defaultdict(list)

    def add(self, made: Plan) -> None:
        for records in (made.steps, made.barriers, made.scopes):
            for record in records:
                assert record.workflow_id == made.workflow_id
        ids = [record.id for records in (made.steps, made.barriers, made.scopes) for record in records]
        assert len(ids) == len(set(ids))
        self.steps |= {step.id: step for step in made.steps}
        self.barriers |= {barrier.id: barrier for barrier in made.barriers}
        self.scopes |= {scope.id: scope for scope in made.scopes}
        for step in made.steps:
            if step.entry is not None:
                self._entries[step.entry].append(step)

    def step(self, step_id: str) -> Step:
        return self.steps[step_id]

    def barrier(self, barrier_id: str) -> Barrier:
        return self.barriers[barrier_id]

    def scope(self, scope_id: str) -> Scope:
        return self.scopes[scope_id]

    def entries(self, barrier_id: str) -> Iterable[Step]:
        return self._entries[barrier_id]

    def report(
        self, barrier_id: str, members: Sequence[Arrival], cause: str | None, *, is_old: bool = False
    ) -> Tally | None:
        assert not is_old, "nothing is sent again here"
        known = self.members[barrier_id]
        assert all(0 <= one.position < self.barriers[barrier_id].size for one in members)
        new = {one.position: (one.source, cause) for one in members if one.position not in known}
        if barrier_id in self.resolved or not new:
            return None
        known |= new
        causes = [told for _, told in known.values() if told is not None]
        return Tally(len(known), len(causes), causes[0] if causes else None)

    def failure_in(self, barrier_id: str) -> str:
        return next(told for _, told in self.members[barrier_id].values() if told is not None)

    def resolve(self, barrier_id: str, cause: str | None) -> None:
        assert barrier_id not in self.resolved, "a barrier is resolved once"
        self.resolved[barrier_id] = cause


class Run:
    """One run of a canvas: what a real one would do, in the order that a random generator draws."""

    def __init__(self, expression: Expression, world: World, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.book = MemoryBook()
        self.values: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()
        self.error_ids: list[str] = []
        self.ran: Counter[str] = Counter()
        self.ended: dict[str, str] = {}
        self.waiting: list[tuple[str, str | None]] = []
        self.replaced: dict[str, str | None] = {}
        self.result = self._begin(plan(expression))
        while self.waiting:
            # Any of them may be next: swap it to the end, where it costs nothing to take it.
            chosen = rng.randrange(len(self.waiting))
            self.waiting[chosen], self.waiting[-1] = self.waiting[-1], self.waiting[chosen]
            self._execute(*self.waiting.pop())

    def _begin(self, made: Plan) -> str | None:
        self.book.add(made)
        if made.result is not None:
            self._note(begin(self.book, made))
        return made.result

    def _note(self, following: Following) -> None:
        self.waiting += following.opened
        for ended in following.ended:
            assert ended.step not in self.ended, "a step ends once"
            self.ended[ended.step] = ended.cause
        for call in following.errors:
            assert isinstance(call.errback, Expression), "nothing is kept here"
            failed = self.book.steps.get(call.failed)
            self.errors[label_of(call.errback), BARRIER if failed is None else label_of(failed.signature)] += 1
            self.error_ids.append(call.id)

    def _execute(self, step_id: str, source: str | None) -> None:
        step = self.book.step(step_id)
        signature: Signature = step.signature
        label = label_of(signature)
        args = [self.value(source), *signature.args] if step.takes_value and source is not None else [*signature.args]
        self.ran[step_id] += 1
        self.calls[f"{label}{args}"] += 1
        if label in self.world.replacements and label not in self.world.failing:
            made = plan(
                self.world.replacements[label],
                workflow_id=step.workflow_id,
                continuation=step.continuation,
                callbacks=step.callbacks,
                scopes=step.scopes,
                leads=step.leads,
            )
            self.replaced[step_id] = self._begin(made)
            return
        self.values[step_id] = [label, *args]
        following = follow(self.book, step, failed=label in self.world.failing)
        self._note(following)
        if isinstance(step.continuation, Join) and not step.callbacks and not self.rng.randrange(4):
            self._settle_again(step, following)

    def _settle_again(self, step: Step, first: Following) -> None:
        """Have the same end reported twice, as by two processes that both hold it for theirs."""
        again = follow(self.book, step, failed=label_of(step.signature) in self.world.failing)
        assert not again.opened
        assert not again.ended
        assert {call.id for call in again.errors} <= {call.id for call in first.errors}

    def value(self, source: str) -> Any:
        """Return the value of a step or barrier."""
        if source in self.values:
            return self.values[source]
        members = self.book.members[source]
        return [
            FAILED if cause is not None else self.value(told)
            for _, (told, cause) in sorted(members.items())
        ]  # fmt: skip

    def end(self) -> tuple[bool, Any]:
        """Return whether the canvas has failed, and its value."""
        result = self.result
        while result in self.replaced:
            result = self.replaced[result]
        if result is None:
            return False, None
        if result in self.book.barriers:
            failed = self.book.resolved[result] is not None
        else:
            failed = result in self.ended or label_of(self.book.step(result).signature) in self.world.failing
        return failed, None if failed else self.value(result)
