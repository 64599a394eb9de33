"""
The one way to record the ends of jobs: with them, and in the same transaction, goes what follows from them.

So whoever ends a step of a workflow (the worker that ran it, one that found it dead, somebody who revoked it) cannot
forget the rest of the canvas, and what follows is decided exactly once: by whoever's record of the end was written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from django_jobs import clock, transactions
from django_jobs.canvas.records import Plan
from django_jobs.envelope import GENERATION_BITS
from django_jobs.exceptions import BrokerUnavailable, StoreUnavailable
from django_jobs.execution import error_of
from django_jobs.outcome import Replaced
from django_jobs.results.base import BaseStore, Record, Written
from django_jobs.results.recording import UNSURE
from django_jobs.results.workflows import BaseWorkflows, Changes
from django_jobs.states import TERMINAL_STATES, State
from django_jobs.workflow.advance import Advance
from django_jobs.workflow.replacing import REPLACED_BY, plan_replacement

logger = logging.getLogger("django_jobs")

#: By the id of the job that asked for it: what takes its place.
Replacements = Mapping[str, Replaced]
_NONE: Replacements = MappingProxyType({})


def concerns(records: Sequence[Record], replaced: Replacements = _NONE) -> bool:
    """Say whether recording these may have more to it than their own rows: it must be one transaction then."""
    return bool(replaced) or any(
        record.workflow_id is not None and record.state in TERMINAL_STATES for record in records
    )


def in_transaction(store: BaseStore, action: Callable[[bool], None]) -> None:
    """
    Do what records ends in a transaction of its own. Raises what ``store.transaction`` and ``action`` raise.

    ``action`` is told whether to trust: that the database takes all of it, as it nearly always does. If it does not,
    everything is undone and done once more, so that what is wrong can be told from the rest. Savepoints for that, and
    questions whose answer is nearly always no, are most of what the end of a step would cost.
    """
    if store.may_trust:
        try:
            with store.transaction():
                action(True)
        except (StoreUnavailable, BrokerUnavailable):
            raise
        except Exception as error:
            if not transactions.is_about_data(error):
                raise
            logger.debug("Ends of jobs are recorded one by one", exc_info=True)
        else:
            return
    with store.transaction():
        action(False)


def record(
    store: BaseStore, records: Sequence[Record], replaced: Replacements = _NONE, *, trusting: bool = False
) -> Written:
    """
    Write records as ``store.write`` does, and what follows from them. Tell what became of them.

    ``replaced``: of those that say that their job has succeeded, which made room for a canvas. Inside a transaction of
    the store, if ``concerns`` says so. ``trusting``: see ``in_transaction``.
    """
    workflows = store.workflows
    if workflows is None or not concerns(records, replaced):
        bare = [one._replace(workflow_id=one.workflow_id or None) for one in records]
        return store.write(bare, trusting=trusting)
    known = _certain(workflows, records)
    if trusting:
        return _follow(store, workflows, known, replaced, trusting=True)
    return _by_parts(store, workflows, known, replaced)


class NotReplaceable(Exception):
    """What was to take the place of a job cannot: ``__cause__`` says why."""


def record_replaced(store: BaseStore, one: Record, instead: Replaced) -> Written:
    """
    Write the end of a job that has made room for a canvas, with all that it has changed itself in this transaction.

    Raises NotReplaceable for a canvas that cannot be sent: the transaction is to be rolled back then.
    """
    workflows = store.workflows
    assert workflows is not None
    try:
        with store.savepoint():
            return _follow(store, workflows, [one], {one.id: instead})
    except (StoreUnavailable, BrokerUnavailable):
        raise
    except Exception as error:
        if not transactions.is_about_data(error):
            raise
        raise NotReplaceable from error


def _by_parts(store: BaseStore, workflows: BaseWorkflows, records: Sequence[Record], replaced: Replacements) -> Written:
    """
    Record ends and follow them; when that cannot be done, by halves, until what is wrong stands alone: what cannot be
    read, or kept, is the user's and of whatever version of the code, and the other jobs must not suffer for it.
    """
    try:
        with store.savepoint():
            return _follow(store, workflows, records, replaced)
    except (StoreUnavailable, BrokerUnavailable):
        raise
    except Exception as error:
        if not transactions.is_about_data(error):
            raise
        if len(records) > 1:
            half = len(records) // 2
            one, other = (_by_parts(store, workflows, part, replaced) for part in (records[:half], records[half:]))
            return Written(one.stayed + other.stayed, {**one.refused, **other.refused})
        (alone,) = records
        if alone.id in replaced:
            return _by_parts(store, workflows, [_failed(alone, error)], _NONE)
        logger.exception(
            "The job %s has ended, but what follows it in the workflow %s cannot be told, and does not run",
            alone.id, alone.workflow_id,
        )  # fmt: skip
        return _count_alone(store, workflows, alone)


def _count_alone(store: BaseStore, workflows: BaseWorkflows, record: Record) -> Written:
    """Record an end that cannot be followed, and count it at least: no workflow waits for it any more."""
    changes = Changes()
    try:
        with store.savepoint():
            heads = workflows.lock([] if record.workflow_id is None else [record.workflow_id])
            written = store.write([record])
            if heads and not written.stayed and record.state in TERMINAL_STATES:
                failed = record.state != State.SUCCESS or record.id in written.refused
                changes.count(next(iter(heads)), remaining=-1, failed=int(failed))
            workflows.note(changes, clock.now_ms())
            return written
    except Exception as error:
        if isinstance(error, StoreUnavailable | BrokerUnavailable) or not transactions.is_about_data(error):
            raise
        logger.exception(
            "That the job %s has ended cannot be counted in the workflow %s", record.id, record.workflow_id
        )
        return store.write([record])


def _follow(
    store: BaseStore,
    workflows: BaseWorkflows,
    records: Sequence[Record],
    replaced: Replacements,
    *,
    trusting: bool = False,
) -> Written:
    heads = workflows.lock(
        sorted({one.workflow_id for one in records if one.workflow_id and one.state in TERMINAL_STATES})
    )
    advance = Advance(store, workflows, heads)
    advance.load([one.id for one in records if one.workflow_id in heads], trusting=trusting)
    plans: dict[str, Plan] = {}
    records = [_replacing(advance, one, replaced, plans) for one in records]
    written = store.write(records, trusting=trusting)
    stayed = set(written.stayed)
    for one in records:
        if one.id in stayed or one.state not in TERMINAL_STATES:
            continue
        failed = one.state != State.SUCCESS or one.id in written.refused
        if one.id in plans and not failed:
            advance.replace(one, plans[one.id], replaced[one.id].headers)
        elif one.workflow_id in heads:
            advance.step_ended(one.id, failed=failed, generation=one.fence >> GENERATION_BITS)
    advance.finish()
    return written


def _replacing(advance: Advance, record: Record, replaced: Replacements, plans: dict[str, Plan]) -> Record:
    """Plan what takes the place of a job, and return a record that says so. Raises what ``plan_replacement`` raises."""
    if record.id not in replaced:
        return record
    made = plans[record.id] = plan_replacement(advance.book.find(record.id), replaced[record.id].expression)
    return record._replace(meta=json.dumps({REPLACED_BY: made.result}))


def _failed(record: Record, error: BaseException) -> Record:
    """Return what is recorded of a job whose replacement cannot be sent."""
    told = error_of(error)
    return record._replace(
        state=State.FAILURE.value,
        meta=None,
        exception_type=told.type,
        exception=told.text,
        traceback=told.traceback,
    )


def _certain(workflows: BaseWorkflows, records: Sequence[Record]) -> list[Record]:
    """Look up the workflows of jobs whose messages nobody can read."""
    unsure = [one.id for one in records if one.workflow_id == UNSURE]
    steps = workflows.steps(unsure) if unsure else {}
    found = {job_id: step.workflow_id for job_id, step in steps.items()}
    return [one._replace(workflow_id=found.get(one.id)) if one.workflow_id == UNSURE else one for one in records]
