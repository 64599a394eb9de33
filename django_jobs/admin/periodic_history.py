"""What became of the last moments of periodic tasks: two queries, however many tasks are on a page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import ngettext, pgettext_lazy

from django_jobs.admin.presentation import EMPTY, Look, duration, local, look_of, rendered
from django_jobs.models import JobResult, PeriodicRun, PeriodicTask
from django_jobs.models.periodic import Outcome

#: How many runs a list and a form show.
SHOWN = 20

OUTCOMES: Mapping[str, Look] = {
    Outcome.SENT: Look(
        word=pgettext_lazy("outcome of a run", "sent"), tone="waiting", path="M2.5 8h10M9 4.5L12.5 8 9 11.5"
    ),
    Outcome.SKIPPED: Look(word=pgettext_lazy("outcome of a run", "skipped"), tone="revoked", path="M3 8h10"),
    Outcome.MISSED: Look(word=pgettext_lazy("outcome of a run", "missed"), tone="retry", path="M8 3v6.5M8 12.6v.4"),
    Outcome.REFUSED: Look(
        word=pgettext_lazy("outcome of a run", "refused"), tone="failure", path="M3.6 3.6l8.8 8.8M12.4 3.6l-8.8 8.8"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run, and what its job came to."""

    pk: int
    due: datetime
    fired: datetime
    lateness: timedelta
    outcome: str
    missed: int
    by_hand: bool
    detail: str
    job_id: UUID | None
    #: The state of its job; empty: it left no row, because it waits still, or has succeeded and keeps no result.
    state: str
    #: Where its job is to be seen; empty: nowhere, or not by this user.
    url: str = ""

    @property
    def look(self) -> Look:
        """How it looks: as its job, once that has a state, else as what beat did."""
        return look_of(self.state) if self.state else OUTCOMES.get(self.outcome) or look_of(self.outcome)

    @property
    def status(self) -> SafeString:
        """Icon and word."""
        return rendered(self.look)

    @property
    def late(self) -> str:
        """How late it was fired."""
        return EMPTY if self.by_hand else duration(self.lateness)


_COLUMNS = ("pk", "due", "fired", "lateness", "outcome", "missed", "by_hand", "detail", "job_id")


def recent(ids: Iterable[int], using: str) -> dict[int, list[Run]]:
    """
    Return the last runs of each of these tasks, the newest first, in two queries.

    The first asks the index for the twentieth newest of each task, the second for those from there on: no run is read
    that is not shown, although a task may have a million. In one query MariaDB would read them all.
    """
    runs = PeriodicRun.objects.filter(periodic_task=OuterRef("pk")).order_by("-due").values("due")
    tasks = PeriodicTask.objects.using(using).filter(pk__in=list(ids)).order_by()
    wanted = Q()
    for pk, oldest in tasks.values_list("pk", Subquery(runs[SHOWN - 1 : SHOWN])):
        wanted |= Q(periodic_task=pk) if oldest is None else Q(periodic_task=pk, due__gte=oldest)
    if not wanted:
        return {}
    found: dict[int, list[Run]] = defaultdict(list)
    states = JobResult.objects.filter(pk=OuterRef("job_id")).values("state")
    rows = PeriodicRun.objects.using(using).filter(wanted).annotate(state=Subquery(states))
    for task_id, *values, state in rows.order_by("-due").values_list("periodic_task_id", *_COLUMNS, "state"):
        found[task_id].append(Run(**dict(zip(_COLUMNS, values, strict=True)), state=state or ""))
    return found


def run_of(row: PeriodicRun, state: str) -> Run:
    """Return a row as it is shown, with the state of its job."""
    return Run(**{name: getattr(row, name) for name in _COLUMNS}, state=state)


def last_outcomes(column: str = "outcome") -> QuerySet[Any, Any]:
    """Return what the newest run of each task has in a column, for a subquery of a query of tasks."""
    runs: QuerySet[Any, Any] = PeriodicRun.objects.filter(periodic_task=OuterRef("pk")).order_by("-due")
    return runs.values(column)[:1]


def strip(runs: Sequence[Run]) -> SafeString | str:
    """Return the last runs as marks, the newest at the end, with the text that says the same."""
    if not runs:
        return EMPTY
    marks = format_html_join(
        "", '<span class="dj-mark dj-mark-{}" title="{}"></span>', ((_mark(run), _title(run)) for run in reversed(runs))
    )
    return format_html('<span class="dj-strip" role="img" aria-label="{}">{}</span>', summary(runs), marks)


def summary(runs: Sequence[Run]) -> str:
    """Say how the last runs went: "Last 20 runs: 18 succeeded, 2 failed"."""
    counts = Counter(str(run.look.word) for run in runs)
    listed = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    return ngettext("Last run: %(listed)s", "Last %(n)d runs: %(listed)s", len(runs)) % {
        "n": len(runs),
        "listed": listed,
    }


def _mark(run: Run) -> str:
    """Return the shape of a mark, which tells the outcomes apart where colours do not."""
    return run.look.tone if run.outcome == Outcome.SENT else run.outcome


def _title(run: Run) -> str:
    word: str | Promise = run.look.word
    text = f"{local(run.due):%Y-%m-%d %H:%M:%S}: {word}"
    return f"{text}: {run.detail[:200]}" if run.detail else text
