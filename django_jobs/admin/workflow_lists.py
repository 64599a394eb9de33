"""The list of workflows."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs.admin import bulk, workflow_filters
from django_jobs.admin import workflow_operating as operating
from django_jobs.admin import workflow_words as words
from django_jobs.admin.changelist import JobChangeList
from django_jobs.admin.lists import SAMPLE, JobLists
from django_jobs.admin.presentation import duration, moment, rendered
from django_jobs.admin.workflow_filters import WorkflowStateFilter, WorkflowTimeFilter
from django_jobs.admin.workflow_permissions import WorkflowPermissions


class WorkflowChangeList(JobChangeList):
    """The list, always newest first."""

    parse = staticmethod(workflow_filters.parse)
    sent = "created_at"

    @property
    def rows_name(self) -> str:
        """What the rows are called where they are counted."""
        return str(self.opts.verbose_name_plural)

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Leave nothing out: the rows are small."""
        return rows


def _sent_title(title: str) -> str:
    return f"{gettext(title)} ({timezone.get_current_timezone_name()})"


class WorkflowLists(WorkflowPermissions, JobLists):
    """The list of workflows: read only, but for what is done to those that were chosen."""

    change_list_template = "admin/django_jobs/workflow_list.html"
    list_display = ("status", "canvas", "progress", "sent", "took")
    list_display_links = ("canvas",)
    list_filter = (WorkflowStateFilter, WorkflowTimeFilter)
    search_fields = ("name",)
    search_help_text = _("The id of a workflow, or a part of its name.")
    actions = ("revoke_selected", "retry_selected")
    operations = operating.OPERATIONS
    sample_template = "admin/django_jobs/workflow_sample.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        """Return the list that finds its pages by key."""
        return WorkflowChangeList

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Return the columns."""
        return list(self.list_display)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that are searched for."""
        return workflow_filters.parse(search_term).narrow(queryset), False

    def eligible(self, operation: bulk.Operation, rows: QuerySet[Any], *, sweep: bool) -> QuerySet[Any]:
        """Return the rows that are in a state for it; of all that match, not what somebody revoked."""
        if operation is operating.REVOKE:
            return rows.filter(finished_at__isnull=True)
        return rows.filter(failed__gt=0, **({"revoked_at__isnull": True} if sweep else {}))

    def sample_of(self, rows: QuerySet[Any]) -> list[Any]:
        """Return the newest of some rows."""
        return list(rows.order_by("-pk")[:SAMPLE])

    @admin.action(permissions=["revoke"], description=_("Revoke selected %(verbose_name_plural)s"))
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Stop workflows."""
        return self._operate_on_selection(request, operating.REVOKE, queryset)

    @admin.action(permissions=["retry"], description=_("Retry failed steps of selected %(verbose_name_plural)s"))
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Send failed steps again."""
        return self._operate_on_selection(request, operating.RETRY, queryset)

    # Columns

    @admin.display(description=_("state"))
    def status(self, workflow: Any) -> SafeString:
        """Return icon and word."""
        return rendered(words.look_of_workflow(workflow))

    @admin.display(description=_("workflow"))
    def canvas(self, workflow: Any) -> SafeString:
        """Return its name, which says what it is made of."""
        return format_html(
            '<span class="dj-canvas" title="{}">{}</span>', workflow.name, words.short_name(workflow.name)
        )

    @admin.display(description=_("progress"))
    def progress(self, workflow: Any) -> SafeString:
        """Return how far it is, as a bar and in words."""
        return words.progress_bar(workflow)

    @admin.display(description=lazy(_sent_title, str)("sent"))
    def sent(self, workflow: Any) -> SafeString | str:
        """Return when it was sent."""
        return moment(workflow.created_at, short=True)

    @admin.display(description=_("duration"))
    def took(self, workflow: Any) -> str:
        """Return how long it took, or has taken."""
        return duration(words.took(workflow))
