"""workflows; and what inspect, retry and revoke do when an id is that of a workflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from django_jobs import clock, operations
from django_jobs.inspection import moment, span
from django_jobs.management.jobs.choosing import since_of, states_of
from django_jobs.management.jobs.screen import Screen, count
from django_jobs.models.workflow import CONDITIONS
from django_jobs.operations import Summary
from django_jobs.states import State
from django_jobs.workflow import standing
from django_jobs.workflow.standing import GroupStanding, Standing, StepStanding

#: Workflows of the list, unless --limit says otherwise.
LIMIT = 50
#: Steps, and groups, of one workflow that people are shown.
SHOWN = 100

HEADS = ("workflow", "state", "ended", "steps", "failed", "age", "canvas")
STEP_HEADS = ("step", "task", "state", "because of")
GROUP_HEADS = ("group", "state", "ended", "members", "failed", "because of")
_NAME_LENGTH = 60
#: What somebody looks for comes first; a task may have states of its own, which count as STARTED.
_ORDER = (State.FAILURE, State.REVOKED, State.RETRY, State.STARTED, State.SCHEDULED, State.PENDING, State.BLOCKED)


def workflows(screen: Screen, options: dict[str, Any]) -> int:
    """List workflows, the newest first."""
    states = [State(state) for state in states_of(options, tuple(CONDITIONS))]
    found = standing.newest(states=states, since_ms=since_of(options), limit=options["limit"])
    if screen.as_json:
        screen.document(found)
    elif not found:
        screen.say("No workflow matches." if states or options["since"] else "No workflow is kept.")
    else:
        screen.table(HEADS, [_row(one) for one in found])
        if len(found) == options["limit"]:
            screen.say(f"There may be older ones; these are the newest {len(found):,}.")
    return 0


def _row(one: Standing) -> tuple[object, ...]:
    name = one.name if len(one.name) <= _NAME_LENGTH else f"{one.name[: _NAME_LENGTH - 1]}…"
    return one.id, one.state, one.ended, one.size, one.failed, span(clock.now_ms() - one.sent_ms), name


def among(ids: Sequence[str]) -> dict[str, Standing]:
    """Return those of these ids that are workflows, and how they stand."""
    return {one: found for one in ids if (found := standing.find(one)) is not None}


def document(one: Standing) -> dict[str, Any]:
    """Return all there is to say of a workflow, for programs."""
    return {**dataclasses.asdict(one), "steps": standing.steps(one), "groups": standing.groups(one)}


def show(screen: Screen, one: Standing) -> None:
    """Say how a workflow, its steps and its groups stand: first those that somebody has to see to."""
    screen.say(f"{one.id} {one.name}: {one.state}")
    for text in _told(one):
        screen.say(f"  {text}")
    _table(screen, STEP_HEADS, [_step_row(step) for step in sorted(standing.steps(one), key=_urgency)])
    _table(screen, GROUP_HEADS, [_group_row(group) for group in sorted(standing.groups(one), key=_urgency)])


def _told(one: Standing) -> Iterable[str]:
    yield f"{one.ended:,} of {count(one.size, 'step', 'steps')} ended, {one.failed:,} of them not well."
    if one.revoked_ms is not None:
        yield f"It was revoked at {moment(one.revoked_ms)}."
    if one.finished_ms is None:
        yield f"It was sent at {moment(one.sent_ms)}, {span(clock.now_ms() - one.sent_ms)} ago."
    else:
        took = span(one.finished_ms - one.sent_ms)
        yield f"It was sent at {moment(one.sent_ms)}, and ended at {moment(one.finished_ms)}, after {took}."
    if one.failed:
        yield f"manage.py jobs retry {one.id} goes on from what has failed or was revoked."


def _urgency(one: StepStanding | GroupStanding) -> tuple[int, str]:
    """Order by what is to be done about them: what never ran because of another comes late, what is done last."""
    if isinstance(one, StepStanding) and one.cause is not None:
        return len(_ORDER), one.id
    if one.state in _ORDER:
        return _ORDER.index(State(one.state)), one.id
    return len(_ORDER) + 1 if one.state in (State.SUCCESS, State.UNKNOWN) else _ORDER.index(State.STARTED), one.id


def _step_row(step: StepStanding) -> tuple[object, ...]:
    return step.id, step.task, step.state, step.cause


def _group_row(group: GroupStanding) -> tuple[object, ...]:
    return group.id, group.state, group.ended, group.size, group.failed, group.cause


def _table(screen: Screen, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if rows:
        screen.say()
        screen.table(heads, rows[:SHOWN], indent="  ")
    if len(rows) > SHOWN:
        screen.say(f"  and {len(rows) - SHOWN:,} more: --json has them all.")


def retry(screen: Screen, found: Sequence[str], by: str) -> dict[str, Summary]:
    """Go on with workflows, from what has failed or was revoked in them."""
    done = {one: operations.retry_workflow(one, by=by) for one in found}
    for one, summary in done.items():
        steps = count(summary.done, "step", "steps")
        _say(screen, one, summary, f"{steps} sent again, or waiting again.", "nothing has failed or was revoked.")
    return done


def revoke(screen: Screen, found: Sequence[str], *, terminate: bool) -> dict[str, Summary]:
    """Stop workflows."""
    done = {one: operations.revoke_workflow(one, terminate=terminate) for one in found}
    for one, summary in done.items():
        steps = count(summary.done, "step", "steps")
        _say(screen, one, summary, f"{steps} revoked, or told to stop.", "all of it had ended already.")
    return done


def _say(screen: Screen, one: str, summary: Summary, done: str, nothing: str) -> None:
    if not screen.as_json:
        screen.say(f"Workflow {one}: {done if summary.done else nothing}")


def say_never_ran(screen: Screen, ids: Sequence[str]) -> None:
    """Say of steps that never ran what is to be done: there is no job of them that could be sent again."""
    steps = standing.never_ran(ids)
    for workflow_id in sorted(set(steps.values())):
        number = list(steps.values()).count(workflow_id)
        these = (
            "One of them is a step that never ran" if number == 1 else f"{number:,} of them are steps that never ran"
        )
        screen.say(f"{these}: it waits again when its workflow does. manage.py jobs retry {workflow_id}")
