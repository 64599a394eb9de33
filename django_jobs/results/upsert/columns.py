"""From a record to the columns of its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from django_jobs.models.result import JobResult
from django_jobs.results.base import Record
from django_jobs.results.sql import digits

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = JobResult._meta.db_table

#: Names that differ between a record and its row.
_RENAMED = {
    "enqueued_ms": "enqueued_at",
    "eta_ms": "eta",
    "started_ms": "started_at",
    "finished_ms": "finished_at",
    "expires_ms": "expires_at",
}
#: In the order of a record's fields.
COLUMNS: tuple[str, ...] = tuple(_RENAMED.get(name, name) for name in Record._fields)
UUIDS = tuple(Record._fields.index(name) for name in ("id", "root_id", "parent_id", "workflow_id"))
MOMENTS = tuple(Record._fields.index(name) for name in _RENAMED)
NUMBERS = tuple(Record._fields.index(name) for name in ("priority", "retries", "deliveries", "fence"))
TEXTS = tuple(index for index in range(len(COLUMNS)) if index not in {*UUIDS, *MOMENTS, *NUMBERS})

#: What a running job writes about itself over a row that is there; other columns stay.
TOUCHED = ("state", "meta", "worker", "retries", "deliveries", "fence")

# A condition that is true of every record, so that nothing is left out above.
assert not set(COLUMNS) - {field.column for field in JobResult._meta.concrete_fields}


def assignments(excluded: str, kept: str, concatenated: str) -> str:
    """Return what a write changes of a row that is there: all of it; the history grows."""
    parts = [f"{name} = {excluded.format(name)}" for name in COLUMNS if name not in ("id", "history")]
    return ", ".join([*parts, f"history = {concatenated.format(kept.format('history'), excluded.format('history'))}"])


def as_rows(records: Sequence[Record], connection: BaseDatabaseWrapper) -> list[tuple[Any, ...]]:
    """Return rows for a database that keeps a UUID as 32 digits and a moment without its zone."""
    columns: list[Sequence[Any]] = list(zip(*records, strict=True))
    for index in UUIDS:
        columns[index] = [digits(value) for value in columns[index]]
    to_text = moment_writer(connection)
    for index in MOMENTS:
        columns[index] = [None if value is None else to_text(value) for value in columns[index]]
    return list(zip(*columns, strict=True))


def moment_writer(connection: BaseDatabaseWrapper) -> Callable[[int], str]:
    """Return what turns ms into the text that Django keeps where there are no zones; a batch has few moments."""
    zone = connection.timezone or timezone.get_default_timezone()
    known: dict[int, str] = {}

    def write(moment_ms: int) -> str:
        text = known.get(moment_ms)
        if text is None:
            text = known[moment_ms] = str(datetime.fromtimestamp(moment_ms / 1000, zone).replace(tzinfo=None))
        return text

    return write
