"""What map, starmap and chunks call a task with, checked where it is sent: there may be very many calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

from django_jobs.canvas.expression import Expression
from django_jobs.canvas.maps import XMAP, XSTARMAP, Chunks
from django_jobs.canvas.signature import Signature
from django_jobs.registry import RegisteredTask

#: The built-in tasks that call another one, and what users call them.
MAPS = {XMAP: "map()", XSTARMAP: "starmap()"}
_USUAL = frozenset((tuple, list))


def check_items(mapped: Signature, task: RegisteredTask, canvas: Expression) -> None:
    """Check the calls that a built-in task makes of another. Raises TypeError, which says which item does not fit."""
    least, most = task.positional_bounds
    is_star = mapped.task == XSTARMAP
    for index, item in enumerate(mapped.kwargs["it"]):
        if is_star and type(item) in _USUAL and least <= len(item) <= most:
            continue
        if not is_star and least <= 1 <= most:
            return  # each is called with one argument
        why = _why_not(task, item, is_star=is_star)
        if why is not None:
            place = _place_of(mapped, index + 1, canvas)
            raise TypeError(f"{task.name}{task.call_signature}: {place}: {why}.")


def _why_not(task: RegisteredTask, item: Any, *, is_star: bool) -> str | None:
    if is_star and (isinstance(item, str | bytes | Mapping) or not isinstance(item, Iterable)):
        return f"a tuple of arguments is expected, not {type(item).__name__}"
    try:
        task.call_signature.bind(*item if is_star else (item,))
    except TypeError as error:
        return str(error)
    return None


def _place_of(mapped: Signature, number: int, canvas: Expression) -> str:
    """Say where an item stands in what was given to ``chunks``, or to another of them."""
    todo = [canvas]
    while todo:
        found = todo.pop()
        if isinstance(found, Chunks) and any(task is mapped for task in found.tasks):
            before: Iterable[Any] = takewhile(lambda task: task is not mapped, found.tasks)
            return f"item {number + sum(len(task.kwargs['it']) for task in before)} of chunks()"
        todo += [*found.parts, *found.links, *found.errbacks]
    return f"item {number} of {MAPS[mapped.task]}"
