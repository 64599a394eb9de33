"""One task over many arguments: signatures of built-in tasks, and groups of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar

from django_jobs.canvas.composition import Group
from django_jobs.canvas.expression import Expression
from django_jobs.canvas.signature import Signature, task_name

XMAP = "django_jobs.xmap"
XSTARMAP = "django_jobs.xstarmap"


def xmap(task: Any, arguments: Iterable[Any], /) -> Signature:
    """Call a task with each of the arguments, one after the other in one job; its value is the list of theirs."""
    return _over(XMAP, task, arguments)


def xstarmap(task: Any, arguments: Iterable[Iterable[Any]], /) -> Signature:
    """Call a task with each of the tuples of arguments, one after the other in one job."""
    return _over(XSTARMAP, task, arguments)


def chunks(task: Any, arguments: Iterable[Iterable[Any]], size: int, /) -> Chunks:
    """Call a task with each of the tuples of arguments, so many in one job; the value is a list of lists."""
    if type(size) is not int or size < 1:
        raise ValueError(f"chunks() takes how many calls are to be in a job, 1 or more, not {size!r}.")
    rest = iter(arguments)
    return Chunks(tasks=tuple(xstarmap(task, part) for part in _parts(rest, size)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Chunks(Group):
    """A group that ``chunks`` made. In a chain a single chunk is a group, too: what follows gets a list of lists."""

    kind: ClassVar[str] = "chunks"

    def group(self) -> Group:
        """Return it as any other group, as Celery's users do."""
        return Group(tasks=self.tasks, options=self.options, links=self.links, errbacks=self.errbacks)


Expression.kinds[Chunks.kind] = Chunks


def _over(name: str, task: Any, arguments: Iterable[Any]) -> Signature:
    kwargs = {"task": task_name(task), "it": list(arguments)}
    return Signature(task=name, kwargs=MappingProxyType(kwargs), immutable=True)


def _parts(rest: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while part := list(islice(rest, size)):
        yield part
