"""The page of one periodic task, and what is done to it there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_jobs.admin.counting import capped
from django_jobs.admin.guard import answers_database_errors
from django_jobs.admin.periodic_actions import PeriodicLists
from django_jobs.admin.periodic_columns import drift_of, is_late
from django_jobs.admin.periodic_form import PeriodicTaskForm
from django_jobs.admin.periodic_history import strip
from django_jobs.admin.periodic_preview import preview_of, typed
from django_jobs.admin.presentation import EMPTY, HIDDEN, WHY_HIDDEN, readable
from django_jobs.beat import damage
from django_jobs.beat.damage import Unreadable
from django_jobs.beat.declared import to_column
from django_jobs.beat.validation import problems
from django_jobs.conf import settings
from django_jobs.envelope import Job
from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.models.periodic import Origin
from django_jobs.registry import registry
from django_jobs.results.redaction import shown_arguments

#: What stands in the place of arguments for those who may not edit them, and for those who may not even see them.
PAYLOAD = ("args", "kwargs", "headers")
SHOWN_INSTEAD = {"args": "args_shown", "kwargs": "kwargs_shown"}
#: Digits of a key that every database takes.
LONGEST_KEY = 18
#: What is done to one row by POST: the word in the address, and the permission.
OPERATIONS = {"run": "run", "duplicate": "add", "as-in-code": "change"}


class PeriodicPages(PeriodicLists):
    """The form of a periodic task, and the addresses beside it."""

    form = PeriodicTaskForm
    change_form_template = "admin/django_jobs/periodic_form.html"
    readonly_fields = ("preview", "hidden", *SHOWN_INSTEAD.values())
    fieldsets = (
        (None, {"fields": ("name", "enabled", "task", "args", "kwargs", "description")}),
        (gettext_lazy("When"), {"fields": ("schedule", "timezone", "preview", ("starts", "ends"), "one_off")}),
        (
            gettext_lazy("When something is in the way"),
            {"fields": ("catch_up", "start_deadline", "overlap"), "classes": ("collapse",)},
        ),
        (
            gettext_lazy("How its jobs are sent"),
            {"fields": ("queue", "priority", "expires", "jitter", "headers"), "classes": ("collapse",)},
        ),
    )

    class Media:
        css = {"all": ["django_jobs/admin.css", "django_jobs/periodic.css"]}
        js = ["django_jobs/periodic.js"]

    def get_urls(self) -> list[URLPattern]:
        """Add the addresses of the preview, and of what is done to one row."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        ours = [path("preview/", view(self.preview_view), name=f"{name}_preview")]
        for operation in OPERATIONS:
            does = _outside_transactions(partial(self.operation_view, operation=operation))
            ours.append(path(f"<int:pk>/{operation}/", view(does), name=f"{name}_{operation}"))
        return [*ours, *super().get_urls()]

    # Looking

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return a row; None: there is none. Raises Unreadable for one that SQL has damaged."""
        try:
            row = super().get_object(request, object_id, from_field)
            if row is not None:
                damage.refuse(row)
        except Exception as error:
            if not damage.is_unreadable(error):
                raise
            row = None
        is_key = object_id.isdecimal() and len(object_id) <= LONGEST_KEY
        if row is None and is_key and (damaged := damage.find(settings.database, int(object_id))):
            raise Unreadable(damaged.advice)
        return row

    @answers_database_errors
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the form; what is posted is saved."""
        row = None if object_id is None else self.get_object(request, object_id)
        context = {} if row is None else self._around(request, row)
        return super().changeform_view(request, object_id, form_url, {**context, **(extra_context or {})})

    @answers_database_errors
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Ask, and delete."""
        return super().delete_view(request, object_id, extra_context)

    @answers_database_errors
    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Show who has changed what."""
        return super().history_view(request, object_id, extra_context)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Say what a schedule means that somebody types. Reads at most the row it belongs to; changes nothing."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not (self.has_view_permission(request) or self.has_add_permission(request)):
            raise PermissionDenied
        return self._preview(request)

    @answers_database_errors
    def _preview(self, request: HttpRequest) -> HttpResponse:
        pk = request.GET.get("id", "")
        row = self.get_object(request, pk) if pk else None
        return JsonResponse(typed(request.GET, row or PeriodicTask()).as_json())

    @admin.display(description=gettext_lazy("Next runs"))
    def preview(self, row: PeriodicTask | None) -> SafeString:
        """Return what the schedule means; a script keeps it true while somebody types."""
        context = {
            "preview": preview_of(row) if row is not None and row.schedule else None,
            "url": self.url_of("preview"),
            "id": "" if row is None or row.pk is None else row.pk,
        }
        return render_to_string("admin/django_jobs/periodic_preview.html", context)

    @admin.display(description=gettext_lazy("Arguments"))
    def args_shown(self, row: PeriodicTask) -> str:
        """Return the arguments for those who may see and not edit them."""
        return readable(_redacted(row)[0])

    @admin.display(description=gettext_lazy("Keyword arguments"))
    def kwargs_shown(self, row: PeriodicTask) -> str:
        """Return the keyword arguments for those who may see and not edit them."""
        return readable(_redacted(row)[1])

    @admin.display(description=gettext_lazy("Arguments"))
    def hidden(self, row: PeriodicTask) -> str:
        """Return what stands for arguments that this user may not see."""
        return f"{HIDDEN} {WHY_HIDDEN}"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields, with arguments only for those who may see them."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        instead = SHOWN_INSTEAD if self.has_payload_permission(request) else {"args": "hidden"}
        return [
            (title, {**options, "fields": tuple(_instead(options["fields"], instead))}) for title, options in fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what cannot be edited: by its name the code finds its row again."""
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "name") if obj is not None and obj.origin == Origin.CODE else fields

    # Changing

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write what was edited and nothing else: beat writes into the same row at the same time."""
        if change:
            columns = [name for name in form.changed_data if name in form.fields]
            if columns:
                obj.save(using=settings.database, update_fields=columns)
        else:
            obj.save(using=settings.database, force_insert=True)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete a row and its runs."""
        obj.delete(using=settings.database)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what is deleted; of the runs their number, because there may be a million."""
        rows = list(objs)
        counted = capped(PeriodicRun.objects.using(settings.database).filter(periodic_task__in=rows))
        names = [_deleted(row) for row in rows]
        counts: dict[str, Any] = {str(self.opts.verbose_name_plural): len(rows)}
        if counted.number:
            counts[str(PeriodicRun._meta.verbose_name_plural)] = str(counted)
        return names, counts, set(), []

    def operation_view(self, request: HttpRequest, pk: int, operation: str) -> HttpResponse:
        """Do something to one row."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        allowed = getattr(self, f"has_{OPERATIONS[operation]}_permission")(request)
        if not allowed or not self.has_view_permission(request):
            raise PermissionDenied
        return self._operate_on_row(request, pk, operation)

    @answers_database_errors
    def _operate_on_row(self, request: HttpRequest, pk: int, operation: str) -> HttpResponse:
        row = self.get_object(request, str(pk))
        if row is None:
            self.message_user(request, _("There is no such periodic task any more."), messages.WARNING)
            return HttpResponseRedirect(self.url_of("changelist"))
        if operation == "run":
            self.run_rows(request, [row])
        elif operation == "duplicate":
            row = next(iter(self.duplicate_rows(request, [row])), row)
        else:
            self._follow_code(request, row)
        return HttpResponseRedirect(self.url_of("change", row.pk))

    def _follow_code(self, request: HttpRequest, row: PeriodicTask) -> None:
        """Let a column say again what the code says; without a name all that differ."""
        differing = drift_of(row)
        asked = request.POST.get("field", "")
        fields = [name for name in differing if asked in ("", name)]
        if not fields:
            self.message_user(request, _("It is as the code says already."), messages.WARNING)
            return
        for name in fields:
            setattr(row, name, to_column(name, differing[name][0]))
        row.save(using=settings.database, update_fields=fields)
        titles = ", ".join(str(self.opts.get_field(name).verbose_name) for name in fields)  # type: ignore[union-attr]
        text = _("As in the code again: %(fields)s.") % {"fields": titles}
        self.log_all(request, [row], CHANGE, text)
        self.message_user(request, text, messages.SUCCESS)

    def _around(self, request: HttpRequest, row: PeriodicTask) -> dict[str, Any]:
        """Return what the page says besides the form."""
        runs = self.recent_runs(request, [row.pk]).get(row.pk, [])
        may_see = self.has_payload_permission(request)
        return {
            "runs": runs,
            "strip": strip(runs),
            "runs_url": self._runs_url(request, row),
            "drift": [self._drifted(name, code, now, may_see) for name, (code, now) in drift_of(row).items()],
            "wrong": list(problems(row).values()) if may_see else [],
            "is_late": is_late(row),
            "is_known": row.task in registry,
            "is_gone_from_code": row.origin == Origin.CODE and not row.declared,
            "may_run": self.has_run_permission(request),
            "may_duplicate": self.has_add_permission(request),
            "may_follow": self.has_change_permission(request, row),
        }

    def _drifted(self, name: str, code: Any, now: Any, may_see: bool) -> dict[str, Any]:
        hidden = name in PAYLOAD and not may_see
        title = self.opts.get_field(name).verbose_name  # type: ignore[union-attr]
        code, now = (HIDDEN if hidden else EMPTY if value in (None, "") else str(value) for value in (code, now))
        return {"name": name, "title": title, "code": code, "row": now}

    def _runs_url(self, request: HttpRequest, row: PeriodicTask) -> str:
        if not self.may_see_runs(request):
            return ""
        url = reverse("admin:django_jobs_periodicrun_changelist", current_app=self.admin_site.name)
        return f"{url}?periodic_task={row.pk}"


def _outside_transactions(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Keep a view out of the transaction of the request (ATOMIC_REQUESTS): what beat sends has one of its own."""
    return transaction.non_atomic_requests(using=str(settings.while_starting("DATABASE")))(
        transaction.non_atomic_requests(view)
    )


def _deleted(row: PeriodicTask) -> str:
    """Return the name of a row on the page that asks whether to delete it, and what would make that vain."""
    if not row.declared:
        return str(row)
    back = _("Declared in code: when beat starts the next time it is made again. To stop it, disable it instead.")
    return format_html('{} <strong class="dj-returns">{}</strong>', row, back)


def _instead(fields: Iterable[Any], instead: Mapping[str, str]) -> Iterator[Any]:
    for name in fields:
        if name not in PAYLOAD:
            yield name
        elif name in instead:
            yield instead[name]


def _redacted(row: PeriodicTask) -> tuple[str, str]:
    """Return arguments without what the task calls sensitive; as they are if nobody can read them."""
    task = registry.get(row.task)
    try:
        job = Job(
            id="",
            task=row.task,
            queue="",
            packed_args=json.loads(row.args or "[]"),
            packed_kwargs=json.loads(row.kwargs or "{}"),
        )
        return shown_arguments(job, task.options.sensitive if task is not None else ())
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return row.args, row.kwargs
