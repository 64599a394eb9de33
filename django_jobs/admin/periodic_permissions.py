"""Who may do what to periodic tasks, and where their rows are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import model_ngettext
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from django_jobs.admin.periodic_history import Run, recent
from django_jobs.conf import settings
from django_jobs.models import JobResult, PeriodicRun, PeriodicTask

if TYPE_CHECKING:
    _Base = ModelAdmin[Any]
else:
    _Base = object


class PeriodicPermissions(_Base):
    """Mixed into the pages of periodic tasks."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, from the database that they are in."""
        return super().get_queryset(request).using(settings.database)

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Say whether a task may be run now."""
        return bool(request.user.has_perm("django_jobs.run_periodictask"))

    def has_payload_permission(self, request: HttpRequest) -> bool:
        """Say whether arguments may be seen: whoever may edit them sees them."""
        return self.has_change_permission(request) or request.user.has_perm("django_jobs.view_job_payload")

    def may_see_jobs(self, request: HttpRequest) -> bool:
        """Say whether this site has pages of jobs for this user."""
        page = self.admin_site._registry.get(JobResult)
        return page is not None and page.has_view_permission(request)

    def may_see_runs(self, request: HttpRequest) -> bool:
        """Say whether this site has a page of runs for this user."""
        page = self.admin_site._registry.get(PeriodicRun)
        return page is not None and page.has_view_permission(request)

    def recent_runs(self, request: HttpRequest, ids: Iterable[int]) -> dict[int, list[Run]]:
        """Return the last runs of each of these tasks, with links to jobs for those who may see them."""
        found = recent(ids, settings.database)
        if not self.may_see_jobs(request):
            return found
        return {pk: [replace(run, url=self.job_url(run)) for run in runs] for pk, runs in found.items()}

    def job_url(self, run: Run) -> str:
        """Return the address of the job of a run; empty: it has left no row."""
        if run.job_id is None or not run.state:
            return ""
        return reverse("admin:django_jobs_jobresult_change", args=(run.job_id,), current_app=self.admin_site.name)

    def url_of(self, page: str, *args: Any) -> str:
        """Return the address of one of the pages of this model, in this site."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def log_all(self, request: HttpRequest, rows: list[PeriodicTask], flag: int, text: str) -> None:
        """Write down who did this to each of these rows."""
        assert request.user.pk is not None  # the admin lets nobody else in
        if rows:
            LogEntry.objects.log_actions(request.user.pk, rows, flag, text)

    def named(self, count: int) -> str:
        """Return "1 periodic task", "2 periodic tasks"."""
        return f"{count} {model_ngettext(self.opts, count)}"
