"""
The filters of the lists of jobs.

Their choices come from the registry, the settings and the newest rows, never from a ``SELECT DISTINCT`` of all rows,
which is the slowest query of a list of a million. Each says what an index can do for it, see ``changelist``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs import clock
from django_jobs.admin.counting import newest_values
from django_jobs.admin.presentation import first_line, look_of
from django_jobs.conf import settings
from django_jobs.models import JobResult
from django_jobs.options import DEFAULT_QUEUE, is_queue_name
from django_jobs.registry import registry
from django_jobs.states import State

Rows = QuerySet[Any]


class Narrowing(Enum):
    """What a filter costs."""

    #: An index gives the rows in the order of the list, for one filter of this kind at a time.
    EQUALITY = "equality"
    #: A range of ids; goes with anything.
    RANGE = "range"
    #: Rows have to be looked at one by one.
    RESIDUAL = "residual"


class JobFilter(SimpleListFilter):
    """A filter that knows what it costs."""

    narrowing = Narrowing.RESIDUAL

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """
        Return the rows that the choice leaves.

        Raises IncorrectLookupParameters for what cannot be chosen, which leads to the unfiltered list, and says so
        there: neither a list that is empty for no reason nor an operation on all rows that were thought to be filtered.
        """
        chosen = self.value()
        if chosen is None:
            return queryset
        if not self.is_offered and ("\0" in chosen or not self.may_be(chosen, queryset.db)):
            text = gettext("The filter “%(title)s” knows no “%(value)s”: everything is shown.")
            messages.warning(request, text % {"title": self.title, "value": first_line(repr(chosen)[1:-1])})
            raise IncorrectLookupParameters(f"{self.parameter_name}={chosen!r}")
        return self.narrow(queryset, chosen)

    def narrow(self, queryset: Rows, chosen: str) -> Rows:
        """Return the rows of a choice."""
        return queryset.filter(**{str(self.parameter_name): chosen})

    def may_be(self, chosen: str, using: str) -> bool:
        """Say whether a value that is not offered can be meant. May ask the database, if an index answers."""
        return JobResult.objects.using(using).filter(**{str(self.parameter_name): chosen}).exists()

    @property
    def is_offered(self) -> bool:
        """Whether what was chosen is among the choices."""
        return self.value() in {str(choice) for choice, _title in self.lookup_choices}

    def value(self) -> str | None:
        """Return what was chosen; an empty choice is none."""
        return super().value() or None

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the choices, and what the address asks for although it is not among them, so that it can be seen."""
        yield from super().choices(changelist)
        chosen = self.value()
        if chosen is not None and not self.is_offered:
            link = changelist.get_query_string({self.parameter_name: chosen})
            yield {"selected": True, "query_string": link, "display": chosen}

    def has_output(self) -> bool:
        """Stay on the page as long as something is chosen."""
        return super().has_output() or self.value() is not None


class StateFilter(JobFilter):
    """By state."""

    title = _("state")
    parameter_name = "state"
    narrowing = Narrowing.EQUALITY

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        """Return the states that a row can have."""
        return [(state.value, look_of(state).word) for state in State if state is not State.UNKNOWN]


class TaskFilter(JobFilter):
    """By task: those that this process has registered."""

    title = _("task")
    parameter_name = "task"
    narrowing = Narrowing.EQUALITY

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        """Return the registered tasks."""
        return [(name, name) for name in registry.names()]


class QueueFilter(JobFilter):
    """By queue: those of the settings, of the registered tasks and of the newest rows."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        """Return the queues that are known without asking the broker; one that only calls have named is in a row."""
        names = {DEFAULT_QUEUE, *settings.top["QUEUES"], *(task.options.queue for task in registry)}
        names |= newest_values(model_admin.get_queryset(request), "queue")
        return [(name, name) for name in sorted(names)]

    def may_be(self, chosen: str, using: str) -> bool:
        """Say whether a queue can have this name. Whether rows have it, no index knows: the list looks for them."""
        return is_queue_name(chosen)


#: An id may be older than its job's enqueueing by this much: a periodic job's has the moment when it was due.
_SLACK = timedelta(minutes=15)


def lowest_id(moment: datetime) -> UUID:
    """Return an id below all ids that were made after a moment."""
    return UUID(int=max(0, clock.to_ms(moment)) << 80)


class TimeFilter(JobFilter):
    """By the age of the job, as a range of ids, which are ordered by time."""

    title = _("sent within")
    parameter_name = "within"
    narrowing = Narrowing.RANGE
    ranges = {
        "15m": (timedelta(minutes=15), _("15 minutes")),
        "1h": (timedelta(hours=1), _("an hour")),
        "24h": (timedelta(hours=24), _("24 hours")),
        "7d": (timedelta(days=7), _("7 days")),
    }

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        """Return the ranges."""
        return [(name, title) for name, (_age, title) in self.ranges.items()]

    def may_be(self, chosen: str, using: str) -> bool:
        """Take no other range."""
        return False

    def narrow(self, queryset: Rows, chosen: str) -> Rows:
        """Return the rows of the chosen time. The ids do the work; the column is for ids that callers made."""
        since = clock.now() - self.ranges[chosen][0]
        return queryset.filter(pk__gte=lowest_id(since - _SLACK), enqueued_at__gte=since)
