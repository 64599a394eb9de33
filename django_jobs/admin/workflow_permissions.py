"""Who may do what to workflows, and where their rows are."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from django_jobs.admin.permissions import JobPermissions
from django_jobs.admin.workflow_records import NEVER_RAN, SENT
from django_jobs.admin.workflow_svg import Links
from django_jobs.conf import settings
from django_jobs.models import JobResult
from django_jobs.states import State

#: Steps in these have left no row that a list could show.
_WITHOUT_ROW = frozenset({SENT, State.BLOCKED.value})


class WorkflowPermissions(JobPermissions):
    """Mixed into the pages of workflows."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, from the database that they are in."""
        return super().get_queryset(request).using(settings.database)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: workers remove what is old, with all that belongs to it."""
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Say whether failed steps may be sent again."""
        return self._has(request, "retry_workflow")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Say whether workflows may be stopped."""
        return self._has(request, "revoke_workflow")

    def url_of(self, page: str, *args: Any) -> str:
        """Return the address of one of the pages of this model, in this site."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def links(self, request: HttpRequest, workflow_id: str) -> Links:
        """Return where the page of a workflow leads to: to its jobs, for those who may see them."""
        page = self.admin_site._registry.get(JobResult)
        if page is None or not page.has_view_permission(request):
            return Links(job=lambda _job_id: "", jobs=lambda _task, _state: "")
        try:
            base = reverse("admin:django_jobs_jobresult_changelist", current_app=self.admin_site.name)
        except NoReverseMatch:
            return Links(job=lambda _job_id: "", jobs=lambda _task, _state: "")

        def jobs(task: str, state: str) -> str:
            if state in _WITHOUT_ROW:
                return ""
            state = State.REVOKED.value if state == NEVER_RAN else state
            named = {"workflow_id": workflow_id, "task": task, "state": state}
            return f"{base}?{urlencode({name: value for name, value in named.items() if value})}"

        return Links(job=lambda job_id: f"{base}{job_id}/change/", jobs=jobs)
