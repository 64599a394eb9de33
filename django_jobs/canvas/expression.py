"""What every part of a canvas has in common: a call that has not been sent, or several that belong together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn, Self

from asgiref.sync import sync_to_async

from django_jobs.calls import CALL_OPTIONS
from django_jobs.canvas.habits import ATTRIBUTES
from django_jobs.exceptions import DecodeError, JobsError
from django_jobs.options import check_names
from django_jobs.serializers import pack, unpack_value

EMPTY: Mapping[str, Any] = MappingProxyType({})


def nothing() -> Mapping[str, Any]:
    """Return a mapping without entries, which nobody can change."""
    return EMPTY


def _send(expression: Expression) -> NoReturn:
    raise JobsError(f"{expression!r} cannot be sent before Django has loaded the apps.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Expression(ABC):
    """
    A canvas, or a part of one. Never changes: each method that says something of it returns another one.

    Other than in Celery, therefore, ``set()``, ``link()`` and ``link_error()`` are of no use as statements: write
    ``canvas = canvas.link(callback)``. What is inside of arguments is not copied.
    """

    #: Options of the call, as ``apply_async`` takes them. A chain's are those of its first task, a group's those of all
    #: its members, a chord's those of header and body; outer ones win over inner ones.
    options: Mapping[str, Any] = field(default_factory=nothing)
    #: What else is to run with its value, when all of it has succeeded.
    links: tuple[Expression, ...] = ()
    #: What is to run for each failure in it.
    errbacks: tuple[Expression, ...] = ()
    #: Is there no task in it? Kept, because finding out again and again would take long where canvases are deep.
    is_empty: bool = field(init=False)

    def __post_init__(self) -> None:
        is_empty = self.kind != "task" and all(part.is_empty for part in self.parts)
        object.__setattr__(self, "is_empty", is_empty)  # how a frozen dataclass says what follows from its fields

    #: The key of a dictionary that says which kind of expression it is, and the class of that kind.
    kind: ClassVar[str] = ""
    kinds: ClassVar[dict[str, type[Expression]]] = {}
    #: Chains two expressions, and sends one; set by the modules that know how, which stand above this one.
    compose: ClassVar[Callable[[Expression, Expression], Expression]]
    send: ClassVar[Callable[[Expression], Any]] = _send
    #: The classes of what sending returns, which people mistake for what can be sent.
    handles: ClassVar[tuple[type, ...]] = ()

    # What each kind knows of itself

    @property
    @abstractmethod
    def parts(self) -> tuple[Expression, ...]:
        """The expressions that it consists of, links and errbacks left out."""

    @abstractmethod
    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Self:
        """Put arguments before those of whatever starts first, and keywords over theirs."""

    @abstractmethod
    def fix(self, immutable: bool) -> Self:
        """Let whatever starts first take no further arguments, or take them again."""

    @abstractmethod
    def map_parts(self, change: Callable[[Expression], Expression]) -> Self:
        """Return this expression with changed parts."""

    @abstractmethod
    def pack_parts(self) -> dict[str, Any]:
        """Return what is its own as JSON data, under its kind and other keys."""

    @classmethod
    @abstractmethod
    def unpack_parts(cls, data: Mapping[str, Any]) -> Self:
        """Make an expression of what ``pack_parts`` returned."""

    # What a user says of it

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Self:
        """Return it with arguments before its own, keywords over its own and options over its own."""
        bound = self.bind(args, kwargs or EMPTY) if args or kwargs else self
        return bound.set(**options) if options else bound

    def set(self, *, immutable: bool | None = None, **options: Any) -> Self:
        """
        Return it with these options over its own; ``link`` and ``link_error`` replace its callbacks.

        Raises JobsConfigurationError for an option that no call has.
        """
        changed = self if immutable is None else self.fix(immutable)
        callbacks: dict[str, Any] = {}
        for name, attribute in (("link", "links"), ("link_error", "errbacks")):
            if name in options:
                callbacks[attribute] = _callbacks(name, options.pop(name))
        check_names(options, CALL_OPTIONS, f"A call of {self.label}")
        return replace(changed, options=merge_options(changed.options, options), **callbacks)

    def link(self, callback: Expression | Mapping[str, Any]) -> Self:
        """Return it with a callback more, which gets the value of the whole expression when that has succeeded."""
        return replace(self, links=_with(self.links, as_expression(callback, "link()")))

    def link_error(self, errback: Expression | Mapping[str, Any]) -> Self:
        """Return it with an error callback more, called as (request, exception, traceback) once for each failure."""
        return replace(self, errbacks=_with(self.errbacks, as_expression(errback, "link_error()")))

    on_error = link_error

    def stamp(self, **headers: str) -> Self:
        """Return it with these headers on every task in it, callbacks included. Later stamps win."""
        if not all(isinstance(value, str) for value in headers.values()):
            raise TypeError(f"stamp() takes headers, which are strings, not {headers!r}.")
        return self._stamped(headers)

    def _stamped(self, headers: Mapping[str, str]) -> Self:
        stamped = self.map_parts(lambda part: part._stamped(headers))
        return replace(
            stamped,
            links=tuple(link._stamped(headers) for link in self.links),
            errbacks=tuple(errback._stamped(headers) for errback in self.errbacks),
        )

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it with these arguments before those of whatever starts first, and return its handle."""
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Send it as ``delay`` does, with options of this call; those that are None say nothing."""
        said = {name: value for name, value in options.items() if value is not None}
        return type(self).send(self.clone(args, kwargs, **said))

    async def adelay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it from async code. See ``delay``."""
        return await sync_to_async(self.apply_async)(args, kwargs)

    async def aapply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send it from async code. See ``apply_async``."""
        return await sync_to_async(self.apply_async)(args, kwargs, **options)

    def __or__(self, other: Any) -> Expression:
        """Let another expression follow this one, with its value."""
        return Expression.compose(self, as_expression(other, "|"))

    def __ror__(self, other: Any) -> Expression:
        """Let this expression follow another one that is none: say how to make it one."""
        return Expression.compose(as_expression(other, "|"), self)

    def __reduce__(self) -> Any:
        """Be pickled and copied as data."""
        return from_dict, (self.to_dict(),)

    # As data

    def to_dict(self) -> dict[str, Any]:
        """Return it as data that JSON has, from which ``signature()`` makes it again. Raises EncodeError."""
        data = self.pack_parts()
        if self.options:
            data["options"] = {
                name: pack(value, f"option {name} of {self.label}") for name, value in self.options.items()
            }
        for key, callbacks in (("links", self.links), ("errbacks", self.errbacks)):
            if callbacks:
                data[key] = [callback.to_dict() for callback in callbacks]
        return data

    # As a value

    @property
    def label(self) -> str:
        """What to call it in an error."""
        return f"a {self.kind}"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, each.name) == getattr(other, each.name) for each in fields(self)
        )

    def __hash__(self) -> int:
        return hash((type(self), self.parts))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it as ``delay`` does. A canvas has no function that the call could be taken for; a signature has."""
        return self.delay(*args, **kwargs)

    def __invert__(self) -> NoReturn:
        raise TypeError(f"~ neither sends {self.label} nor waits for it: write .delay().get().")

    def __getattr__(self, name: str) -> Any:
        """Say what to use instead of what Celery's signatures have and these have not."""
        hint = f" {ATTRIBUTES[name]}" if name in ATTRIBUTES else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}.{hint}", name=name, obj=self)


def as_expression(value: Any, where: str) -> Expression:
    """Return what was given to a canvas as an expression. Raises TypeError that says how to make one."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, Mapping):
        return from_dict(value)
    if isinstance(value, Expression.handles):
        raise TypeError(
            f"{where} takes signatures, and {value!r} has been sent already: write .s(...), not .delay(...)."
        )
    if callable(value):
        name = getattr(value, "name", None) or getattr(value, "__name__", "task")
        raise TypeError(f"{where} takes signatures, not {value!r}: write {name}.s(...).")
    raise TypeError(f"{where} takes signatures, such as task.s(1), not {value!r}.")


def as_expressions(values: Iterable[Any], where: str) -> tuple[Expression, ...]:
    """Return all that was given to a canvas as expressions. Raises TypeError that says how to make them."""
    return tuple(value if isinstance(value, Expression) else as_expression(value, where) for value in values)


def spread(tasks: tuple[Any, ...], where: str) -> tuple[Expression, ...]:
    """Take the tasks of a canvas: several arguments, or one iterable of them, such as a generator."""
    if len(tasks) == 1 and not isinstance(tasks[0], Expression | Mapping) and isinstance(tasks[0], Iterable):
        tasks = tuple(tasks[0])
    return as_expressions(tasks, where)


def from_dict(data: Mapping[str, Any]) -> Expression:
    """Make an expression of what ``to_dict`` returned. Raises DecodeError."""
    if "subtask_type" in data and data["subtask_type"] is not None:
        raise DecodeError(f"This is a signature of Celery's, of type {data['subtask_type']!r}: write it anew.")
    kind = next((kind for kind in Expression.kinds if kind in data), None)
    if kind is None:
        raise DecodeError(f"This is not a signature: it has none of {', '.join(Expression.kinds)}, but {list(data)!r}.")
    try:
        made = Expression.kinds[kind].unpack_parts(data)
        options = {name: unpack_value(value) for name, value in data.get("options", {}).items()}
        links, errbacks = (tuple(from_dict(item) for item in data.get(key, ())) for key in ("links", "errbacks"))
        return replace(made.set(**options) if options else made, links=links, errbacks=errbacks)
    except (KeyError, TypeError, AttributeError) as error:
        raise DecodeError(f"This is not a signature that django_jobs made: {error!r}") from error


def merge_options(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put options over others. Headers add up, and one moment replaces the other, however it is said."""
    if not outer:
        return inner
    merged = {**inner, **outer}
    if inner.get("headers") and outer.get("headers"):
        merged["headers"] = {**inner["headers"], **outer["headers"]}
    for said, other in (("countdown", "eta"), ("eta", "countdown")):
        if outer.get(said) is not None and outer.get(other) is None:
            merged.pop(other, None)
    return MappingProxyType(merged)


def _callbacks(name: str, given: Any) -> tuple[Expression, ...]:
    if given is None:
        return ()
    return as_expressions(given if isinstance(given, list | tuple) else (given,), f"{name}=")


def _with(callbacks: tuple[Expression, ...], one: Expression) -> tuple[Expression, ...]:
    return callbacks if one in callbacks else (*callbacks, one)
