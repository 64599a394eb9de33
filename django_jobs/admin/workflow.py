"""The pages of workflows."""

from __future__ import annotations

from django_jobs.admin.result import Base
from django_jobs.admin.workflow_lists import WorkflowLists
from django_jobs.admin.workflow_pages import WorkflowPages


class WorkflowAdmin(WorkflowLists, WorkflowPages, Base):
    """The canvases that were sent, as long as they are kept."""

    class Media:
        css = {"all": ["django_jobs/admin.css", "django_jobs/workflow.css"]}
