"""What can be wrong with a canvas, found where it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django_jobs import bounds
from django_jobs.calls import make_jobs
from django_jobs.canvas.composition import Chain, Chord, Group
from django_jobs.canvas.expression import Expression
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import Plan
from django_jobs.canvas.signature import Signature
from django_jobs.conf import nearest, settings
from django_jobs.exceptions import PayloadTooLarge, UnknownTask
from django_jobs.registry import RegisteredTask, registry
from django_jobs.serializers import dump_packed
from django_jobs.workflow.jobs import options_of
from django_jobs.workflow.mapped import MAPS, check_items

#: In the place of the value of what comes before.
_VALUE = object()
#: In the place of what an error callback is called with.
_FAILURE = (object(), object(), object())


#: What is said of a call that does not fit, by what comes before its own arguments.
_BEFORE = {
    (): "",
    (_VALUE,): " after the value of what comes before it; .si(...) takes none",
    _FAILURE: " after the request, exception and traceback that an error callback is called with; .si(...) takes none",
}


def check(expression: Expression) -> None:
    """
    Check the tasks of a canvas and the calls of them, also those of map, starmap and chunks. Raises UnknownTask for a
    name that is not registered here, and TypeError for arguments that do not fit.
    """
    for signature, given in bounds.speaking(signatures_in(expression)):
        task = _known(signature.task)
        args = (*given, *signature.args) if not signature.immutable else signature.args
        try:
            task.call_signature.bind(*args, **signature.kwargs)
        except TypeError as error:
            what = _BEFORE[given] if args is not signature.args else ""
            raise TypeError(f"{signature.task}{task.call_signature}: {error}{what}.") from None
        if signature.task in MAPS and signature.kwargs.keys() >= {"task", "it"}:
            check_items(signature, _known(signature.kwargs["task"]), expression)


def _known(name: str) -> RegisteredTask:
    task = registry.get(name)
    if task is None:
        raise UnknownTask(f"No task is called {name!r} here.{nearest(name, registry.names())}")
    return task


def check_plan(made: Plan) -> None:
    """
    Check that the signatures of a plan can travel, and that its error callbacks can be planned when a failure comes:
    then nobody is there who could be told. Raises EncodeError, PayloadTooLarge, and ValueError.
    """
    _check_sizes(made)
    todo = _errbacks_of(made)
    for errback in todo:
        _check_names(errback)
    seen: set[int] = set()
    while todo:
        errback = todo.pop()
        if id(errback) not in seen:
            seen.add(id(errback))
            planned = plan(errback, takes_value=True)
            _check_sizes(planned)
            todo += _errbacks_of(planned)


def _errbacks_of(made: Plan) -> list[Expression]:
    return [errback for scope in made.scopes for errback in scope.errbacks if isinstance(errback, Expression)]


def _check_names(errback: Expression) -> None:
    """Check that nothing in an error callback has an id. Without recursion."""
    todo = [errback]
    while todo:
        found = todo.pop()
        if found.options.get("job_id") is not None:
            raise ValueError(
                f"{found!r} is part of an error callback, which runs once for each failure: a job_id would be that of"
                " several jobs. Leave it out; the request that the callback is called with has the id of what failed."
            )
        todo += [*found.parts, *found.links, *found.errbacks]


def _check_sizes(made: Plan) -> None:
    limit = settings.max_payload
    for step in bounds.speaking(made.steps):
        size = len(dump_packed(step.signature.to_dict()))
        if size > limit:
            raise PayloadTooLarge(
                f"The signature of {step.signature.task} is {size:,} bytes large; DJANGO_JOBS['MAX_PAYLOAD'] allows"
                f" {limit:,}. Store the data (a model, a file, the cache) and pass its key."
            )


def check_options(made: Plan) -> None:
    """Check the options of all calls of a plan. Raises what ``apply_async`` raises for a wrong one, and ValueError."""
    checked: set[tuple[str, int]] = set()
    named: set[str] = set()
    for step in made.steps:
        if step.id in named:
            raise ValueError(f"Two tasks of a canvas cannot have one job_id: {step.id}.")
        named.add(step.id)
        signature = step.signature
        key = (signature.task, id(signature.options))
        if signature.options and key not in checked:
            checked.add(key)
            make_jobs(signature.task, options_of(signature.task), [((), {})], {**signature.options, "job_id": None})


def signatures_in(expression: Expression) -> Iterator[tuple[Signature, tuple[Any, ...]]]:
    """Give the signatures of a canvas, in order, each with what comes before its own arguments. Without recursion."""
    todo: list[tuple[Expression, tuple[Any, ...]]] = [(expression, ())]
    while todo:
        found, given = todo.pop()
        following: list[tuple[Expression, tuple[Any, ...]]] = []
        match found:
            case Signature():
                yield found, given
            case Chain():
                following += [(task, (_VALUE,) if position else given) for position, task in enumerate(found.tasks)]
            case Group():
                following += [(task, given) for task in found.tasks]
            case Chord(header=header, body=body):
                following.append((header, given))
                if body is not None:
                    following.append((body, (_VALUE,)))
        following += [(link, (_VALUE,)) for link in found.links]
        following += [(errback, _FAILURE) for errback in found.errbacks]
        todo += reversed(following)
