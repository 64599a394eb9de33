"""The columns of the list of periodic tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_jobs import clock
from django_jobs.admin.periodic_history import Run, strip
from django_jobs.admin.periodic_preview import away, next_of, with_zone, zone_of
from django_jobs.admin.presentation import EMPTY, breakable, local, moment
from django_jobs.beat.due import is_planned
from django_jobs.beat.making import job_of
from django_jobs.beat.sync import drift
from django_jobs.conf import settings
from django_jobs.exceptions import InvalidSchedule
from django_jobs.models import PeriodicTask
from django_jobs.models.periodic import Origin
from django_jobs.models.validation import aware
from django_jobs.registry import registry
from django_jobs.schedules import parse


class PeriodicColumns:
    """Mixed into the admin of periodic tasks. Rows come with ``recent``, their last runs."""

    @admin.display(description=gettext_lazy("enabled"), boolean=True, ordering="enabled")
    def is_enabled(self, row: Any) -> bool:
        """Return whether it runs."""
        return bool(row.enabled)

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def name_and_marks(self, row: Any) -> SafeString:
        """Return the name, and what an operator should know of the row."""
        return format_html('<span class="dj-name">{}</span>{}', breakable(row.name), marks_of(row))

    @admin.display(description=gettext_lazy("task"), ordering="task")
    def task_name(self, row: Any) -> SafeString:
        """Return the last part of the task's name; all of it is the title."""
        return format_html(
            '<span class="dj-task" title="{}">{}</span>', row.task, breakable(row.task.rpartition(".")[2])
        )

    @admin.display(description=gettext_lazy("schedule"))
    def schedule_words(self, row: Any) -> SafeString:
        """Return the schedule in words; of one that is none, the text and what is wrong with it."""
        try:
            words = with_zone(parse(row.schedule), zone_of(row))
        except InvalidSchedule as error:
            text = row.schedule or _("empty")
            text = f"{text} ({row.timezone})" if row.timezone else text
            return format_html("<code>{}</code>{}", text, mark(_("cannot be read"), str(error), "failure"))
        return format_html('<span title="{}">{}</span>', row.schedule, words)

    @admin.display(description=gettext_lazy("next run"), ordering="next_run")
    def next_moment(self, row: Any) -> SafeString | str:
        """Return when it runs next, and how far away that is."""
        if not row.enabled:
            return EMPTY
        if wrong := _why_unreadable(row):
            # What beat has noted is when it looks again whether somebody has mended the row.
            return format_html('<span class="dj-quiet" title="{}">{}</span>', wrong, _("not known"))
        # As beat has planned it; what was edited in this second it will plan as the schedule says.
        due = aware(row.next_run) if is_planned(row) and row.next_run is not None else next_of(row)
        if due is None:
            return format_html('<span class="dj-quiet">{}</span>', _("never again"))
        late = (
            mark(_("late"), _("Its moment has passed, and no beat has come to it."), "failure") if is_late(row) else ""
        )
        shown = format_html('{} <span class="dj-quiet">{}</span>', moment(due, short=True), local(due).tzname())
        return format_html('<span class="dj-at">{}</span> <span class="dj-quiet">{}</span>{}', shown, away(due), late)

    @admin.display(description=gettext_lazy("last runs"), ordering="last_run")
    def last_moment(self, row: Any) -> SafeString | str:
        """Return when it ran last, what came of it, how late it was fired, and how those before went."""
        if not row.recent:
            return moment(row.last_run, short=True)
        run: Run = row.recent[0]
        status = format_html('<a href="{}">{}</a>', run.url, run.status) if run.url else run.status
        late = format_html(' <span class="dj-quiet">{}</span>', lateness_text(run)) if lateness_text(run) else ""
        return format_html("{} {}{}<br>{}", moment(run.due, short=True), status, late, strip(row.recent))


def lateness_text(run: Run) -> str:
    """Say how late a run was, if that is worth a word."""
    if run.by_hand:
        return _("by hand")
    return _("%(time)s late") % {"time": run.late} if run.lateness >= timedelta(seconds=1) else ""


def marks_of(row: PeriodicTask) -> SafeString:
    """Return what an operator should know of a row at a glance."""
    marks = []
    if row.task not in registry:
        text = _("No task of this name is registered in this process: it is not run.")
        marks.append((mark(_("no such task"), text, "failure"),))
    elif not _can_be_sent(row):
        # What is wrong may quote arguments, which are not for everybody's eyes; the page of the row knows.
        marks.append((mark(_("is refused"), _("Its arguments or options are wrong: its page says how."), "failure"),))
    if row.origin == Origin.CODE:
        marks.append((_origin_mark(row),))
    return format_html_join("", "{}", marks)


def mark(word: str, title: str, tone: str = "quiet") -> SafeString:
    """Return a word that stands out, with its explanation."""
    return format_html(' <span class="dj-badge dj-badge-{}" title="{}">{}</span>', tone, title, word)


def drift_of(row: PeriodicTask) -> dict[str, tuple[Any, Any]]:
    """Return how a row differs from the code: column to (code, row). None of a row whose memory cannot be read."""
    try:
        return drift(row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _why_unreadable(row: PeriodicTask) -> str:
    """Say why nobody can know when it is to run; empty: it can be known."""
    try:
        parse(row.schedule)
        zone_of(row)
    except InvalidSchedule as error:
        return str(error)
    return ""


def _can_be_sent(row: PeriodicTask) -> bool:
    """Say whether beat can make a job of it, by making one. Asks no database."""
    try:
        job_of(row, clock.now())
    except Exception:  # noqa: BLE001 - whatever it is, beat would refuse it
        return False
    return True


def _origin_mark(row: PeriodicTask) -> SafeString:
    if not row.declared:
        return mark(_("no longer in code"), _("The code has declared it, and does not any more."), "retry")
    differing = drift_of(row)
    if differing:
        return mark(_("differs from code"), ", ".join(differing), "retry")
    return mark(_("from code"), _("Declared in code."))


def is_late(row: PeriodicTask) -> bool:
    """Say whether the next moment has passed by more than is called late."""
    if not row.enabled or row.next_run is None or not is_planned(row):
        return False
    return clock.now() - aware(row.next_run) > late_after()


def late_after() -> timedelta:
    """Return how late is late."""
    return timedelta(milliseconds=settings.beat_ms("LATE") or 0)
