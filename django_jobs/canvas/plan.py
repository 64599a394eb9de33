"""From a canvas to its records."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple

from django_jobs import bounds
from django_jobs.canvas.composition import Chain, Chord, Group
from django_jobs.canvas.expression import EMPTY, Expression, merge_options
from django_jobs.canvas.records import Barrier, Continuation, Join, Plan, Scope, Step, Then
from django_jobs.canvas.signature import Signature
from django_jobs.identifiers import new_id, new_ids, parse_id


def plan(
    expression: Expression,
    *,
    workflow_id: str | None = None,
    continuation: Continuation | None = None,
    callbacks: tuple[Continuation, ...] = (),
    scopes: tuple[str, ...] = (),
    leads: tuple[str, ...] = (),
    end_id: str | None = None,
    takes_value: bool = False,
) -> Plan:
    """
    Plan a canvas. The further arguments are those of a step that it replaces, or of a barrier that it is to join;
    ``end_id``: the id of the step or barrier that it ends with, unless the canvas names one. ``takes_value``: do the
    steps that it starts with get something before their own arguments, as those of an error callback do?

    Raises ValueError for a chord without a body, and for an id that is none.
    """
    planner = _Planner(workflow_id or new_id())
    if isinstance(expression, Chain) and not expression.tasks:
        if continuation is not None or callbacks:
            raise ValueError("An empty chain cannot stand in for a task: it has no value to go on with.")
        return Plan(workflow_id=planner.workflow_id)
    place = _Place(
        end_id or new_id(),
        continuation,
        callbacks,
        takes_value=takes_value,
        scopes=scopes,
        around=scopes,
        leads=leads,
    )
    made = _drive(planner.expression(expression, place))
    steps = tuple(planner.steps)
    return Plan(
        workflow_id=planner.workflow_id,
        steps=steps,
        barriers=tuple(planner.barriers),
        scopes=tuple(planner.scopes),
        roots=tuple(step.id for step in steps if step.entry == made.start.target)
        if made.start.fan_out
        else (made.start.target,),
        result=made.end,
    )


class _Place(NamedTuple):
    """Where in a canvas an expression stands."""

    #: Of the step or barrier that it ends with, unless the expression names one.
    id: str
    #: Of what it ends with.
    continuation: Continuation | None = None
    callbacks: tuple[Continuation, ...] = ()
    #: Of what it starts with.
    entry: str | None = None
    takes_value: bool = False
    #: Whose errbacks run when a step here fails, outermost first.
    scopes: tuple[str, ...] = ()
    #: Whose errbacks run when a barrier fails that it was to follow. More than scopes at the start of a header.
    around: tuple[str, ...] = ()
    #: Whose errbacks run when it is a group, and fails: what is around the start of what follows. Those that are around
    #: both come first in scopes and in leads.
    leads: tuple[str, ...] = ()
    #: Options from further out, which win.
    options: Mapping[str, Any] = EMPTY


class _Made(NamedTuple):
    """What an expression has become."""

    start: Then
    #: The step or barrier that has its value.
    end: str
    #: Whose errbacks run when a barrier fails that it was to follow.
    leads: tuple[str, ...]


class _Member(NamedTuple):
    expression: Expression
    options: Mapping[str, Any] = EMPTY
    #: Of the groups that it is in, within the group that it counts for.
    scopes: tuple[str, ...] = ()
    callbacks: tuple[Continuation, ...] = ()


#: Planning goes through the canvas as recursion would, each call a generator: ``_drive`` runs the calls that it yields,
#: so the depth of a canvas is bounded by memory, not by the stack.
_Walk = Generator[Any, Any, Any]


def _drive(walk: _Walk) -> Any:
    stack, value = [walk], None
    while stack:
        try:
            call = stack[-1].send(value)
        except StopIteration as stop:
            stack.pop()
            value = stop.value
        else:
            stack.append(call)
            value = None
    return value


def _shared(scopes: tuple[str, ...], leads: tuple[str, ...]) -> int:
    """Count what two places have around them in common. Without anything that follows, it is nothing."""
    return next(
        (n for n, (one, other) in enumerate(zip(scopes, leads, strict=False)) if one != other),
        min(len(scopes), len(leads)),
    )


class _Planner:
    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        self.steps: list[Step] = []
        self.barriers: list[Barrier] = []
        self.scopes: list[Scope] = []

    def expression(self, expression: Expression, at: _Place) -> _Walk:
        """Plan any expression, and what is said of all kinds alike: options, links and errbacks."""
        options = dict(merge_options(expression.options, at.options))
        named = options.pop("job_id", None)
        scope = self._scope(expression)
        at = at._replace(
            id=at.id if named is None else parse_id(named),
            callbacks=(*at.callbacks, *(yield self._links(expression))),
            scopes=at.scopes + scope,
            around=at.around + scope,
            options=options,
        )
        if isinstance(expression, Signature):
            return self._step(expression, at)
        return (yield _KINDS[expression.kind](self, expression, at))

    def _scope(self, expression: Expression) -> tuple[str, ...]:
        errbacks = tuple(errback for errback in expression.errbacks if not errback.is_empty)
        if not errbacks:
            return ()
        self.scopes.append(Scope(id=new_id(), workflow_id=self.workflow_id, errbacks=errbacks))
        return (self.scopes[-1].id,)

    def _links(self, expression: Expression) -> _Walk:
        """Plan the callbacks of an expression: canvases of their own, which nothing waits for."""
        made = []
        for link in expression.links:
            if not link.is_empty:
                made.append((yield self.expression(link, _Place(new_id(), takes_value=True))).start)
        return tuple(made)

    def _step(self, signature: Signature, at: _Place) -> _Made:
        bare = Signature(
            task=signature.task,
            args=signature.args,
            kwargs=signature.kwargs,
            immutable=signature.immutable,
            options=at.options,
        )
        self.steps.append(
            Step(
                id=at.id,
                workflow_id=self.workflow_id,
                signature=bare,
                continuation=at.continuation,
                callbacks=at.callbacks,
                entry=at.entry,
                takes_value=at.takes_value and not signature.immutable,
                scopes=at.scopes,
                leads=at.leads,
            )
        )
        return _Made(Then(at.id), at.id, at.around)

    def _chain(self, chain: Chain, at: _Place) -> _Walk:
        """Plan the tasks from the last to the first: each has to know what it opens."""
        ids = [*new_ids(len(chain.tasks) - 1), at.id]
        following = made = yield self.expression(
            chain.tasks[-1],
            at._replace(options=EMPTY, entry=None, takes_value=True, around=at.scopes) if len(chain.tasks) > 1 else at,
        )
        for position in range(len(chain.tasks) - 2, -1, -1):
            place = _Place(
                ids[position],
                following.start,
                takes_value=True,
                scopes=at.scopes,
                around=at.scopes,
                leads=following.leads,
            )
            if position == 0:
                place = place._replace(entry=at.entry, takes_value=at.takes_value, around=at.around, options=at.options)
            following = yield self.expression(chain.tasks[position], place)
        return following._replace(end=made.end)

    def _group(self, group: Group, at: _Place) -> _Walk:
        """Plan a barrier, and the members that join it."""
        members: list[_Member] = yield self._members(group)
        self.barriers.append(
            Barrier(
                id=at.id,
                workflow_id=self.workflow_id,
                size=len(members),
                continuation=at.continuation,
                callbacks=at.callbacks,
                on_member_failure=group.on_member_failure or "fail_fast",
                allow_failures=group.allow_failures or 0,
                scopes=at.leads,
            )
        )
        # What follows a header tells of its failure, once; what is around both need not tell of each member's, too.
        scopes = at.scopes[_shared(at.scopes, at.leads) :]
        leads = dict.fromkeys(at.around)
        named = bounds.speaking(zip(members, new_ids(len(members)), strict=True))  # a replacement in a transaction
        for index, (member, member_id) in enumerate(named):
            expression = member.expression
            place = _Place(
                member_id,
                Join(at.id, index),
                member.callbacks,
                entry=at.entry or at.id,
                takes_value=at.takes_value,
                scopes=scopes + member.scopes,
                around=at.around + member.scopes,
                options=merge_options(member.options, at.options),
            )
            if type(expression) is Signature and not (expression.options or expression.links or expression.errbacks):
                made = self._step(expression, place)  # the usual member of a large group, without a detour
            else:
                made = yield self.expression(expression, place)
            if made.leads is not at.around:
                leads |= dict.fromkeys(made.leads)
        return _Made(Then(at.id, fan_out=True), at.id, tuple(leads))

    def _members(self, group: Group) -> _Walk:
        """List the members of a group, those of groups directly in it included: they report to one barrier."""
        members: list[_Member] = []
        for task in group.tasks:
            if task.is_empty:
                continue
            if not isinstance(task, Group):
                members.append(_Member(task))
                continue
            if task.has_rules:
                raise ValueError(
                    f"{task!r} is a member of a group, and counts as its members there: say on_member_failure and"
                    " allow_failures of the outer group, or wrap the inner one as chain(group(...)) to make it a member"
                    " of its own, whose value is a list."
                )
            inner: list[_Member] = yield self._members(task)
            scope, sides = self._scope(task), (yield self._side_barrier(task, len(inner)))
            members += [
                _Member(
                    member.expression,
                    merge_options(member.options, task.options),
                    scope + member.scopes,
                    (*member.callbacks, *(Join(side, index) for side in sides)),
                )
                for index, member in enumerate(inner)
            ]
        return members

    def _side_barrier(self, group: Group, size: int) -> _Walk:
        """Plan what the members of an inner group report to besides, when it has callbacks of its own."""
        callbacks = yield self._links(group)
        if not callbacks:
            return ()
        self.barriers.append(Barrier(id=new_id(), workflow_id=self.workflow_id, size=size, callbacks=callbacks))
        return (self.barriers[-1].id,)

    def _chord(self, chord: Chord, at: _Place) -> _Walk:
        """Plan the body, and the header that opens it."""
        if chord.body is None:
            raise ValueError(f"{chord!r} has no body: chord(header, body), or chord(header)(body), which sends it.")
        if chord.body.is_empty:
            return (yield self.expression(chord.header, at))
        if chord.header.is_empty:
            # Nothing to wait for: the body starts at once, with a list of nothing.
            return (yield self.expression(chord.body.clone(([],)), at._replace(takes_value=False)))
        moments = ("countdown", "eta")  # they delay the chord, which is its header
        options = {name: value for name, value in at.options.items() if name not in moments}
        body = yield self.expression(
            chord.body, at._replace(entry=None, takes_value=True, around=at.scopes, options=options)
        )
        header = yield self.expression(
            chord.header,
            at._replace(id=new_id(), continuation=body.start, callbacks=(), leads=body.leads),
        )
        return header._replace(end=body.end)


_KINDS: Mapping[str, Callable[[_Planner, Any, _Place], _Walk]] = {
    "chain": _Planner._chain,
    "group": _Planner._group,
    "chunks": _Planner._group,
    "chord": _Planner._chord,
}
