"""The list of what became of the moments of periodic tasks. Read only: beat writes it, and removes what is old."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs.admin.counting import EstimatedPaginator
from django_jobs.admin.guard import answers_database_errors
from django_jobs.admin.lists import is_lookup_of
from django_jobs.admin.periodic_filters import OfTaskFilter, OutcomeFilter, RunTimeFilter, StrictChangeList
from django_jobs.admin.periodic_history import run_of
from django_jobs.admin.periodic_permissions import PeriodicPermissions
from django_jobs.admin.presentation import EMPTY, breakable, first_line, moment, number
from django_jobs.conf import settings
from django_jobs.models import JobResult, PeriodicTask
from django_jobs.models.periodic import Outcome

#: How many runs are looked through where no index finds those that are asked for.
WINDOW = 50_000
#: Of how many periodic tasks a search shows the runs.
MOST_FOUND = 1000


class RunChangeList(StrictChangeList):
    """The list, whose rows know what their jobs came to."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the rows that the filters leave; where no index finds them, among the newest."""
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        self.looked_through = 0
        newest, column = self.root_queryset, "fired"
        is_slow = bool(self.query) or "outcome" in self.params
        if self.is_of_task:
            newest, column = newest.filter(periodic_task=self.params["periodic_task"]), "due"
            is_slow = self.params.get("outcome", "") not in ("", *Outcome.values)
        if not is_slow:
            return rows
        oldest = newest.order_by(f"-{column}").values_list(column, flat=True)[WINDOW : WINDOW + 1].first()
        if oldest is None:
            return rows
        self.looked_through = WINDOW
        return rows.filter(**{f"{column}__gt": oldest})

    @property
    def is_of_task(self) -> bool:
        """Whether it shows the runs of one periodic task."""
        return "periodic_task" in self.params

    def get_results(self, request: HttpRequest) -> None:
        """Read one page."""
        page: Any = self.model_admin
        super().get_results(request)
        self.result_list = list(self.result_list)
        jobs = JobResult.objects.using(settings.database).filter(pk__in=[row.job_id for row in self.result_list])
        states = dict(jobs.values_list("pk", "state"))
        may_see = page.may_see_jobs(request)
        for row in self.result_list:
            run = run_of(row, states.get(row.job_id, ""))
            row.url = page.task_url(request, row.periodic_task_id)
            row.shown = replace(run, url=page.job_url(run)) if may_see else run


class PeriodicRunPages(PeriodicPermissions):
    """The list and the page of runs."""

    change_list_template = "admin/django_jobs/periodic_list.html"
    list_display: tuple[str, ...] = ("due_moment", "name", "status", "fired_moment", "remark")
    list_display_links = ("due_moment",)
    list_filter = (OutcomeFilter, RunTimeFilter, OfTaskFilter)
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    search_fields = ("periodic_task__name",)
    search_help_text = _("A part of the name of a periodic task.")
    paginator = EstimatedPaginator
    sortable_by = ()
    actions = None

    class Media:
        css = {"all": ["django_jobs/admin.css", "django_jobs/periodic.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: beat makes runs."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what has happened is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: beat removes what is old, and a task takes its runs along."""
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RunChangeList]:
        """Return the list whose rows know their jobs."""
        return RunChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """
        Return the rows, with the names of their tasks.

        These are read apart: joined to them, MariaDB would sort all runs. And the names alone: the task of a run that
        was refused may be one that cannot be read.
        """
        rows: QuerySet[Any] = super().get_queryset(request)
        names = PeriodicTask.objects.using(settings.database).only("name")
        return rows.prefetch_related(Prefetch("periodic_task", queryset=names))

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the order that an index gives: of one task by moment, of all of them by when they were fired."""
        return ("periodic_task_id", "-due") if request.GET.get("periodic_task") else ("-fired",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the runs of the tasks that are called so, which are looked for first: no run is read for its name."""
        if not search_term:
            return queryset, False
        # Lowered here: names are compared exactly, and MariaDB does so whatever it is asked.
        named = PeriodicTask.objects.using(settings.database).alias(lowered=Lower("name")).order_by("name")
        tasks = named.filter(lowered__contains=search_term.lower())
        return queryset.filter(periodic_task__in=list(tasks.values_list("pk", flat=True)[:MOST_FOUND])), False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the filters on the page and nothing else."""
        return any(is_lookup_of(entry, lookup) for entry in self.list_filter)

    @answers_database_errors
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list."""
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    @answers_database_errors
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show one run; there is nothing to post here."""
        if request.method not in ("GET", "HEAD") or not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            self.message_user(request, gettext("There is no such run any more."), messages.WARNING)
            return HttpResponseRedirect(self.url_of("changelist"))
        jobs = JobResult.objects.using(settings.database).filter(pk=row.job_id)
        run = run_of(row, jobs.values_list("state", flat=True).first() or "")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Run of %(name)s") % {"name": row.periodic_task.name},
            "opts": self.opts,
            "media": self.media,
            "name": row.periodic_task.name,
            "task_url": self.task_url(request, row.periodic_task_id),
            "runs_url": f"{self.url_of('changelist')}?periodic_task={row.periodic_task_id}",
            "run": run,
            "job_url": self.job_url(run) if self.may_see_jobs(request) else "",
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_jobs/periodic_run.html", context)

    def task_url(self, request: HttpRequest, pk: int) -> str:
        """Return the address of a periodic task; empty: this site has none, or not for this user."""
        page = self.admin_site._registry.get(PeriodicTask)
        if page is None or not page.has_view_permission(request):
            return ""
        return reverse("admin:django_jobs_periodictask_change", args=(pk,), current_app=self.admin_site.name)

    @admin.display(description=_("due"))
    def due_moment(self, row: Any) -> SafeString | str:
        """Return the moment."""
        return moment(row.due)

    @admin.display(description=_("periodic task"))
    def name(self, row: Any) -> SafeString:
        """Return the name of the task."""
        return format_html('<a href="{}">{}</a>' if row.url else "{1}", row.url, breakable(row.periodic_task.name))

    @admin.display(description=_("outcome"))
    def status(self, row: Any) -> SafeString:
        """Return what its job came to, or what else became of it."""
        run = row.shown
        return format_html('<a href="{}">{}</a>', run.url, run.status) if run.url else run.status

    @admin.display(description=_("fired"))
    def fired_moment(self, row: Any) -> SafeString | str:
        """Return when beat came to it, and how late that was."""
        if row.by_hand:
            return moment(row.fired, short=True)
        shown = moment(row.fired, short=True)
        return format_html('{} <span class="dj-late" title="{}">+{}</span>', shown, gettext("Lateness"), row.shown.late)

    @admin.display(description=_("remark"))
    def remark(self, row: Any) -> SafeString | str:
        """Return how many moments before it it stands for, and why it was not sent, or who has asked for it."""
        said = [gettext("%(n)s missed before.") % {"n": number(row.missed)}] if row.missed else []
        said += [row.detail] if row.detail else []
        text = " ".join(said)
        return format_html('<span class="dj-remark" title="{}">{}</span>', text, first_line(text)) if text else EMPTY
