"""What the pages of jobs share, as a mixin: it goes in front of any ModelAdmin, a theme's too."""

from __future__ import annotations

from django_jobs.admin.lists import JobLists
from django_jobs.admin.pages import JobPages


class JobAdminMixin(JobLists, JobPages):
    """
    List, detail page and operations of a model of jobs.

    For a site of your own: ``class Jobs(JobAdminMixin, ModelAdmin): ...`` and ``site.register(JobResult, Jobs)``.
    """

    class Media:
        css = {"all": ["django_jobs/admin.css"]}
