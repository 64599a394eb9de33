"""Chains, groups and chords: expressions of expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, cast, overload

from django_jobs.canvas.expression import Expression, as_expression, as_expressions, from_dict, spread

OnMemberFailure = Literal["fail_fast", "wait"]
ON_MEMBER_FAILURE: tuple[OnMemberFailure, ...] = ("fail_fast", "wait")
#: Of the members of a large canvas, repr() shows so many.
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Several(Expression):
    """Expressions in an order. An index gives one of them, a slice the same with some of them."""

    tasks: tuple[Expression, ...] = ()

    @property
    def parts(self) -> tuple[Expression, ...]:
        return self.tasks

    def map_parts(self, change: Callable[[Expression], Expression]) -> Self:
        return replace(self, tasks=tuple(map(change, self.tasks)))

    def pack_parts(self) -> dict[str, Any]:
        return {self.kind: [task.to_dict() for task in self.tasks]}

    @classmethod
    def unpack_parts(cls, data: Mapping[str, Any]) -> Self:
        return cls(tasks=tuple(from_dict(item) for item in data[cls.kind]))

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True  # an empty one is a canvas, too

    def __iter__(self) -> Iterator[Expression]:
        return iter(self.tasks)

    @overload
    def __getitem__(self, index: int) -> Expression: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Expression | Self:
        return replace(self, tasks=self.tasks[index]) if isinstance(index, slice) else self.tasks[index]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.tasks[:_SHOWN]))
        rest = len(self.tasks) - _SHOWN
        return f"{self.kind}({shown}{f', ... {rest} more' if rest > 0 else ''})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Chain(Several):
    """One after the other, each with the value of the one before. Its value is that of the last."""

    kind: ClassVar[str] = "chain"

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Self:
        return self._with_first(lambda first: first.bind(args, kwargs))

    def fix(self, immutable: bool) -> Self:
        return self._with_first(lambda first: first.fix(immutable))

    def _with_first(self, change: Callable[[Expression], Expression]) -> Self:
        return replace(self, tasks=(change(self.tasks[0]), *self.tasks[1:])) if self.tasks else self


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Group(Several):
    """All at once. Its value is the list of theirs, in this order; a group among them counts as its members."""

    #: When may a failed member fail the group: at once, or when all have ended? None: nothing said, at once.
    on_member_failure: OnMemberFailure | None = None
    #: So many members may fail: then the list has failures in their places. None: nothing said, 0.
    allow_failures: int | None = None

    kind: ClassVar[str] = "group"

    @property
    def has_rules(self) -> bool:
        """Does it say what should become of it when members fail?"""
        return self.on_member_failure is not None or self.allow_failures is not None

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Self:
        taken = tuple(args)
        return self.map_parts(lambda member: member.bind(taken, kwargs))

    def fix(self, immutable: bool) -> Self:
        return self.map_parts(lambda member: member.fix(immutable))

    def rule(self, on_member_failure: OnMemberFailure | None, allow_failures: int | None) -> Self:
        """Return it with rules for members that fail. Raises ValueError."""
        if on_member_failure is not None and on_member_failure not in ON_MEMBER_FAILURE:
            raise ValueError(f"on_member_failure must be 'fail_fast' or 'wait', not {on_member_failure!r}.")
        if allow_failures is not None and (type(allow_failures) is not int or allow_failures < 0):
            raise ValueError(f"allow_failures must be a whole number, 0 or more, not {allow_failures!r}.")
        changes: dict[str, Any] = {"on_member_failure": on_member_failure, "allow_failures": allow_failures}
        said = {name: value for name, value in changes.items() if value is not None}
        return replace(self, **said) if said else self

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Return it with countdowns: ``start`` seconds for the first member, ``step`` more for each, up to ``stop``."""
        last = start if stop is None else max(start, start + (stop - start) // step * step)
        delays = (start + step * n for n in range(len(self.tasks)))
        return replace(
            self,
            tasks=tuple(
                member.set(countdown=delay if stop is None else min(delay, last))
                for member, delay in zip(self.tasks, delays, strict=True)
            ),
        )

    def pack_parts(self) -> dict[str, Any]:
        data = Several.pack_parts(self)
        for name in ("on_member_failure", "allow_failures"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        return data

    @classmethod
    def unpack_parts(cls, data: Mapping[str, Any]) -> Self:
        made = cls(tasks=tuple(from_dict(item) for item in data[cls.kind]))
        return made.rule(data.get("on_member_failure"), data.get("allow_failures"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Chord(Expression):
    """A group, and what follows with the list of its values. Its value is that of the body."""

    header: Group
    #: None: to be given by calling it.
    body: Expression | None = None

    kind: ClassVar[str] = "chord"

    @property
    def tasks(self) -> tuple[Expression, ...]:
        """The members of the header."""
        return self.header.tasks

    @property
    def parts(self) -> tuple[Expression, ...]:
        return (self.header,) if self.body is None else (self.header, self.body)

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Self:
        return replace(self, header=self.header.bind(args, kwargs))

    def fix(self, immutable: bool) -> Self:
        return replace(self, header=self.header.fix(immutable))

    def map_parts(self, change: Callable[[Expression], Expression]) -> Self:
        body = None if self.body is None else change(self.body)
        return replace(self, header=cast("Group", change(self.header)), body=body)

    def pack_parts(self) -> dict[str, Any]:
        data: dict[str, Any] = {"chord": self.header.to_dict()}
        if self.body is not None:
            data["body"] = self.body.to_dict()
        return data

    @classmethod
    def unpack_parts(cls, data: Mapping[str, Any]) -> Self:
        body = data.get("body")
        return cls(header=_as_header(from_dict(data["chord"])), body=None if body is None else from_dict(body))

    def __call__(self, body: Any = None, /, **options: Any) -> Any:
        """Send a chord; one that has no body yet, with this one."""
        if body is None:
            return self.apply_async(**options)
        if self.body is not None:
            raise TypeError("This chord has its body: chord(header, body)() sends it; chord(header)(body) gives one.")
        return replace(self, body=as_expression(body, "chord()")).apply_async(**options)

    def __repr__(self) -> str:
        return f"chord({self.header!r}, {self.body!r})"


Expression.kinds |= {cls.kind: cls for cls in (Chain, Group, Chord)}


def chain(*tasks: Any, **options: Any) -> Chain:
    """
    Let one follow the other, each with the value of the one before: ``chain(a, b)``, ``chain([a, b])``, ``a | b``.

    As in Celery, chains in it are joined, a group that something follows becomes a chord, an empty group is left out,
    and a group of one counts as its member: what follows gets a value, not a list. ``chord([a], b)`` passes a list.
    """
    made = Chain(tasks=_normal(spread(tasks, "chain()")))
    return made.set(**options) if options else made


def group(
    *tasks: Any,
    on_member_failure: OnMemberFailure | None = None,
    allow_failures: int | None = None,
    **options: Any,
) -> Group:
    """
    Let all run at once: ``group(a, b)``, ``group([a, b])``, ``group(f.s(i) for i in range(10))``.

    A member that fails ends the group at once, or, with ``on_member_failure="wait"``, when all members have ended.
    ``allow_failures``: so many may fail, and the list of values has failures in their places.
    """
    is_group = len(tasks) == 1 and isinstance(tasks[0], Group)
    made = cast("Group", tasks[0]) if is_group else Group(tasks=spread(tasks, "group()"))
    made = made.rule(on_member_failure, allow_failures)
    return made.set(**options) if options else made


def chord(
    header: Any,
    body: Any = None,
    /,
    *,
    on_member_failure: OnMemberFailure | None = None,
    allow_failures: int | None = None,
    **options: Any,
) -> Chord:
    """
    Let ``body`` follow all of ``header``, with the list of their values; rules for failures as in ``group``.

    Without a body it is to be called with one, which sends it: ``chord(header)(body)``.
    """
    if isinstance(header, Mapping):
        header = from_dict(header)
    members = _as_header(header).rule(on_member_failure, allow_failures)
    made = Chord(header=members, body=None if body is None else as_expression(body, "chord()"))
    return made.set(**options) if options else made


def _as_header(header: Any) -> Group:
    if isinstance(header, Group):
        return header
    if isinstance(header, Expression) or not isinstance(header, Iterable):
        return Group(tasks=(as_expression(header, "chord()"),))
    return Group(tasks=as_expressions(header, "chord()"))


def _compose(left: Expression, right: Expression) -> Expression:
    if right.is_empty:
        return left
    if isinstance(left, Group):
        return Chord(header=left, body=right)
    return Chain(tasks=_normal((left, right)))


def _normal(tasks: Iterable[Expression]) -> tuple[Expression, ...]:
    """Bring the tasks of a chain into their form, which is flat however it was put together."""
    steps: list[Expression] = []
    nothing: list[Expression] = []
    for task in tasks:
        for part in task.tasks if isinstance(task, Chain) and not _says_anything(task) else (task,):
            step = _unrolled(part)
            if step.is_empty:
                nothing.append(step)
            elif steps and isinstance(steps[-1], Group):
                steps[-1] = Chord(header=steps[-1], body=step)
            else:
                steps.append(step)
    # A chain of nothing but empty groups is an empty group: its value is a list.
    return tuple(steps or [step for step in nothing if isinstance(step, Group)][:1])


def _unrolled(task: Expression) -> Expression:
    """Return the member of a group of one, with what was said of the group. A group with rules is a group."""
    if type(task) is not Group or len(task.tasks) != 1 or task.has_rules:
        return task
    (member,) = task.tasks
    if _says_anything(task):
        member = member.set(**task.options)
        for link in task.links:
            member = member.link(link)
        for errback in task.errbacks:
            member = member.link_error(errback)
    return _unrolled(member)


def _says_anything(task: Expression) -> bool:
    return bool(task.options or task.links or task.errbacks)


Expression.compose = staticmethod(_compose)
