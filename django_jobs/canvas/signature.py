"""A call of one task that has not been sent yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

from django_jobs.calls import arguments
from django_jobs.canvas.expression import EMPTY, Expression, as_expression, merge_options, nothing
from django_jobs.serializers import pack, unpack_value

#: What of a signature can be read by index.
_ITEMS = ("task", "args", "kwargs", "options", "immutable")
#: Of the arguments, repr() shows so many characters.
_LONGEST = 80


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Signature(Expression):
    """A task by its name, and what to call it with. What comes before it in a canvas is put before its arguments."""

    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=nothing)
    #: Does it take no further arguments, whatever comes before it?
    immutable: bool = False

    kind: ClassVar[str] = "task"

    @classmethod
    def s(cls, task: Any, /, *args: Any, **kwargs: Any) -> Signature:
        """Make a signature of arguments as they stand in a call."""
        return cls(task=task_name(task), args=args, kwargs=MappingProxyType(kwargs) if kwargs else EMPTY)

    @classmethod
    def si(cls, task: Any, /, *args: Any, **kwargs: Any) -> Signature:
        """Make an immutable signature of arguments as they stand in a call."""
        return replace(cls.s(task, *args, **kwargs), immutable=True)

    @property
    def label(self) -> str:
        return self.task

    @property
    def parts(self) -> tuple[Expression, ...]:
        return ()

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Self:
        if self.immutable:
            return self
        return replace(
            self,
            args=(*arguments(args), *self.args),
            kwargs=MappingProxyType({**self.kwargs, **kwargs}) if kwargs else self.kwargs,
        )

    def fix(self, immutable: bool) -> Self:
        return replace(self, immutable=immutable)

    def map_parts(self, change: Callable[[Expression], Expression]) -> Self:
        return self

    def _stamped(self, headers: Mapping[str, str]) -> Self:
        stamped = Expression._stamped(self, headers)
        return replace(stamped, options=merge_options(stamped.options, {"headers": dict(headers)}))

    def pack_parts(self) -> dict[str, Any]:
        data: dict[str, Any] = {"task": self.task}
        if self.args:
            data["args"] = [pack(value, f"argument {n} of {self.task}") for n, value in enumerate(self.args, 1)]
        if self.kwargs:
            data["kwargs"] = {
                key: pack(value, f"argument {key!r} of {self.task}") for key, value in self.kwargs.items()
            }
        if self.immutable:
            data["immutable"] = True
        return data

    @classmethod
    def unpack_parts(cls, data: Mapping[str, Any]) -> Self:
        kwargs = {key: unpack_value(value) for key, value in data.get("kwargs", {}).items()}
        return cls(
            task=task_name(data["task"]),
            args=tuple(unpack_value(value) for value in data.get("args", ())),
            kwargs=MappingProxyType(kwargs) if kwargs else EMPTY,
            immutable=bool(data.get("immutable", False)),
        )

    def __hash__(self) -> int:
        return hash((self.task, len(self.args), frozenset(self.kwargs), self.immutable))

    def __getitem__(self, name: str) -> Any:
        if name not in _ITEMS:
            raise KeyError(f"A signature has {', '.join(_ITEMS)}, not {name!r}.")
        return getattr(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"A signature of {self.task} cannot be called: .delay(...) sends it; to run it here, call the task itself."
        )

    def __repr__(self) -> str:
        said = [*map(repr, self.args), *(f"{key}={value!r}" for key, value in self.kwargs.items())]
        text = ", ".join(said)
        return f"{self.task}({text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'})"


Expression.kinds[Signature.kind] = Signature


def signature(
    task: Any,
    /,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    immutable: bool = False,
    **options: Any,
) -> Expression:
    """
    Make a signature of a task, or its name: ``signature("shop.jobs.f", (1,), {"x": 2}, queue="mail")``.

    Of a dictionary that ``to_dict`` returned it makes what that was; a signature is returned as it is. Raises
    DecodeError for any other dictionary, JobsConfigurationError for an option that no call has.
    """
    if isinstance(task, Expression | Mapping):
        made = as_expression(task, "signature()").clone(args, kwargs, **options)
        return made.fix(True) if immutable else made
    single = Signature(
        task=task_name(task),
        args=arguments(args),
        kwargs=MappingProxyType(dict(kwargs)) if kwargs else EMPTY,
        immutable=immutable,
    )
    return single.set(**options) if options else single


def task_name(task: Any) -> str:
    """Return the name of a task that may be given as such, as its name, or as a signature of it."""
    name = task.task if isinstance(task, Signature) else task if isinstance(task, str) else getattr(task, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"A signature takes a task, or the name of one, not {task!r}.")
    return name
