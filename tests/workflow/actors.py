"""Tasks that do what a random canvas wants of them, in any process, and say so in a ledger."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from django.apps import apps

from django_jobs import Retry, current_job, job
from django_jobs.canvas import Chain, Chord, Expression, Group, Signature, signature
from django_jobs.canvas.failure import MemberFailure
from django_jobs.conf import settings
from django_jobs.context import JobContext
from django_jobs.models import JobResult
from tests.canvas.evaluate import FAILED, World


@job(bind=True, name="tests.workflow.act", max_retries=None, throws=(RuntimeError,))
def act(
    self: JobContext,
    *args: Any,
    label: str,
    ledger: str,
    fails: bool = False,
    retries: int = 0,
    replacement: dict[str, Any] | None = None,
) -> Any:
    """Return ``[label, *args]``; or fail, or be retried first, or make room for another canvas."""
    return perform(self, args, label, ledger, fails, retries, replacement)


@job(bind=True, name="tests.workflow.aact", max_retries=None, throws=(RuntimeError,))
async def aact(
    self: JobContext,
    *args: Any,
    label: str,
    ledger: str,
    fails: bool = False,
    retries: int = 0,
    replacement: dict[str, Any] | None = None,
) -> Any:
    """Do the same on the event loop."""
    return perform(self, args, label, ledger, fails, retries, replacement)


@job(bind=True, atomic=True, name="tests.workflow.atomic_act", max_retries=None, throws=(RuntimeError,))
def atomic_act(
    self: JobContext,
    *args: Any,
    label: str,
    ledger: str,
    fails: bool = False,
    retries: int = 0,
    replacement: dict[str, Any] | None = None,
) -> Any:
    """Do the same in one transaction with the record of its end."""
    return perform(self, args, label, ledger, fails, retries, replacement)


#: Ways to do it, besides the usual one: a task, and options of the call.
WAYS: Sequence[tuple[str, Mapping[str, Any]]] = (
    (aact.name, {}),
    (atomic_act.name, {}),
    (act.name, {"priority": 3}),
    (act.name, {"countdown": 0.05}),
)


def perform(
    self: JobContext,
    args: tuple[Any, ...],
    label: str,
    ledger: str,
    fails: bool,
    retries: int,
    replacement: dict[str, Any] | None,
) -> Any:
    """Do what is wanted of a task."""
    if self.request.retries < retries:
        raise Retry(0)
    plain = [_plain(argument) for argument in args]
    write(ledger, {"call": f"{label}{plain}", "id": self.request.id})
    if fails:
        raise RuntimeError(label)
    if replacement is not None:
        self.replace(replacement)
    return [label, *args]


@job(bind=True, name="tests.workflow.growing")
def growing(self: JobContext, more: list[int], *, ledger: str) -> str:
    """Add members to the group that it is in."""
    for number in more:
        self.add_to_chord(act.s(label=f"grown {number}", ledger=ledger))
    return "growing"


@job(name="tests.workflow.needs", throws=(RuntimeError,))
def needs(*args: Any, path: str) -> Any:
    """Fail until a file is there."""
    if not Path(path).exists():
        raise RuntimeError(f"{path} is not there")
    return ["needs", *args]


@job(name="tests.workflow.returns_much")
def returns_much(*args: Any) -> str:
    """Return more than a database takes, where the test has made it small."""
    return "x" * 5_000_000


#: What ``looks_and_calls`` calls: a test says.
CALLED: Callable[[], object] = list


@job(atomic=True, name="tests.workflow.looks_and_calls")
def looks_and_calls(*args: Any) -> str:
    """Read something in the transaction of the job, and let something happen meanwhile."""
    current_job()
    JobResult.objects.using(settings.database).exists()
    CALLED()
    return "called"


@job(bind=True, atomic=True, name="tests.workflow.grows_and_calls", throws=(RuntimeError,))
def grows_and_calls(self: JobContext, *, ledger: str, fails: bool = False) -> str:
    """Add a member in the transaction of the job, let something happen meanwhile, and end well or not."""
    self.add_to_chord(act.s(label="grown", ledger=ledger))
    CALLED()
    if fails:
        raise RuntimeError("grows")
    return "grows"


#: What ``makes_room`` makes room for: a test says.
REPLACEMENT: Any = None


@job(bind=True, name="tests.workflow.makes_room")
def makes_room(self: JobContext) -> None:
    """Make room for a canvas that cannot travel."""
    self.replace(REPLACEMENT)


@job(bind=True, atomic=True, name="tests.workflow.writes_and_makes_room")
def writes_and_makes_room(self: JobContext) -> None:
    """Write something in the transaction of the job, and make room for a canvas that cannot be sent."""
    user = apps.get_model("auth", "User")  # the site of the trials has none
    user.objects.using(settings.database).create(username=self.request.id)
    self.replace(REPLACEMENT)


@job(name="tests.workflow.told")
def told(request: Any, exception: Exception, traceback: str, *, label: str, ledger: str) -> None:
    """Be told of a failure."""
    assert isinstance(exception, Exception)
    entry = {"told": label, "id": current_job().id, "of": request.kwargs.get("label"), "error": str(exception)}
    write(ledger, entry)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return FAILED if isinstance(value, MemberFailure) else value


plain = _plain


def write(ledger: str, entry: Mapping[str, Any]) -> None:
    """Append an entry in one write: whoever dies after it has been seen."""
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (json.dumps(entry) + "\n").encode())
    os.close(descriptor)


class Ledger:
    """What the tasks have said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    @property
    def calls(self) -> Counter[str]:
        return Counter(entry["call"] for entry in self.entries() if "call" in entry)

    @property
    def told(self) -> Counter[str]:
        return Counter(entry["told"] for entry in self.entries() if "told" in entry)


def embody(
    expression: Expression,
    world: World,
    ledger: str,
    *,
    flaky: frozenset[str] = frozenset(),
    ways: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType({}),
) -> Expression:
    """
    Return a canvas of labels as one of real tasks. By recursion: for canvases that are not very deep.

    ``flaky``: labels of tasks that are retried first; ``ways``: how some of them are done, by label.
    """

    def change(found: Expression) -> Expression:
        made = real(found) if isinstance(found, Signature) else found.map_parts(change)
        return replace(
            made,
            links=tuple(map(change, found.links)),
            errbacks=tuple(map(callback, found.errbacks)),
        )

    def real(found: Signature) -> Signature:
        label = str(found.kwargs["label"])
        kwargs: dict[str, Any] = {"label": label, "ledger": ledger}
        if label in world.failing:
            kwargs["fails"] = True
        elif label in world.replacements:
            kwargs["replacement"] = change(world.replacements[label]).to_dict()
        if label in flaky:
            kwargs["retries"] = 1
        task, options = ways.get(label, (act.name, {}))
        return replace(found, task=task, kwargs=kwargs).set(**options)

    def callback(found: Expression) -> Expression:
        assert isinstance(found, Signature)
        kwargs = {"label": found.kwargs["label"], "ledger": ledger}
        return replace(found, task=told.name, kwargs=kwargs, args=(), immutable=False)

    return change(expression)


__all__ = ["Chain", "Chord", "Group", "Ledger", "act", "embody", "plain", "signature", "told"]
