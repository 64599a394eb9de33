"""The page of one job, and what is done to it there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from django_jobs.admin import bulk, detail
from django_jobs.admin.record_page import RecordPage
from django_jobs.admin.workflow_of_job import step_of
from django_jobs.conf import settings
from django_jobs.models import JobResult, PeriodicRun, PeriodicTask


class JobPages(RecordPage):
    """The detail page of a model of jobs."""

    record_template = "admin/django_jobs/job_detail.html"
    record_operations = {"retry": bulk.RETRY, "discard": bulk.DISCARD}

    def _do(self, request: HttpRequest, job: JobResult, operation: bulk.Operation) -> HttpResponse:
        reason = detail.why_no_retry(job) if operation is bulk.RETRY else detail.why_no_discard(job)
        if reason:
            self.message_user(request, str(reason), messages.ERROR)
        else:
            self._operate(request, operation, self.get_queryset(request).filter(pk=job.pk), job=job)
        return HttpResponseRedirect(self._url_of(request, job.pk, self.model) or request.path)

    def _not_here(self, request: HttpRequest, record_id: str) -> HttpResponse:
        """Lead to the page of a job that is not of this list any more, or back to the list."""
        try:
            known = JobResult.objects.using(settings.database).filter(pk=UUID(record_id)).exists()
        except ValueError:
            known = False
        url = self._url_of(request, record_id, JobResult) if known and self.model is not JobResult else None
        if url is not None:
            return HttpResponseRedirect(url)
        text = (
            _("This job is not among the %(name)s any more.") if known else _("There is no record of the job %(id)s.")
        )
        self.message_user(request, text % {"name": self.opts.verbose_name_plural, "id": record_id}, messages.WARNING)
        return HttpResponseRedirect(self._list_url())

    def _context(self, request: HttpRequest, job: JobResult) -> dict[str, Any]:
        may_see = self.has_payload_permission(request)
        timeline = detail.timeline_of(job)
        return {
            "title": job.task.rpartition(".")[2],
            "job": job,
            "timeline": timeline,
            "runs_text": detail.runs_text(job, timeline),
            "waited": detail.waited(job),
            "ran": detail.ran(job),
            "progress": detail.progress_of(job),
            "may_see": may_see,
            "is_redacted": may_see and detail.is_redacted(job),
            "payload": detail.payload_of(job) if may_see else None,
            "may_retry": self.has_retry_permission(request) and detail.is_over(job),
            "may_discard": self.has_discard_permission(request) and detail.is_over(job),
            "may_delete": self.has_delete_permission(request, job),
            "why_no_retry": detail.why_no_retry(job),
            "why_no_discard": detail.why_no_discard(job),
            "relatives": self._relatives(request, job),
            "schedule": self._schedule(request, job),
            "step": step_of(self.admin_site, request, job),
        }

    def _schedule(self, request: HttpRequest, job: JobResult) -> dict[str, str] | None:
        """Return name and address of the periodic task that has sent this job; None: none has, or not for this user."""
        page = self.admin_site._registry.get(PeriodicTask)
        if page is None or not page.has_view_permission(request):
            return None
        runs = PeriodicRun.objects.using(settings.database).filter(job_id=job.pk)
        found = runs.values_list("periodic_task_id", "periodic_task__name").first()
        if found is None:
            return None
        url = reverse("admin:django_jobs_periodictask_change", args=found[:1], current_app=self.admin_site.name)
        return {"name": found[1], "url": url}

    def _relatives(self, request: HttpRequest, job: JobResult) -> list[dict[str, Any]]:
        found = [(_("Parent"), job.parent_id), (_("Root"), job.root_id if job.root_id != job.pk else None)]
        known = set(
            JobResult.objects.using(settings.database)
            .filter(pk__in=[pk for _title, pk in found if pk is not None])
            .values_list("pk", flat=True)
        )
        return [
            {"title": title, "pk": pk, "url": self._url_of(request, pk, JobResult) if pk in known else None}
            for title, pk in found
            if pk is not None
        ]

    def _url_of(self, request: HttpRequest, pk: Any, model: type[JobResult]) -> str | None:
        """Return the address of a job's page; None: this site has none, or not for this user."""
        page = self.admin_site._registry.get(model)
        if page is None or not page.has_view_permission(request):
            return None
        name = f"admin:{self.opts.app_label}_{model._meta.model_name}_change"
        try:
            return reverse(name, args=(pk,), current_app=self.admin_site.name)
        except NoReverseMatch:
            return None

    def _list_url(self) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        return reverse(name, current_app=self.admin_site.name)
