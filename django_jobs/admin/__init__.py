"""The pages of the admin, registered when the admin discovers them, unless ``ADMIN["AUTOREGISTER"]`` is False."""

from __future__ import annotations

from django.contrib import admin

from django_jobs.admin.base import JobAdminMixin
from django_jobs.admin.periodic import PeriodicRunAdmin, PeriodicTaskAdmin
from django_jobs.admin.result import FailedJobAdmin, JobResultAdmin
from django_jobs.admin.workflow import WorkflowAdmin
from django_jobs.conf import settings
from django_jobs.models import FailedJob, JobResult, PeriodicRun, PeriodicTask, Workflow

__all__ = [
    "FailedJobAdmin",
    "JobAdminMixin",
    "JobResultAdmin",
    "PeriodicRunAdmin",
    "PeriodicTaskAdmin",
    "WorkflowAdmin",
]

if settings.while_starting("AUTOREGISTER", "ADMIN"):
    admin.site.register(JobResult, JobResultAdmin)
    admin.site.register(FailedJob, FailedJobAdmin)
    admin.site.register(PeriodicTask, PeriodicTaskAdmin)
    admin.site.register(PeriodicRun, PeriodicRunAdmin)
    admin.site.register(Workflow, WorkflowAdmin)
