"""The pages of job results and of failed jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin
from django.utils.module_loading import import_string

from django_jobs.admin.base import JobAdminMixin
from django_jobs.admin.filters import QueueFilter, StateFilter, TaskFilter, TimeFilter
from django_jobs.admin.workflow_filters import OfWorkflowFilter
from django_jobs.conf import settings


def base_of_pages() -> type:
    """Return a theme's class, if the project names one that can be used; where it cannot, a check says so (E012)."""
    try:
        base = import_string(settings.while_starting("MODEL_ADMIN", "ADMIN"))
    except Exception:  # noqa: BLE001 - raising here would give every command a traceback, the check's among them
        return ModelAdmin
    return base if isinstance(base, type) and issubclass(base, ModelAdmin) else ModelAdmin


if TYPE_CHECKING:
    Base = ModelAdmin[Any]
else:
    Base = base_of_pages()


class JobResultAdmin(JobAdminMixin, Base):
    """Every job that left a row."""

    # By workflow first: of two that an index knows, the list looks through the rows of the first.
    list_filter = (OfWorkflowFilter, StateFilter, TimeFilter, QueueFilter, TaskFilter)


class FailedJobAdmin(JobAdminMixin, Base):
    """The jobs that failed, to be retried or discarded."""

    list_display = ("task_name", "error", "queue_name", "attempt", "enqueued", "wait", "run_time", "worker_name")
    list_filter = (TimeFilter, QueueFilter, TaskFilter)
