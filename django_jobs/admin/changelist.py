"""
A list of a million rows that answers at once, on every page of it.

Pages are found by key, not by number: "older" continues below the last id. A page never reads more than ``WINDOW``
rows: where the filters leave no index that gives the rows in order, the list looks through that many, shows what it
found, says how far it came, and goes on from there when asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.utils.translation import gettext as _

from django_jobs.admin import search
from django_jobs.admin.counting import Count, size_of
from django_jobs.admin.filters import JobFilter, Narrowing
from django_jobs.models import FailedJob
from django_jobs.states import State

BEFORE, AFTER = "before", "after"
#: How many rows a page looks through when no index helps.
WINDOW = 10_000
#: The longest value in an address, as in the columns that are filtered and searched.
LONGEST = 255
#: What the columns of jobs need; the large texts stay in the database.
COLUMNS = (
    "id", "task", "queue", "state", "worker", "retries", "fence", "exception_type",
    "enqueued_at", "eta", "started_at", "finished_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The rows of one page, and where it goes on."""

    rows: list[Any]
    #: Query strings of the neighbouring pages.
    newer: UUID | None
    older: UUID | None
    #: The last row that was looked at, when the page ends there although there may be more.
    looked_until: UUID | None = None


class JobChangeList(ChangeList):
    """The list of jobs. Always newest first: any other order would sort the whole table."""

    #: What understands the text that is searched for.
    parse: Callable[[str], Any] = staticmethod(search.parse)
    #: The column that says when a row was sent.
    sent = "enqueued_at"

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        _check_lengths(request)
        self.before = _cursor(request, BEFORE)
        self.after = _cursor(request, AFTER)
        super().__init__(request, *args, **kwargs)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the rows that the filters leave, without the place in them: an action on all of them means all."""
        for name in (BEFORE, AFTER, ORDER_VAR):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_filters(self, request: HttpRequest) -> Any:
        """Return the filters that the address names; one that is not on the page leads to the list without any."""
        try:
            return super().get_filters(request)
        except DisallowedModelAdminLookup as error:
            messages.warning(request, _("There is no such filter: everything is shown."))
            raise IncorrectLookupParameters(error) from error

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        """Return the one order that there is."""
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        """Read one page."""
        indexed = self._indexed(request)
        page = self._older_page(indexed) if self.after is None else self._newer_page(self.after, indexed)
        self.page = page
        self.result_list = page.rows
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        #: How many rows match; None: they would have to be looked at one by one to know.
        self.size: Count | None = None
        if indexed is None:
            self.size = getattr(self.paginator, "size", None) or size_of(self.queryset)
        # The templates of the admin want a number, to compare with the number of rows on the page.
        more = int(page.older is not None or page.newer is not None)
        self.result_count = self.size.number if self.size is not None else len(page.rows) + more
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = bool(page.rows)
        self.can_show_all = self.multi_page = False

    @property
    def matches_everything(self) -> bool:
        """Whether nothing is filtered or searched for."""
        return not self.query and not any(spec.value() for spec in self._job_filters)

    @property
    def size_text(self) -> str:
        """How many rows match, in words; empty: not known."""
        return "" if self.size is None else str(self.size)

    @property
    def not_offered(self) -> list[JobFilter]:
        """The filters that are set to something that they do not offer."""
        return [spec for spec in self._job_filters if spec.value() is not None and not spec.is_offered]

    @property
    def newest_link(self) -> str:
        """The query string of the first page."""
        return str(self.get_query_string())

    @property
    def newer_link(self) -> str:
        """The query string of the page before; empty: there is none."""
        return str(self.get_query_string({AFTER: self.page.newer})) if self.page.newer is not None else ""

    @property
    def older_link(self) -> str:
        """The query string of the page behind; empty: there is none."""
        return str(self.get_query_string({BEFORE: self.page.older})) if self.page.older is not None else ""

    @property
    def looked_until(self) -> datetime | None:
        """When the oldest row was sent that this page looked at, if it did not look at all."""
        if self.page.looked_until is None:
            return None
        moment: datetime | None = (
            self.root_queryset.filter(pk=self.page.looked_until).values_list(self.sent, flat=True).first()
        )
        return moment

    @property
    def rows_name(self) -> str:
        """What the rows are called where they are counted."""
        return _("jobs")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Leave out the large columns; of the exception its beginning is shown."""
        narrow: QuerySet[Any] = rows.only(*COLUMNS).annotate(exception_start=Substr("exception", 1, 300))
        return narrow

    @property
    def window(self) -> int:
        """How many rows a page looks through at most."""
        return WINDOW

    @property
    def _job_filters(self) -> list[JobFilter]:
        return [spec for spec in self.filter_specs if isinstance(spec, JobFilter)]

    def _indexed(self, request: HttpRequest) -> QuerySet[Any] | None:
        """Return the rows among which to look through a window; None: an index gives the wanted ones right away."""
        active = [spec for spec in self._job_filters if spec.value() is not None]
        equalities = [spec for spec in active if spec.narrowing is Narrowing.EQUALITY]
        searched = self.parse(self.query)
        if searched.is_one_row:
            return None
        has_state = issubclass(self.model, FailedJob)
        tests = has_state + len(equalities) + (searched.narrowing is Narrowing.EQUALITY)
        rest = searched.narrowing is Narrowing.RESIDUAL or any(spec.narrowing is Narrowing.RESIDUAL for spec in active)
        if tests <= 1 and not rest:
            return None
        rows = self.root_queryset
        for spec in active:
            if spec.narrowing is Narrowing.RANGE:
                rows = spec.queryset(request, rows)
        if has_state:
            return rows.filter(state=State.FAILURE)
        if equalities:
            return equalities[0].queryset(request, rows)
        found: QuerySet[Any] = searched.narrow(rows) if searched.narrowing is Narrowing.EQUALITY else rows
        return found

    def _older_page(self, indexed: QuerySet[Any] | None) -> Page:
        rows = self.queryset
        cut = None
        if self.before is not None:
            rows = rows.filter(pk__lt=self.before)
        if indexed is not None:
            inside = indexed if self.before is None else indexed.filter(pk__lt=self.before)
            cut = _pk_at(inside.order_by("-pk"), WINDOW)
            rows = rows if cut is None else rows.filter(pk__gte=cut)
        found = list(self.narrow(rows)[: self.list_per_page + 1])
        more = len(found) > self.list_per_page
        found = found[: self.list_per_page]
        newer = found[0].pk if found and self.before is not None else None
        return Page(rows=found, newer=newer, older=found[-1].pk if more else cut, looked_until=None if more else cut)

    def _newer_page(self, after: UUID, indexed: QuerySet[Any] | None) -> Page:
        rows = self.queryset.filter(pk__gt=after)
        cut = None
        if indexed is not None:
            cut = _pk_at(indexed.filter(pk__gt=after).order_by("pk"), WINDOW)
            rows = rows if cut is None else rows.filter(pk__lte=cut)
        found = list(self.narrow(rows.order_by("pk"))[: self.list_per_page + 1])
        more = len(found) > self.list_per_page
        found = found[: self.list_per_page][::-1]
        older = found[-1].pk if found else None
        return Page(rows=found, newer=found[0].pk if more else cut, older=older)


def _pk_at(rows: QuerySet[Any], position: int) -> UUID | None:
    found: UUID | None = rows.values_list("pk", flat=True)[position : position + 1].first()
    return found


def _check_lengths(request: HttpRequest) -> None:
    """Refuse what no column holds: each link on the page repeats the whole address."""
    if any(len(value) > LONGEST for _name, values in request.GET.lists() for value in values):
        messages.warning(request, _("Nothing has a name that long: everything is shown."))
        raise IncorrectLookupParameters


def _cursor(request: HttpRequest, name: str) -> UUID | None:
    text = request.GET.get(name)
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise IncorrectLookupParameters(error) from error
