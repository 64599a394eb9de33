"""The filters of the list of workflows, what may be searched for there, and the filter of jobs by their workflow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_jobs import clock
from django_jobs.admin.filters import JobFilter, Narrowing, TimeFilter, lowest_id
from django_jobs.admin.workflow_words import RUNNING, STATES, WORKFLOW_LOOKS
from django_jobs.models import JobResult, Workflow
from django_jobs.models.workflow import CONDITIONS


class WorkflowStateFilter(JobFilter):
    """By how it stands."""

    title = _("state")
    parameter_name = "state"

    @property
    def narrowing(self) -> Narrowing:  # type: ignore[override]
        """What it costs: an index has those that have not finished, newest first."""
        return Narrowing.EQUALITY if self.value() == RUNNING else Narrowing.RESIDUAL

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        """Return the states that a workflow can have."""
        return [(state, look.word) for state, look in WORKFLOW_LOOKS.items()]

    def may_be(self, chosen: str, using: str) -> bool:
        """Take no other state."""
        return False

    def narrow(self, queryset: QuerySet[Any], chosen: str) -> QuerySet[Any]:
        """Return the rows of a state."""
        return queryset.filter(CONDITIONS[STATES[chosen]])


class WorkflowTimeFilter(TimeFilter):
    """By age."""

    def narrow(self, queryset: QuerySet[Any], chosen: str) -> QuerySet[Any]:
        """Return the rows of the chosen time, by their ids and by when they were sent."""
        since = clock.stamp() - self.ranges[chosen][0]
        return queryset.filter(pk__gte=lowest_id(clock.now() - self.ranges[chosen][0]), created_at__gte=since)


class OfWorkflowFilter(JobFilter):
    """Jobs by the workflow that they are steps of. It offers nothing: the pages of workflows lead here."""

    title = _("workflow")
    parameter_name = "workflow_id"
    narrowing = Narrowing.EQUALITY

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        """Return nothing: there may be very many."""
        return []

    def may_be(self, chosen: str, using: str) -> bool:
        """Say whether there is such a workflow, or was one that has left jobs."""
        try:
            key = UUID(chosen)
        except ValueError:
            return False
        jobs = JobResult.objects.using(using).filter(workflow_id=key)
        return Workflow.objects.using(using).filter(pk=key).exists() or jobs.exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSearch:
    """A text that somebody searches for, understood: an id, or a part of a name."""

    workflow_id: UUID | None = None
    text: str = ""

    @property
    def is_one_row(self) -> bool:
        """Whether there is one row at most that is searched for."""
        return self.workflow_id is not None

    @property
    def narrowing(self) -> Narrowing | None:
        """What it costs; None: nothing is searched for, or one row."""
        return Narrowing.RESIDUAL if self.text else None

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that are searched for."""
        if self.workflow_id is not None:
            return queryset.filter(pk=self.workflow_id)
        return queryset.filter(name__icontains=self.text) if self.text else queryset


def parse(text: str) -> WorkflowSearch:
    """Understand a text."""
    text = text.strip()
    try:
        return WorkflowSearch(workflow_id=UUID(text))
    except ValueError:
        return WorkflowSearch(text=text)
