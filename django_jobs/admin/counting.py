"""How many rows there are, and what they hold, without reading a million of them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Model, QuerySet
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from django_jobs.admin.presentation import number

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

#: Counting stops here: 2 ms instead of 100 at a million rows.
CAP = 10_000


class Accuracy(Enum):
    """What a number of rows is worth."""

    EXACT = "exact"
    ESTIMATE = "estimate"
    AT_LEAST = "at least"


class Count(NamedTuple):
    """A number of rows, and what it is worth."""

    number: int
    accuracy: Accuracy = Accuracy.EXACT

    def __str__(self) -> str:
        text = number(self.number)
        if self.accuracy is Accuracy.AT_LEAST:
            return f"{text}+"
        return _("about %(number)s") % {"number": text} if self.accuracy is Accuracy.ESTIMATE else text


#: What the database believes, by vendor; a name that needs quotes is quoted by quote_ident.
_ESTIMATES = {
    "postgresql": "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(quote_ident(%s))",
    "mysql": "SELECT table_rows FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
}


def capped(queryset: QuerySet[Any], cap: int = CAP) -> Count:
    """Count, but no further than ``cap``."""
    found = queryset.order_by()[: cap + 1].count()
    return Count(found) if found <= cap else Count(cap, Accuracy.AT_LEAST)


def newest_values(queryset: QuerySet[Any], column: str, cap: int = CAP) -> set[str]:
    """Return the different values of a column in the newest rows, ``cap`` of them: no index has them of all rows."""
    newest = queryset.order_by("-pk").values_list(column)[:cap]
    sql, params = newest.query.get_compiler(using=queryset.db).as_sql()
    with connections[queryset.db].cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT {column} FROM ({sql}) newest", params)  # noqa: S608 - both are ours
        return {value for (value,) in cursor.fetchall()}


def estimated(model: type[Model], using: str) -> int | None:
    """Return what the database believes to be the number of rows of a table; None: it does not say."""
    connection = connections[using]
    sql = _ESTIMATES.get(connection.vendor)
    if sql is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(sql, [model._meta.db_table])
        row = cursor.fetchone()
    # PostgreSQL says -1 of a table that was never analyzed.
    return int(row[0]) if row is not None and row[0] is not None and row[0] >= 0 else None


def size_of(queryset: QuerySet[Any]) -> Count:
    """Return the number of rows: of a whole large table the database's estimate, of anything else a capped count."""
    if not queryset.query.where:
        estimate = estimated(queryset.model, queryset.db)
        if estimate is not None and estimate > CAP:
            return Count(estimate, Accuracy.ESTIMATE)
    return capped(queryset)


class EstimatedPaginator(_Paginator):
    """A paginator whose count never reads a whole table; ``size`` says what the count is worth."""

    @cached_property
    def size(self) -> Count:
        """The number of rows, and what it is worth."""
        assert isinstance(self.object_list, QuerySet)
        return size_of(self.object_list)

    @cached_property
    def count(self) -> int:
        """The number of rows, as far as it is known."""
        return self.size.number
