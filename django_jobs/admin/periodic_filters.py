"""The filters of the lists of periodic tasks and of their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs import clock
from django_jobs.admin.periodic_history import OUTCOMES, last_outcomes
from django_jobs.admin.presentation import look_of
from django_jobs.conf import settings
from django_jobs.models import JobResult, PeriodicTask
from django_jobs.models.periodic import Origin, Outcome
from django_jobs.states import State

#: How many periodic tasks the list of runs offers to choose from.
OFFERED = 30

Rows = QuerySet[Any]
Choices = Iterable[tuple[str, Any]]


class PeriodicFilter(SimpleListFilter):
    """
    A filter that takes nothing but its choices.

    Anything else leads to the whole list, which says so: an action on "all" must not mean more than what was filtered.
    """

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Return the rows that the choice leaves."""
        chosen = self.value()
        if chosen is None:
            return queryset
        if chosen not in {str(choice) for choice, _title in self.lookup_choices}:
            text = gettext("The filter “%(title)s” knows no “%(value)s”: everything is shown.")
            messages.warning(request, text % {"title": self.title, "value": chosen[:60]})
            raise IncorrectLookupParameters(f"{self.parameter_name}={chosen!r}")
        return self.narrow(queryset, chosen)

    def narrow(self, queryset: Rows, chosen: str) -> Rows:
        """Return the rows of a choice."""
        return queryset.filter(**{str(self.parameter_name): chosen})

    def has_output(self) -> bool:
        """Stay on the page as long as something is chosen."""
        return super().has_output() or self.value() is not None


class StrictChangeList(ChangeList):
    """A list whose address takes nothing but its filters; anything else leads to the whole list."""

    def get_filters(self, request: HttpRequest) -> Any:
        """Return the filters that the address names."""
        try:
            return super().get_filters(request)
        except DisallowedModelAdminLookup as error:
            messages.warning(request, gettext("There is no such filter: everything is shown."))
            raise IncorrectLookupParameters(error) from error


class EnabledFilter(PeriodicFilter):
    """By whether it runs."""

    title = _("enabled")
    parameter_name = "enabled"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return yes and no."""
        return [("1", _("Yes")), ("0", _("No"))]

    def narrow(self, queryset: Rows, chosen: str) -> Rows:
        """Return the rows of a choice."""
        return queryset.filter(enabled=chosen == "1")


class _ColumnFilter(PeriodicFilter):
    """By a column: what rows have there."""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return the values that there are."""
        column = str(self.parameter_name)
        values = PeriodicTask.objects.using(settings.database).order_by(column).values_list(column, flat=True)
        return [(value, value) for value in values.distinct() if value]


class TaskFilter(_ColumnFilter):
    """By task."""

    title = _("task")
    parameter_name = "task"


class QueueFilter(_ColumnFilter):
    """By queue, where the row names one."""

    title = _("queue")
    parameter_name = "queue"


class OriginFilter(PeriodicFilter):
    """By who has made it."""

    title = _("origin")
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return code and admin."""
        return [(Origin.CODE.value, _("code")), (Origin.ADMIN.value, _("admin"))]


class LastOutcomeFilter(PeriodicFilter):
    """By what the last run came to."""

    title = _("last run")
    parameter_name = "last"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return what a run can come to."""
        ends = [(state.value.lower(), look_of(state).word) for state in _ENDS]
        others = [(str(outcome), OUTCOMES[outcome].word) for outcome in _NOT_SENT]
        return [*ends, *others, ("never", _("never ran"))]

    def narrow(self, queryset: Rows, chosen: str) -> Rows:
        """Return the rows of a choice."""
        if chosen == "never":
            return queryset.filter(runs__isnull=True)
        rows: Rows = queryset.annotate(last_outcome=Subquery(last_outcomes()))
        if chosen in _NOT_SENT:
            return rows.filter(last_outcome=chosen)
        rows = rows.filter(last_outcome=Outcome.SENT).annotate(last_sent=Subquery(last_outcomes("job_id")))
        ended = JobResult.objects.filter(pk=OuterRef("last_sent"), state=chosen.upper())
        return rows.filter(Exists(ended))


_ENDS = (State.SUCCESS, State.FAILURE, State.REVOKED)
_NOT_SENT = (Outcome.SKIPPED, Outcome.MISSED, Outcome.REFUSED)


class OutcomeFilter(PeriodicFilter):
    """By what became of a moment: of its job, where that has ended, as the list shows it."""

    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return what a run can come to."""
        ends = [(state.value.lower(), look_of(state).word) for state in _ENDS]
        sent = (str(Outcome.SENT), _("sent, whatever came of it"))
        return [*ends, sent, *((str(outcome), OUTCOMES[outcome].word) for outcome in _NOT_SENT)]

    def narrow(self, queryset: Rows, chosen: str) -> Rows:
        """Return the rows of a choice."""
        if chosen in Outcome.values:
            return queryset.filter(outcome=chosen)
        return queryset.filter(Exists(JobResult.objects.filter(pk=OuterRef("job_id"), state=chosen.upper())))


class RunTimeFilter(PeriodicFilter):
    """By age: of all tasks when beat came to it, of one task the moment itself, which is what the indexes know."""

    title = _("time")
    parameter_name = "within"
    ranges: Mapping[str, tuple[timedelta, Any]] = {
        "1h": (timedelta(hours=1), _("the last hour")),
        "24h": (timedelta(hours=24), _("the last 24 hours")),
        "7d": (timedelta(days=7), _("the last 7 days")),
        "30d": (timedelta(days=30), _("the last 30 days")),
    }

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return the ranges."""
        self.column = "due" if request.GET.get(OfTaskFilter.parameter_name) else "fired"
        return [(name, title) for name, (_age, title) in self.ranges.items()]

    def narrow(self, queryset: Rows, chosen: str) -> Rows:
        """Return the rows of a choice."""
        return queryset.filter(**{f"{self.column}__gte": clock.stamp() - self.ranges[chosen][0]})


class OfTaskFilter(PeriodicFilter):
    """By periodic task. There may be thousands: it offers some, the search finds others, and links lead here."""

    title = _("periodic task")
    parameter_name = "periodic_task"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return the first by name, and the one that the address names."""
        tasks = PeriodicTask.objects.using(settings.database).order_by("name").values_list("pk", "name")
        offered = {str(pk): name for pk, name in tasks[:OFFERED]}
        chosen = request.GET.get(self.parameter_name, "")
        if chosen not in offered and chosen.isdecimal() and len(chosen) <= 18:
            offered |= {str(pk): name for pk, name in tasks.filter(pk=int(chosen))}
        return list(offered.items())
