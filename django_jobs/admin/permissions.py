"""Who may do what. Viewing is reading only; every change has a permission of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest

from django_jobs.admin.bulk import Operation
from django_jobs.states import TERMINAL_STATES

if TYPE_CHECKING:
    _Base = ModelAdmin[Any]
else:
    _Base = object


class JobPermissions(_Base):
    """The permissions of the pages of jobs. The names are those of the model, whichever page asks."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a job is sent by code."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a record is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether rows, or this one, may be deleted: never that of a job that is not over."""
        if obj is not None and obj.state not in TERMINAL_STATES:
            return False
        return super().has_delete_permission(request, obj)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Say whether jobs may be sent again."""
        return self._has(request, "retry_job")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Say whether failures may be discarded."""
        return self._has(request, "discard_job")

    def has_payload_permission(self, request: HttpRequest) -> bool:
        """Say whether arguments, results, messages of exceptions and tracebacks may be seen."""
        return self._has(request, "view_job_payload")

    def may(self, request: HttpRequest, operation: Operation) -> bool:
        """Say whether an operation is allowed to this user."""
        return bool(getattr(self, f"has_{operation.permission}_permission")(request))

    def _has(self, request: HttpRequest, codename: str) -> bool:
        # The app's label, not the model's: a proxy's own would be another permission of the same name.
        return bool(request.user.has_perm(f"django_jobs.{codename}"))
