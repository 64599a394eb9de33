"""How the gallery's jobs stand: one query for those that have ended, the broker is asked about the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_jobs import AsyncResult
from django_jobs.models import JobResult
from django_jobs.states import TERMINAL_STATES, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How one job stands: its state, how often it was tried again, and how far it says it is."""

    state: str
    retries: int = 0
    done: int | None = None
    total: int | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether the job will not run again by itself; a record that was pruned belongs to a job that has ended."""
        return self.state in TERMINAL_STATES or self.state == State.UNKNOWN

    @property
    def label(self) -> str:
        """The state in words; a state of a task's own is shown as it is."""
        label = str(State(self.state).label) if self.state in State.values else self.state.lower()
        return f"{label} (try {self.retries + 1})" if self.retries and not self.ended else label

    def as_dict(self) -> dict[str, Any]:
        """Return the status for JSON."""
        return {
            "state": self.state,
            "label": self.label,
            "ended": self.ended,
            "retries": self.retries,
            "done": self.done,
            "total": self.total,
            "message": self.message,
        }


def statuses(jobs: Iterable[UUID | None]) -> Mapping[UUID, Status]:
    """Return the status of each of these jobs; None in the list is passed over."""
    wanted = {job for job in jobs if job is not None}
    ended = JobResult.objects.filter(pk__in=wanted, state__in=TERMINAL_STATES).values_list("pk", "state", "retries")
    found = {pk: Status(state=state, retries=retries) for pk, state, retries in ended}
    for job in wanted - found.keys():
        found[job] = ask(job)
    return found


def ask(job: UUID) -> Status:
    """Return the status of a job that has not ended, as broker and database know it together."""
    result: AsyncResult[Any] = AsyncResult(str(job))
    state, info = result.state, result.info
    progress = info if isinstance(info, Mapping) else {}
    return Status(
        state=state,
        retries=result.retries or 0,
        done=progress.get("done"),
        total=progress.get("total"),
        message=str(progress.get("message") or ""),
    )
