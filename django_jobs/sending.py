"""From a canvas to its handle: checked, planned, kept and sent."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from django.db import IntegrityError, connections, transaction

from django_jobs import workflow
from django_jobs.async_result import AsyncResult, GroupResult
from django_jobs.brokers import get_broker
from django_jobs.canvas.composition import Chain
from django_jobs.canvas.expression import Expression
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import Barrier, Join, Plan, Step, Then
from django_jobs.canvas.signature import Signature
from django_jobs.conf import settings
from django_jobs.exceptions import BrokerUnavailable, JobsError
from django_jobs.identifiers import parse_id
from django_jobs.registry import registry
from django_jobs.results import get_store
from django_jobs.workflow.checking import check, check_options, check_plan, signatures_in
from django_jobs.workflow.jobs import options_of

Handle = AsyncResult[Any] | GroupResult


def send(expression: Expression) -> Handle | None:
    """
    Send a canvas with the transaction of DATABASE that is open, and return its handle at once.

    None for an empty chain, which has no result. Raises UnknownTask, TypeError for arguments that do not fit,
    ValueError for a chord without a body and for a job_id in an error callback, EncodeError, PayloadTooLarge, and
    EnqueueError when the database does not take it.
    """
    if isinstance(expression, Chain) and not expression.tasks:
        return None
    check(expression)
    if isinstance(expression, Signature) and not (expression.links or expression.errbacks):
        return _send_alone(expression)
    made = plan(expression)
    handle = handle_of(made)
    before = _sent_before(expression, handle)
    if before is not None:
        return before
    check_options(made)
    check_plan(made)
    using = expression.options.get("using") or settings.database
    if using != settings.database and connections[using].in_atomic_block:
        transaction.on_commit(lambda: _start(expression, made, handle), using=using)
        return handle
    return _start(expression, made, handle)


def _start(expression: Expression, made: Plan, handle: Handle | None) -> Handle | None:
    try:
        workflow.start(made, name=_name_of(expression))
    except IntegrityError:
        # Somebody has sent a canvas with this job_id at the same moment, and was first.
        before = _sent_before(expression, handle)
        if before is None:
            raise
        return before
    return handle


def _sent_before(expression: Expression, handle: Handle | None) -> Handle | None:
    """
    Return the handle of the same logical operation, if it has been sent: with other ids for all that it does not name.

    Raises JobsError when ids that the canvas names are those of something else.
    """
    known = _known(expression)
    if not known:
        return None
    if handle is not None and handle.id in known:
        return GroupResult.restore(handle.id) if isinstance(handle, GroupResult) else AsyncResult(handle.id)
    raise JobsError(f"A canvas cannot take the job_id of a job that was sent before: {', '.join(sorted(known))}.")


def _send_alone(signature: Signature) -> Handle:
    """Send a single task as what it is: a job."""
    task = cast(Any, registry[signature.task])
    return cast(Handle, task.apply_async(signature.args, dict(signature.kwargs), **signature.options))


def _known(expression: Expression) -> set[str]:
    """Return the ids that the canvas names and that are taken. Error callbacks name none."""
    named: list[str] = []
    todo = [expression]
    while todo:
        found = todo.pop()
        if found.options.get("job_id") is not None:
            named.append(parse_id(found.options["job_id"]))
        todo += [*found.parts, *found.links]
    if not named:
        return set()
    store = get_store()
    workflows = workflow.workflows_of(store)
    known = {*store.get_many(named), *workflows.steps(named), *workflows.barriers(named)}
    if store.outbox is not None:
        known.update(store.outbox.get_many(named))
    with suppress(BrokerUnavailable):  # sending a canvas does not need it
        known.update(one for one in named if one not in known and get_broker().find(one) is not None)
    return known


def _name_of(expression: Expression) -> str:
    """Say which canvas it is, by its tasks: arguments may be secret."""
    if isinstance(expression, Signature):
        return expression.task
    tasks = list(dict.fromkeys(signature.task for signature, _ in signatures_in(expression)))
    return f"{expression.kind} of {', '.join(tasks)}"


def handle_of(made: Plan) -> Handle | None:
    """
    Return the handle of a plan: of its last step, or of its group; what comes before it is its parent.

    Without recursion along a chain, which may have any length.
    """
    if made.result is None:
        return None
    steps = {step.id: step for step in made.steps}
    barriers = {barrier.id: barrier for barrier in made.barriers}
    members: dict[str, dict[int, str]] = {barrier.id: {} for barrier in made.barriers}
    before: dict[str, str] = {}
    records: list[Step | Barrier] = [*made.steps, *made.barriers]
    for record in records:
        match record.continuation:
            case Join(barrier, index):
                members[barrier][index] = record.id
            case Then(target, _):
                before[target] = record.id
    return _Handles(steps, barriers, members, before).handle(made.result)


class _Handles:
    def __init__(
        self,
        steps: Mapping[str, Step],
        barriers: Mapping[str, Barrier],
        members: Mapping[str, Mapping[int, str]],
        before: Mapping[str, str],
    ) -> None:
        self._steps = steps
        self._barriers = barriers
        self._members = members
        self._before = before

    def handle(self, record_id: str, around: str | None = None) -> Handle:
        """Return the handle of a step or barrier, with all that comes before it, up to the group it is in."""
        line = [record_id]
        while (previous := self._comes_before(line[-1])) is not None:
            line.append(previous)
        made: Handle | None = None
        for one in reversed(line):
            made = self._one(one, parent=made)
        assert made is not None
        return made

    def _comes_before(self, record_id: str) -> str | None:
        """Return what a step or barrier follows; of a barrier, what its first members follow."""
        return self._before.get(record_id)

    def _one(self, record_id: str, parent: Handle | None) -> Handle:
        if record_id not in self._barriers:
            return AsyncResult(record_id, _queue_of(self._steps[record_id]), parent=parent)
        members = self._members[record_id]
        results = [self.handle(members[index]) for index in sorted(members)]
        return GroupResult(record_id, results, parent=parent)


def _queue_of(step: Step) -> str:
    return str(step.signature.options.get("queue") or options_of(step.signature.task).queue)


Expression.send = staticmethod(send)
Expression.handles = (AsyncResult, GroupResult)
