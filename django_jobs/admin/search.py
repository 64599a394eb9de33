"""What may be typed into the search box: an id, or (the beginning of) a task's name. Nothing that reads every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from django_jobs.admin.filters import Narrowing
from django_jobs.registry import registry

#: More names than this are not searched for; a longer text finds fewer.
MOST_NAMES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A text that somebody searches for, understood."""

    job_id: UUID | None = None
    tasks: tuple[str, ...] = ()

    @property
    def is_one_row(self) -> bool:
        """Whether there is one row at most that is searched for."""
        return self.job_id is not None

    @property
    def narrowing(self) -> Narrowing | None:
        """What it costs; None: nothing is searched for, or one row."""
        if not self.tasks:
            return None
        return Narrowing.EQUALITY if len(self.tasks) == 1 else Narrowing.RESIDUAL

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that are searched for."""
        if self.job_id is not None:
            return queryset.filter(pk=self.job_id)
        if len(self.tasks) == 1:
            return queryset.filter(task=self.tasks[0])
        return queryset.filter(task__in=self.tasks) if self.tasks else queryset


def parse(text: str) -> Search:
    """
    Understand a text.

    Task names are completed from the registry, where it is free, not in the table: a name that is registered no more is
    found by typing all of it.
    """
    text = text.strip()
    if not text:
        return Search()
    try:
        return Search(job_id=UUID(text))
    except ValueError:
        pass
    wanted = text.lower()
    found = [
        name
        for name in registry.names()
        if name.lower().startswith(wanted) or name.rpartition(".")[2].lower().startswith(wanted)
    ]
    return Search(tasks=tuple(found[:MOST_NAMES]) or (text,))
