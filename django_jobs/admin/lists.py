"""The lists of jobs, and what is done to a selection of their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.admin import ShowFacets, helpers
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_jobs.admin import bulk, search
from django_jobs.admin.changelist import JobChangeList
from django_jobs.admin.columns import JobColumns
from django_jobs.admin.counting import EstimatedPaginator, capped
from django_jobs.admin.filters import StateFilter
from django_jobs.admin.guard import answers_database_errors
from django_jobs.admin.operating import JobOperations
from django_jobs.conf import settings

#: Rows that a confirmation shows.
SAMPLE = 5
TIMES = ("enqueued", "wait", "run_time")


class JobLists(JobColumns, JobOperations):
    """The list of a model of jobs."""

    change_list_template = "admin/django_jobs/job_list.html"
    list_display: tuple[str, ...] = ("status", "task_name", "error", "queue_name", "attempt", *TIMES, "worker_name")
    list_display_links = ("task_name",)
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = EstimatedPaginator
    ordering = ("-pk",)
    sortable_by = ()
    # What it searches is in get_search_results(); this makes the box appear.
    search_fields = ("task",)
    search_help_text = gettext_lazy("The id of a job, a task, or the beginning of its name.")
    actions: tuple[str, ...] = ("retry_selected", "discard_selected", "delete_selected")
    #: What can be done to rows, by name.
    operations: Mapping[str, bulk.Operation] = bulk.OPERATIONS
    #: Shows rows that something is about to be done to.
    sample_template = "admin/django_jobs/job_sample.html"

    class Media:
        css = {"all": ["django_jobs/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, from the database that they are in."""
        return super().get_queryset(request).using(settings.database)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        """Return the list that finds its pages by key."""
        return JobChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """
        Allow nothing but the filters on the page.

        Every column would do otherwise: whoever may not see arguments could guess them (``?message__contains=``), and
        most of them have no index.
        """
        named = self.list_filter if request is None else self.get_list_filter(request)
        return any(is_lookup_of(entry, lookup) for entry in named)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Return the columns; the error without its message for those who may not read it."""
        error = "error" if self.has_payload_permission(request) else "error_type"
        return [error if column == "error" else column for column in self.list_display]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that are searched for."""
        return search.parse(search_term).narrow(queryset), False

    # Operations commit chunk by chunk, and what waits for a commit must fail here, where it can be told.
    @transaction.non_atomic_requests
    @transaction.non_atomic_requests(using=str(settings.while_starting("DATABASE")))
    @answers_database_errors
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list; what is posted is an operation on a selection."""
        operation = self.operations.get(request.POST.get("action", "").removesuffix("_selected"))
        if operation is not None and not self.may(request, operation):
            raise PermissionDenied  # the admin itself would say that no action was selected
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    @admin.action(permissions=["retry"], description=gettext_lazy("Retry selected %(verbose_name_plural)s"))
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Send jobs again."""
        return self._operate_on_selection(request, bulk.RETRY, queryset)

    @admin.action(permissions=["discard"], description=gettext_lazy("Discard selected %(verbose_name_plural)s"))
    def discard_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Discard failures."""
        return self._operate_on_selection(request, bulk.DISCARD, queryset)

    @admin.action(permissions=["delete"], description=gettext_lazy("Delete selected %(verbose_name_plural)s"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Delete rows, in chunks and without listing them: the action that every admin has collects them in memory."""
        return self._operate_on_selection(request, bulk.DELETE, queryset)

    def _operate_on_selection(
        self, request: HttpRequest, operation: bulk.Operation, rows: QuerySet[Any]
    ) -> HttpResponse | None:
        """Do it, or ask first. Whoever was ticked but is in no state for it is left out."""
        across = request.POST.get("select_across") == "1"
        named = request.GET.get(StateFilter.parameter_name) in operation.states
        rows = self.eligible(operation, rows, sweep=across and not named)
        if (across or operation.confirm) and "confirmed" not in request.POST:
            return self._confirmation(request, operation, rows, across=across)
        what = _("all that match %(filter)s") % {"filter": urlencode(self._narrowed_by(request))} if across else ""
        self._operate(request, operation, rows, what=what)
        return None

    def eligible(self, operation: bulk.Operation, rows: QuerySet[Any], *, sweep: bool) -> QuerySet[Any]:
        """Return the rows that are in a state for it. ``sweep``: they were not named, and nor was a state."""
        return rows.filter(state__in=operation.sweeps if sweep else operation.states)

    def sample_of(self, rows: QuerySet[Any]) -> list[Any]:
        """Return the newest of some rows, as a confirmation shows them."""
        return list(rows.only("id", "task", "state", "enqueued_at").order_by("-pk")[:SAMPLE])

    def _narrowed_by(self, request: HttpRequest) -> list[tuple[str, str]]:
        """Return what the address says of the rows, and not of the place in them."""
        found = ((name, str(value)) for name, value in request.GET.items() if value)
        return sorted(pair for pair in found if pair[0] == SEARCH_VAR or self.lookup_allowed(*pair, request))

    def _confirmation(
        self, request: HttpRequest, operation: bulk.Operation, rows: QuerySet[Any], *, across: bool
    ) -> HttpResponse:
        """Ask again, saying how many there are, and which, and what will become of them."""
        count = capped(rows)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Are you sure?"),
            "opts": self.opts,
            "media": self.media,
            "operation": operation,
            "across": across,
            "count": count,
            "name": self.opts.verbose_name if count.number == 1 else self.opts.verbose_name_plural,
            "sample": self.sample_of(rows),
            "sample_template": self.sample_template,
            "filters": self._narrowed_by(request),
            "ticked": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "action_name": f"{operation.name}_selected",
            "back": request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_jobs/confirm.html", context)


def is_lookup_of(entry: Any, lookup: str) -> bool:
    """Say whether a part of the address belongs to an entry of ``list_filter``: a class of ours, or a field."""
    parameter = getattr(entry, "parameter_name", None)
    if parameter is not None:
        return bool(lookup == parameter)
    field = str(entry[0] if isinstance(entry, tuple | list) else entry)
    return lookup == field or lookup.startswith(f"{field}{LOOKUP_SEP}")
