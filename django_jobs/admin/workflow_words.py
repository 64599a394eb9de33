"""What is said of workflows, their steps and their barriers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext_lazy

from django_jobs import clock
from django_jobs.admin.presentation import LOOKS, Look, duration, local, look_of, number
from django_jobs.admin.workflow_graph import Follows, Kind, Node
from django_jobs.admin.workflow_records import NEVER_RAN, SENT
from django_jobs.states import State

#: How a workflow stands; derived, not kept.
RUNNING, SUCCEEDED, FAILED, REVOKED = "running", "succeeded", "failed", "revoked"
STATES: Mapping[str, State] = {
    RUNNING: State.STARTED, SUCCEEDED: State.SUCCESS, FAILED: State.FAILURE, REVOKED: State.REVOKED
}  # fmt: skip
WORKFLOW_LOOKS: Mapping[str, Look] = {name: LOOKS[state] for name, state in STATES.items()}
_MORE: Mapping[str, Look] = {
    SENT: Look(word=pgettext_lazy("state of a step", "sent"), tone="waiting", path=LOOKS[State.PENDING].path),
    NEVER_RAN: Look(word=pgettext_lazy("state of a step", "never ran"), tone="revoked", path="M3.5 8h9"),
}
_BARRIERS: Mapping[str, Look] = {
    State.BLOCKED: Look(
        word=pgettext_lazy("state of a group", "waits"), tone="waiting", path=LOOKS[State.BLOCKED].path
    ),
    State.SUCCESS: Look(
        word=pgettext_lazy("state of a group", "complete"), tone="success", path=LOOKS[State.SUCCESS].path
    ),
    State.FAILURE: Look(
        word=pgettext_lazy("state of a group", "failed"), tone="failure", path=LOOKS[State.FAILURE].path
    ),
    NEVER_RAN: _MORE[NEVER_RAN],
}
_HIDDEN = Look(word=pgettext_lazy("members of a group", "not drawn"), tone="waiting", path="M3 8h.1M8 8h.1M13 8h.1")


def look_of_workflow(workflow: Any) -> Look:
    """Return how the state of a workflow looks."""
    return LOOKS[workflow.state]


def took(workflow: Any) -> timedelta:
    """Return how long a workflow took, or has taken until now."""
    end: datetime = workflow.finished_at or clock.stamp()
    sent: datetime = workflow.created_at
    return end - sent


def ended(workflow: Any) -> int:
    """Return how many of its steps have ended."""
    return max(0, min(int(workflow.size), int(workflow.size - workflow.remaining)))


def progress_text(workflow: Any) -> str:
    """Return how far a workflow is, in words."""
    text = _("%(ended)s of %(all)s ended") % {"ended": number(ended(workflow)), "all": number(workflow.size)}
    return f"{text}, {failed_text(workflow.failed)}" if workflow.failed else text


def failed_text(failed: int) -> str:
    """Return how many have failed, in words."""
    return _("%(failed)s failed") % {"failed": number(failed)}


def look_of_step(state: str) -> Look:
    """Return how the state of a step looks."""
    return _MORE.get(state) or look_of(state)


def look_of_node(node: Node) -> Look:
    """Return how a node looks: as the most urgent of what it stands for."""
    if node.kind is Kind.HIDDEN:
        return _HIDDEN
    return _BARRIERS[node.state] if node.kind is Kind.BARRIER else look_of_step(node.state)


def short(task: str) -> str:
    """Return the last part of a task's name."""
    return task.rpartition(".")[2]


def name_of(node: Node) -> str:
    """Return what a node is called."""
    if node.kind is Kind.FOLD:
        return ngettext("%(n)s more step", "%(n)s more steps", node.number) % {"n": number(node.number)}
    if node.kind is Kind.HIDDEN:
        return ngettext("%(n)s more member", "%(n)s more members", node.number) % {"n": number(node.number)}
    if node.kind is Kind.BARRIER and node.number > 1:
        return _("%(n)s groups") % {"n": number(node.number)}
    if node.kind is Kind.BARRIER:
        name = _("%(ended)s of %(all)s") % {"ended": number(node.reported), "all": number(node.size)}
    else:
        name = short(node.task)
    return f"{number(node.number)} × {name}" if node.number > 1 else name


def facts_of(node: Node) -> list[str]:
    """Return what else is said of a node that stands for one step or barrier: its state first."""
    said = [str(look_of_node(node).word)]
    if node.kind is Kind.BARRIER and node.state == State.FAILURE:
        return [failed_text(node.failed)]
    if node.kind is Kind.BARRIER:
        return [*said, failed_text(node.failed)] if node.failed else said
    if node.duration is not None:
        said.append(duration(node.duration))
    if node.attempts > 1:
        said.append(attempts_text(node.attempts))
    return said


def attempts_text(attempts: int) -> str:
    """Return how often it has run, in words."""
    return ngettext("%(n)d attempt", "%(n)d attempts", attempts) % {"n": attempts}


def counts_of(node: Node) -> list[str]:
    """Return how many there are in each state, in words."""
    looks = (
        (count, _BARRIERS[state] if node.kind is Kind.BARRIER else look_of_step(state)) for state, count in node.states
    )
    return [f"{number(count)} {look.word}" for count, look in looks]


def title_of(node: Node) -> str:
    """Return all that is known of a node, as a text."""
    said = list(_titles(node))
    return ". ".join(part for part in said if part)


def _titles(node: Node) -> Iterable[str]:
    if node.role is Follows.ERROR:
        yield _("Error callback")
    elif node.role is Follows.CALLBACK:
        yield _("Callback")
    if node.kind in (Kind.FOLD, Kind.HIDDEN):
        yield name_of(node)
    elif node.kind is Kind.STEP:
        yield f"{number(node.number)} × {node.task}" if node.number > 1 else node.task
    else:
        yield _group_title(node)
    counted = node.kind is not Kind.HIDDEN and (node.number > 1 or node.kind is Kind.FOLD)
    yield ", ".join(counts_of(node) if counted else facts_of(node))
    if node.kind is Kind.BARRIER and node.number == 1:
        yield rule_text(*node.rule)
        return
    if node.started is not None:
        yield _("Started %(moment)s") % {"moment": _moment(node.started)}
    if node.number > 1 and node.duration is not None:
        yield _("From the first start to the last end: %(duration)s") % {"duration": duration(node.duration)}


def _group_title(node: Node) -> str:
    ended_of = {"n": number(node.number), "ended": number(node.reported), "all": number(node.size)}
    if node.number > 1:
        return _("%(n)s groups: %(ended)s of %(all)s members ended") % ended_of
    return _("Group: %(ended)s of %(all)s members ended") % ended_of


def rule_text(waits: bool, allowed: int) -> str:
    """Return when a group fails, in words."""
    if waits and not allowed:
        return _("It fails when all have ended and one has failed")
    if waits:
        text = ngettext(
            "It fails when all have ended and more than %(n)d has failed",
            "It fails when all have ended and more than %(n)d have failed",
            allowed,
        )
        return text % {"n": allowed}
    if allowed:
        text = ngettext(
            "It fails as soon as more than %(n)d has failed", "It fails as soon as more than %(n)d have failed", allowed
        )
        return text % {"n": allowed}
    return _("It fails with the first failure")


def _moment(value: datetime) -> str:
    return f"{local(value):%Y-%m-%d %H:%M:%S %Z}".rstrip()


def progress_bar(workflow: Any) -> SafeString:
    """Return how far a workflow is, as a bar and in words."""
    width, size = 100, max(1, int(workflow.size))
    failed = min(ended(workflow), int(workflow.failed))
    red = max(3.0, width * failed / size) if failed else 0.0
    other = min(width - red, width * (ended(workflow) - failed) / size)
    # What has ended without failing may never have run.
    tone = "running" if workflow.failed or workflow.finished_at is None else "success"
    return format_html(
        '<span class="dj-share"><svg class="dj-share-bar" width="{0}" height="8" viewBox="0 0 {0} 8" aria-hidden="true"'
        ' focusable="false"><rect class="dj-track" width="{0}" height="8" rx="2"/>'
        '<rect class="dj-part dj-status-{4}" width="{1}" height="8" rx="2"/>'
        '<rect class="dj-part dj-status-failure" x="{1}" width="{2}" height="8" rx="2"/></svg> <span>{3}</span></span>',
        width,
        f"{other:.1f}",
        f"{red:.1f}",
        progress_text(workflow),
        tone,
    )


def short_name(name: str) -> str:
    """Return the name of a canvas with the last parts of the names of its tasks."""
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", name)
