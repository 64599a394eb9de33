"""The list of periodic tasks, and what is done to a selection of its rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets, helpers
from django.contrib.admin.models import ADDITION, CHANGE
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_jobs import clock
from django_jobs.admin import bulk
from django_jobs.admin.guard import answers_database_errors
from django_jobs.admin.lists import is_lookup_of
from django_jobs.admin.periodic_columns import PeriodicColumns
from django_jobs.admin.periodic_export import entries_of
from django_jobs.admin.periodic_filters import (
    EnabledFilter,
    LastOutcomeFilter,
    OriginFilter,
    QueueFilter,
    StrictChangeList,
    TaskFilter,
)
from django_jobs.admin.periodic_permissions import PeriodicPermissions
from django_jobs.beat import damage
from django_jobs.beat.damage import Damaged
from django_jobs.beat.declared import FIELDS
from django_jobs.beat.firing import fire_now
from django_jobs.conf import settings
from django_jobs.exceptions import JobsError
from django_jobs.models import PeriodicTask
from django_jobs.models.periodic import Outcome

#: The names of the actions to what each needs: has_<this>_permission.
PERMISSIONS = {
    "enable_selected": "change",
    "disable_selected": "change",
    "run_selected": "run",
    "duplicate_selected": "add",
    "export_selected": "payload",
    "delete_selected": "delete",
}
#: How many of those that were refused are told one by one.
TOLD = 3
LONGEST_NAME = 191


class PeriodicChangeList(StrictChangeList):
    """The list, whose rows know their last runs."""

    def get_results(self, request: HttpRequest) -> None:
        """Read one page."""
        page: Any = self.model_admin
        super().get_results(request)
        self.result_list, damaged = damage.read(self.result_list)
        for row in damaged:
            messages.error(request, f"“{row.name}”: {row.advice}")
        runs = page.recent_runs(request, [row.pk for row in self.result_list])
        for row in self.result_list:
            row.recent = runs.get(row.pk, [])


class PeriodicLists(PeriodicColumns, PeriodicPermissions):
    """The list of periodic tasks."""

    change_list_template = "admin/django_jobs/periodic_list.html"
    list_display: tuple[str, ...] = (
        "name_and_marks",
        "is_enabled",
        "task_name",
        "schedule_words",
        "next_moment",
        "last_moment",
    )
    list_display_links = ("name_and_marks",)
    list_filter = (EnabledFilter, LastOutcomeFilter, OriginFilter, QueueFilter, TaskFilter)
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    search_fields = ("name", "task")
    search_help_text = gettext_lazy("A part of a name, or of that of a task.")
    actions = tuple(PERMISSIONS)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list whose rows know their runs."""
        return PeriodicChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the filters on the page and nothing else: arguments could be guessed (``?kwargs__contains=``)."""
        return any(is_lookup_of(entry, lookup) for entry in self.list_filter)

    # What beat sends has its own transaction, and what goes wrong with it must go wrong here, where it can be told.
    @transaction.non_atomic_requests
    @transaction.non_atomic_requests(using=str(settings.while_starting("DATABASE")))
    @answers_database_errors
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list; what is posted is an action on a selection."""
        needed = PERMISSIONS.get(request.POST.get("action", ""))
        if needed is not None and not getattr(self, f"has_{needed}_permission")(request):
            raise PermissionDenied  # the admin itself would say that no action was selected
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Do what is asked for. What cannot be read is on no page, so "all" does not mean it either."""
        if request.POST.get("select_across") == "1":
            damaged = [row.pk for row in damage.scan(queryset) if isinstance(row, Damaged)]
            queryset = queryset.exclude(pk__in=damaged)
        response: HttpResponse | None = super().response_action(request, queryset, *args, **kwargs)
        return response

    @admin.action(permissions=["change"], description=gettext_lazy("Enable selected %(verbose_name_plural)s"))
    def enable_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Enable rows. What they missed while they were off is not made up for."""
        self._switch(request, queryset, to=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Disable selected %(verbose_name_plural)s"))
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Disable rows."""
        self._switch(request, queryset, to=False)

    @admin.action(permissions=["run"], description=gettext_lazy("Run selected %(verbose_name_plural)s now"))
    def run_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Send the jobs of rows now; asked for all that match: after a second click."""
        if request.POST.get("select_across") == "1" and "confirmed" not in request.POST:
            return self._confirmation(request, queryset)
        self.run_rows(request, queryset.order_by("name"))
        return None

    @admin.action(permissions=["add"], description=gettext_lazy("Duplicate selected %(verbose_name_plural)s"))
    def duplicate_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Make disabled copies of rows; of a single one, open the copy."""
        copies = self.duplicate_rows(request, list(queryset.order_by("name")))
        if len(copies) == 1 and self.has_view_permission(request):
            return HttpResponseRedirect(self.url_of("change", copies[0].pk))
        return None

    @admin.action(permissions=["payload"], description=gettext_lazy("Export selected %(verbose_name_plural)s as JSON"))
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        """Return rows as the entries of a project's settings."""
        response = JsonResponse(entries_of(queryset.order_by("name")), json_dumps_params={"indent": 2})
        response["Content-Disposition"] = 'attachment; filename="periodic-tasks.json"'
        return response

    def run_rows(self, request: HttpRequest, rows: Iterable[PeriodicTask]) -> None:
        """Send the jobs of rows, write down who did, and say what came of it."""
        deadline = time.monotonic() + bulk.TIME_LIMIT
        sent: list[PeriodicTask] = []
        wrong: list[str] = []
        left = 0
        for row in rows:
            if time.monotonic() > deadline:
                left += 1
                continue
            try:
                run = fire_now(row, user=request.user.get_username())
            except (JobsError, PeriodicTask.DoesNotExist) as error:
                wrong.append(f"{row.name}: {error}")
                continue
            if run.outcome == Outcome.SENT:
                sent.append(row)
            else:
                wrong.append(f"{row.name}: {run.detail}")
        self.log_all(request, sent, CHANGE, _("Run now."))
        self._tell_of_runs(request, len(sent), wrong, left)

    def duplicate_rows(self, request: HttpRequest, rows: Sequence[PeriodicTask]) -> list[PeriodicTask]:
        """Make disabled copies, of the admin's own, and return them."""
        copies = []
        for row in rows:
            values = {name: getattr(row, name) for name in FIELDS}
            copy = PeriodicTask(**{**values, "name": _free_name(row.name), "enabled": False, "created": clock.stamp()})
            try:
                with transaction.atomic(using=settings.database):
                    copy.save(using=settings.database, force_insert=True)
            except IntegrityError:
                self.message_user(request, _("Somebody else has taken the name “%s”.") % copy.name, messages.ERROR)
                continue
            copies.append(copy)
        self.log_all(request, copies, ADDITION, _("Duplicated."))
        if copies:
            text = _("%(names)s: made, and disabled.") % {"names": ", ".join(copy.name for copy in copies[:TOLD])}
            if len(copies) > TOLD:
                text = _("%(rows)s were made, and are disabled.") % {"rows": self.named(len(copies))}
            self.message_user(request, text, messages.SUCCESS)
        return copies

    def _switch(self, request: HttpRequest, queryset: QuerySet[Any], *, to: bool) -> None:
        rows = list(queryset.exclude(enabled=to).only("pk", "name"))
        done = (
            queryset.model.objects.using(settings.database).filter(pk__in=[row.pk for row in rows]).update(enabled=to)
        )
        self.log_all(request, rows, CHANGE, _("Enabled.") if to else _("Disabled."))
        if to:
            text = ngettext("%d periodic task was enabled.", "%d periodic tasks were enabled.", done) % done
        else:
            text = ngettext("%d periodic task was disabled.", "%d periodic tasks were disabled.", done) % done
        self.message_user(request, text, messages.SUCCESS)

    def _tell_of_runs(self, request: HttpRequest, sent: int, wrong: Sequence[str], left: int) -> None:
        if sent:
            self.message_user(
                request, ngettext("%d job was sent.", "%d jobs were sent.", sent) % sent, messages.SUCCESS
            )
        if wrong:
            more = _(" And %d more.") % (len(wrong) - TOLD) if len(wrong) > TOLD else ""
            text = _("Not sent: %(wrong)s%(more)s") % {"wrong": "; ".join(wrong[:TOLD]), "more": more}
            self.message_user(request, text, messages.ERROR)
        if left:
            text = _("Not reached, because the time of one request was over: %d. Run them again.")
            self.message_user(request, text % left, messages.WARNING)

    def _confirmation(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Are you sure?"),
            "opts": self.opts,
            "media": self.media,
            "rows_text": self.named(queryset.count()),
            "sample": [row.name for row in queryset.order_by("name")[:TOLD]],
            "ticked": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "back": request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_jobs/periodic_confirm.html", context)


def _free_name(name: str) -> str:
    """Return the name of a copy that no row has."""
    rows = PeriodicTask.objects.using(settings.database)
    number = 1
    while True:
        suffix = " (copy)" if number == 1 else f" (copy {number})"
        found = name[: LONGEST_NAME - len(suffix)] + suffix
        if not rows.filter(name=found).exists():
            return found
        number += 1
