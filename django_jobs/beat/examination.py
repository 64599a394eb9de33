"""What keeps periodic tasks from running, as far as the database and the code show it. Looking changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.db.models import Q, QuerySet

from django_jobs import clock
from django_jobs.beat import damage
from django_jobs.beat.damage import Damaged
from django_jobs.beat.sync import Kind, sync
from django_jobs.beat.validation import named, over, problems
from django_jobs.conf import settings
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.inspection import span
from django_jobs.models import PeriodicTask
from django_jobs.models.validation import RULES, aware
from django_jobs.registry import registry

#: So many are named.
NAMED = 5
#: The columns of which the job is made.
_OF_THE_JOB = ("args", "kwargs", "headers", "queue", "priority", "expires")


class Trouble(StrEnum):
    """The kinds of what can be wrong."""

    #: Moments have passed, and nobody has fired them.
    OVERDUE = "overdue"
    #: There is no task of the name that a row has.
    UNKNOWN_TASK = "unknown task"
    #: The schedule or the time zone of a row cannot be understood.
    UNUSABLE = "unusable"
    #: Arguments, or an option of the call, are no good: each moment is refused, or its job cannot run.
    REFUSED = "refused"
    #: A row is enabled, and none of its moments is still to come; it has never run.
    OVER = "over"
    #: SQL has written what nobody can read: the row is set aside.
    DAMAGED = "damaged"
    #: The rows do not follow the code yet.
    UNSYNCED = "unsynced"
    #: A row that was made in the admin has the name of one that code declares.
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is wrong, and what to do."""

    trouble: Trouble
    text: str
    hint: str


def examine() -> list[Found]:
    """Return everything that is wrong. Raises Django's DatabaseError when the database cannot be asked."""
    return [*_overdue(), *_unable(), *_undone()]


def _enabled() -> QuerySet[PeriodicTask]:
    return PeriodicTask.objects.using(settings.database).filter(enabled=True)


def _overdue() -> Iterator[Found]:
    limit = clock.stamp() - timedelta(milliseconds=settings.beat_ms("LATE") or 0)
    late = _enabled().filter(Q(next_run__lt=limit) | Q(planned_enabled=None, created__lt=limit))
    count = late.count()
    if not count:
        return
    readable, _ = damage.read(late.order_by("next_run")[:NAMED])
    if not readable:
        return  # it is said of these that they are damaged
    # What was never planned is due since it was made.
    first = min(readable, key=lambda row: aware(row.next_run or row.created))
    ago = span(clock.now_ms() - clock.to_ms(aware(first.next_run or first.created)))
    yield Found(
        Trouble.OVERDUE,
        f"{_tasks(count)} overdue: {first.name!r} for {ago}{'' if count == 1 else ', and others'}.",
        "No beat runs, or it does not keep up: manage.py runbeat, or runworker --beat.",
    )


def _unable() -> Iterator[Found]:
    """Look at every row that is to run; what to do with a page of them costs about what reading it does."""
    told: dict[Trouble, list[str]] = {trouble: [] for trouble in _UNABLE}
    damaged: list[str] = []
    for row in damage.scan(_enabled().order_by("name")):
        if isinstance(row, Damaged):
            damaged.append(str(row))
            continue
        for trouble, why in _troubles(row):
            told[trouble].append(f"{row.name!r} ({why})")
    if damaged:
        tasks = "One periodic task" if len(damaged) == 1 else f"{len(damaged):,} periodic tasks"
        yield Found(Trouble.DAMAGED, f"{tasks} cannot be read: {_first(damaged)}.", _CORRECT)
    for trouble, (one, several, hint) in _UNABLE.items():
        names = told[trouble]
        if names:
            yield Found(trouble, f"{_tasks(len(names))} {one if len(names) == 1 else several}: {_first(names)}.", hint)


_CORRECT = (
    "SQL has written what no calendar and no number has, and has to correct it in the table"
    f" {PeriodicTask._meta.db_table}. Until then beat refuses each once an hour; what is not needed is switched off by"
    " manage.py jobs schedule disable NAME."
)


def _troubles(row: PeriodicTask) -> Iterator[tuple[Trouble, str]]:
    wrong = problems(row)
    if row.task not in registry:
        yield Trouble.UNKNOWN_TASK, row.task
    unusable = " ".join(text for field in ("schedule", "timezone", "starts", "ends") if (text := RULES[field](row)))
    if unusable:
        yield Trouble.UNUSABLE, unusable
    unfit = " ".join(named(field, wrong[field]) for field in _OF_THE_JOB if field in wrong)
    if unfit:
        yield Trouble.REFUSED, unfit
    if not unusable and row.last_run is None and (why := over(row)):
        yield Trouble.OVER, why


#: What is said of one row and of several, and what to do.
_UNABLE: Mapping[Trouble, tuple[str, str, str]] = {
    Trouble.UNKNOWN_TASK: (
        "enabled, and there is no such task",
        "enabled, and there are no such tasks",
        (
            "Beat records each moment as refused, and sends nothing. Correct the name of the task, give the task its"
            " old name in aliases=, or disable the periodic task: manage.py jobs schedule disable NAME."
        ),
    ),
    Trouble.UNUSABLE: (
        "enabled, and cannot be planned",
        "enabled, and cannot be planned",
        (
            "Correct the schedule or the time zone in the admin. What the sun decides needs"
            " pip install 'django-jobs-redis[solar]'."
        ),
    ),
    Trouble.REFUSED: (
        "enabled, and its jobs cannot run",
        "enabled, and their jobs cannot run",
        (
            "Correct what is named, in the admin or in the code, or disable the periodic task: manage.py jobs schedule"
            " disable NAME."
        ),
    ),
    Trouble.OVER: (
        "enabled, has never run, and never will",
        "enabled, have never run, and never will",
        "Give it another moment or another end, or disable it: manage.py jobs schedule disable NAME.",
    ),
}


def _undone() -> Iterator[Found]:
    try:
        changes = sync(dry_run=True)
    except JobsConfigurationError:
        return  # the checks say it
    waiting = [str(change) for change in changes if change.writes]
    if waiting:
        yield Found(
            Trouble.UNSYNCED,
            f"The periodic tasks do not follow the code yet. Next sync: {_first(waiting, '; ')}.",
            "Beat sees to it when it starts: start it anew, or run manage.py jobs schedule sync.",
        )
    taken = [repr(change.name) for change in changes if change.kind is Kind.CONFLICT]
    if taken:
        yield Found(
            Trouble.TAKEN,
            f"Code declares periodic tasks, but the admin has others of the same name, which stay: {_first(taken)}.",
            "Rename or delete the one in the admin, then run manage.py jobs schedule sync.",
        )


def _tasks(number: int) -> str:
    return "One periodic task is" if number == 1 else f"{number:,} periodic tasks are"


def _first(told: Sequence[str], between: str = ", ") -> str:
    return between.join(told[:NAMED]) + (f"{between}and {len(told) - NAMED:,} more" if len(told) > NAMED else "")
