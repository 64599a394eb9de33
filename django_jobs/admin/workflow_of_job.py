"""What the page of a job says of the workflow that it is a step of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse

from django_jobs.conf import settings
from django_jobs.models import JobResult, Workflow, WorkflowStep
from django_jobs.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A job as a step. Empty addresses: there is no such page, or not for this user."""

    name: str = ""
    url: str = ""
    #: The step whose failure kept it from running.
    cause: UUID | None = None
    cause_task: str = ""
    cause_url: str = ""


def step_of(site: AdminSite, request: HttpRequest, job: JobResult) -> Step | None:
    """Return what is said of a job as a step; None: it is none."""
    if job.workflow_id is None:
        return None
    rows = Workflow.objects.using(settings.database).filter(pk=job.workflow_id)
    page: Any = site._registry.get(Workflow)
    may_see = page is not None and page.has_view_permission(request)
    name = rows.values_list("name", flat=True).first() if may_see else None
    cause = _cause_of(job)
    task = None
    if cause is not None:
        causes = JobResult.objects.using(settings.database).filter(pk=cause)
        task = causes.values_list("task", flat=True).first()
    return Step(
        name=name or "",
        url=_url(site, "workflow", job.workflow_id) if name is not None else "",
        cause=cause,
        cause_task=task or "",
        cause_url=_url(site, "jobresult", cause) if task is not None and _may_see_jobs(site, request) else "",
    )


def _cause_of(job: JobResult) -> UUID | None:
    if job.state != State.REVOKED:
        return None
    steps = WorkflowStep.objects.using(settings.database).filter(pk=job.pk)
    cause = steps.values_list("cause", flat=True).first()
    return cause if cause != job.pk else None


def _may_see_jobs(site: AdminSite, request: HttpRequest) -> bool:
    page: Any = site._registry.get(JobResult)
    return page is not None and bool(page.has_view_permission(request))


def _url(site: AdminSite, model: str, pk: UUID | None) -> str:
    return reverse(f"admin:django_jobs_{model}_change", args=(pk,), current_app=site.name)
