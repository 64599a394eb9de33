"""The page of one record, and what is done to it there: how it is addressed, and for whom it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from django_jobs.admin import bulk
from django_jobs.admin.guard import answers_database_errors
from django_jobs.admin.operating import JobOperations
from django_jobs.conf import settings


class RecordPage(JobOperations):
    """Mixed into models whose records are looked at, and never edited."""

    #: The page.
    record_template: ClassVar[str]
    #: What may be done to one of them, by its name in the address.
    record_operations: ClassVar[Mapping[str, bulk.Operation]]

    def get_urls(self) -> list[URLPattern]:
        """Add the address that operations on one record are posted to."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_action"
        view = self.admin_site.admin_view(self.action_view)
        return [path("<uuid:record_id>/do/<str:action>/", view, name=name), *super().get_urls()]

    @answers_database_errors
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show one record; there is nothing to post here."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        record = self.get_object(request, object_id)
        if record is None:
            return self._not_here(request, object_id)
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        context |= {**self._context(request, record), **(extra_context or {})}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.record_template, context)

    @transaction.non_atomic_requests
    @transaction.non_atomic_requests(using=str(settings.while_starting("DATABASE")))
    def action_view(self, request: HttpRequest, record_id: UUID, action: str) -> HttpResponse:
        """Do something to one record."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        operation = self.record_operations.get(action)
        if operation is None:
            raise Http404
        if not self.has_view_permission(request) or not self.may(request, operation):
            raise PermissionDenied
        return self._act(request, str(record_id), operation)

    @answers_database_errors
    def _act(self, request: HttpRequest, record_id: str, operation: bulk.Operation) -> HttpResponse:
        record = self.get_object(request, record_id)
        return self._not_here(request, record_id) if record is None else self._do(request, record, operation)

    def _not_here(self, request: HttpRequest, record_id: str) -> HttpResponse:
        """Lead away from a record that is not there, and say why."""
        raise NotImplementedError

    def _context(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """Return what the template needs."""
        raise NotImplementedError

    def _do(self, request: HttpRequest, record: Any, operation: bulk.Operation) -> HttpResponse:
        """Do it, and say what came of it."""
        raise NotImplementedError
