"""
What follows when a step of a canvas has ended, or a barrier has been resolved.

Pure: a ``Book`` tells what was planned and takes reports, and ``follow`` says what to do. Everything that can no longer
run is told to end, so nothing waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from django_jobs.canvas.expression import Expression
from django_jobs.canvas.records import Barrier, Continuation, Join, KeptErrback, Opener, Plan, Scope, Then
from django_jobs.identifiers import derived_id, moment_of


class Tally(NamedTuple):
    """What a barrier knows after a report."""

    reported: int
    failed: int = 0
    #: The step whose failure was reported first, of those that were not told before.
    cause: str | None = None


class Arrival(NamedTuple):
    """A member that has ended: its place in the barrier, and the step or barrier that has its value."""

    position: int
    source: str


class Book(Protocol):
    """The records of the workflows that are looked at, and what was reported so far."""

    def step(self, step_id: str) -> Opener:
        """Return a step."""
        ...

    def barrier(self, barrier_id: str) -> Barrier:
        """Return a barrier, as large as it is now."""
        ...

    def scope(self, scope_id: str) -> Scope:
        """Return a scope."""
        ...

    def entries(self, barrier_id: str) -> Iterable[Opener]:
        """Return the steps whose ``entry`` is this barrier."""
        ...

    def report(
        self, barrier_id: str, members: Sequence[Arrival], cause: str | None, *, is_old: bool = False
    ) -> Tally | None:
        """
        Note how members ended: with the value of their step or barrier, or failed because of the step ``cause``;
        ``is_old``: which was followed before. Return what the barrier knows now, or None when all of them have reported
        already, or the barrier is resolved: nothing follows from it then.
        """
        ...

    def failure_in(self, barrier_id: str) -> str:
        """Return a step whose failure was reported to a barrier."""
        ...

    def resolve(self, barrier_id: str, cause: str | None) -> None:
        """Note that a barrier is resolved: opened, or failed because of the step ``cause``."""
        ...


class Opened(NamedTuple):
    """A step that is to be sent now."""

    step: str
    #: The step or barrier whose value comes before it; None: none does.
    source: str | None


class Ended(NamedTuple):
    """A step that will never run, and whose end is to be recorded."""

    step: str
    #: The step whose failure is the reason.
    cause: str


class ErrorCall(NamedTuple):
    """An error callback that is to be sent."""

    #: Always the same for this callback and this failure: sending it twice runs it once.
    id: str
    errback: Expression | KeptErrback
    #: What failed: a step, or a barrier.
    failed: str
    #: The step whose failure is the reason: the same, if that is a step.
    cause: str
    #: Of a barrier: has everything that failed it failed it before?
    is_old: bool = False


@dataclass(slots=True)
class Following:
    """What follows, in order."""

    opened: list[Opened] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    errors: list[ErrorCall] = field(default_factory=list)


def begin(book: Book, plan: Plan) -> Following:
    """Say what to do with a plan that was noted in the book."""
    walk = _Walk(book)
    walk.following.opened += [Opened(step_id, None) for step_id in plan.roots]
    for barrier in plan.barriers:
        if barrier.size == 0:  # a group of nothing, which is the whole plan
            walk.resolve(barrier, None)
    return walk.finish()


def follow(book: Book, step: Opener, *, failed: bool, quiet: bool = False, is_old: bool = False) -> Following:
    """
    Say what follows a step that has ended, for good. Revoked, expired and lost are ways to fail.

    ``quiet``: no error callback is called; ``is_old``: this failure was followed before.
    """
    walk = _Walk(book, quiet=quiet)
    if failed:
        walk.call_errbacks(step.scopes, step.id, step.id)
    walk.go_on(step, step.id, step.id if failed else None, is_old=is_old)
    return walk.finish()


def report(book: Book, barrier_id: str, members: Sequence[Arrival]) -> Following:
    """Say what follows when members of a barrier have ended well: nothing, unless it was the last of them."""
    walk = _Walk(book)
    walk.report(barrier_id, members, None)
    return walk.finish()


class _Item(NamedTuple):
    """A continuation that is to be followed."""

    continuation: Continuation
    #: What has the value.
    source: str
    #: The step whose failure is to be told instead of a value; None: it succeeded.
    cause: str | None = None
    #: Is it part of what a failure has made unreachable? Barriers there have no members that run.
    is_unreachable: bool = False
    #: Was this failure followed before?
    is_old: bool = False


class _Walk:
    """One walk along continuations, without recursion: a chain may have any length."""

    def __init__(self, book: Book, *, quiet: bool = False) -> None:
        self.book = book
        self._quiet = quiet
        self.following = Following()
        self._todo: list[_Item] = []
        self._skipped: set[str] = set()

    def finish(self) -> Following:
        while self._todo:
            item = self._todo.pop()
            if item.cause is None:
                self._pass_on(item)
            elif isinstance(item.continuation, Then):
                self._skip(item.continuation, item, item.cause)
            elif item.is_unreachable:
                self._skip_barrier(item.continuation.barrier, item)
            else:
                self._report_one(item.continuation, item)
        return self.following

    def go_on(
        self,
        ended: Opener | Barrier,
        source: str,
        cause: str | None,
        *,
        unreachable: bool = False,
        is_old: bool = False,
    ) -> None:
        """Follow all that comes after a step or barrier."""
        if ended.continuation is not None:
            self._todo.append(_Item(ended.continuation, source, cause, unreachable, is_old))
        self._todo += [_Item(callback, source, cause, unreachable, is_old) for callback in ended.callbacks]

    def resolve(self, barrier: Barrier, cause: str | None, *, is_old: bool = False) -> None:
        """Open a barrier, or let it fail."""
        self.book.resolve(barrier.id, cause)
        if cause is not None:
            self.call_errbacks(barrier.scopes, barrier.id, cause, is_old=is_old)
        self.go_on(barrier, barrier.id, cause, is_old=is_old)

    def call_errbacks(self, scopes: Iterable[str], failed: str, cause: str, *, is_old: bool = False) -> None:
        """Call the error callbacks of these scopes for a failure, each once, however often it was attached."""
        if self._quiet:
            return
        called: set[Expression | KeptErrback] = set()
        moment_ms = moment_of(failed)
        for scope_id in reversed(tuple(scopes)):
            for number, errback in enumerate(self.book.scope(scope_id).errbacks):
                if errback not in called:
                    called.add(errback)
                    call_id = derived_id(moment_ms, "errback", failed, scope_id, str(number))
                    self.following.errors.append(ErrorCall(call_id, errback, failed, cause, is_old))

    def _pass_on(self, item: _Item) -> None:
        match item.continuation:
            case Then(target, fan_out=True):
                self.following.opened += [Opened(step.id, item.source) for step in self.book.entries(target)]
            case Then(target):
                self.following.opened.append(Opened(target, item.source))
            case Join() as join:
                self._report_one(join, item)

    def _report_one(self, join: Join, item: _Item) -> None:
        self.report(join.barrier, [Arrival(join.index, item.source)], item.cause, is_old=item.is_old)

    def report(self, barrier_id: str, members: Sequence[Arrival], cause: str | None, *, is_old: bool = False) -> None:
        """Report to a barrier, and open it, or let it fail, if what it knows now says so."""
        tally = self.book.report(barrier_id, members, cause, is_old=is_old)
        if tally is None:
            return
        barrier = self.book.barrier(barrier_id)
        fails = tally.failed > barrier.allow_failures
        if tally.reported < barrier.size and not (fails and barrier.on_member_failure == "fail_fast"):
            return
        if not fails or tally.cause is not None:
            self.resolve(barrier, tally.cause if fails else None)
        else:
            self.resolve(barrier, cause or self.book.failure_in(barrier.id), is_old=True)

    def _skip(self, then: Then, item: _Item, cause: str) -> None:
        """End what would have run, and all that would have followed."""
        if then.fan_out:
            for step in self.book.entries(then.target):
                self._end(step, item, cause, unreachable=True)
            # Its members are unreachable; what follows it is in the same place as what stood before it.
            self._skipped.add(then.target)
            barrier = self.book.barrier(then.target)
            self.book.resolve(barrier.id, cause)
            self.go_on(barrier, barrier.id, cause, unreachable=item.is_unreachable, is_old=item.is_old)
        else:
            self._end(self.book.step(then.target), item, cause, unreachable=item.is_unreachable)

    def _end(self, step: Opener, item: _Item, cause: str, *, unreachable: bool) -> None:
        self.following.ended.append(Ended(step.id, cause))
        self.go_on(step, step.id, cause, unreachable=unreachable, is_old=item.is_old)

    def _skip_barrier(self, barrier_id: str, item: _Item) -> None:
        """End what follows a barrier of which no member can run, once."""
        if barrier_id in self._skipped:
            return
        self._skipped.add(barrier_id)
        barrier = self.book.barrier(barrier_id)
        self.book.resolve(barrier_id, item.cause)
        self.go_on(barrier, barrier_id, item.cause, unreachable=True, is_old=item.is_old)
