"""Periodic tasks, and what became of each of their moments."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Case, F, Func, GeneratedField, Q, When
from django.utils.translation import gettext_lazy as _

from django_jobs import clock
from django_jobs.models.fields import ExactCharField, OrderedUUIDField, PackedField, ScheduleField
from django_jobs.models.validation import problems

#: A row whose plan is not that of its schedule any more is due since then.
#: (As text, for the database to read: what Python makes of a moment depends on USE_TZ, and a migration must not.)
LONG_AGO = Func(template="'1970-01-01 00:00:00'", output_field=models.DateTimeField())


def _as_planned(name: str) -> Q:
    """Say that a column is what the plan was made from. Never true of a row that was not planned yet."""
    planned = f"planned_{name}"
    return Q(**{planned: F(name)})


def _as_planned_or_none(name: str) -> Q:
    planned = f"planned_{name}"
    return Q(**{planned: F(name)}) | Q(**{f"{name}__isnull": True, f"{planned}__isnull": True})


class CatchUp(models.TextChoices):
    """What becomes of moments at which no beat was there."""

    ONE = "one", _("run once for all of them")
    SKIP = "skip", _("skip them")
    ALL = "all", _("run each of them (the last 100)")


class Overlap(models.TextChoices):
    """What becomes of a moment at which the run before has not ended."""

    ALLOW = "allow", _("run beside it")
    SKIP = "skip", _("skip this one")


class Origin(models.TextChoices):
    """Who has made a periodic task."""

    ADMIN = "admin", _("made here")
    CODE = "code", _("declared in code")


class PeriodicTask(models.Model):
    """
    When a task recurs.

    Whoever changes a row (the admin, the ORM, SQL) needs to tell nobody: ``wake`` is computed by the database, and is
    in the past as soon as ``schedule``, ``timezone``, ``starts``, ``ends`` or ``enabled`` is not what the plan was made
    from.
    """

    name = ExactCharField(_("name"), max_length=191, unique=True)
    task = models.CharField(_("task"), max_length=255, help_text=_("The name of a task, such as shop.jobs.report."))
    args = PackedField(_("arguments"), default="[]", blank=True, help_text=_("A JSON list."))
    kwargs = PackedField(_("keyword arguments"), default="{}", blank=True, help_text=_("A JSON object."))

    schedule = ScheduleField(
        _("schedule"),
        max_length=255,
        help_text=_("30 2 * * * or @daily, every 15 minutes, at 2026-12-24 18:00, sunset 52.52 13.40"),
    )
    timezone = models.CharField(
        _("time zone"), max_length=64, default="", blank=True, help_text=_("Empty: that of the project.")
    )

    queue = models.CharField(_("queue"), max_length=64, default="", blank=True, help_text=_("Empty: the task's."))
    priority = models.SmallIntegerField(_("priority"), null=True, blank=True, help_text=_("Empty: the task's."))
    headers = PackedField(_("headers"), default="{}", blank=True, help_text=_("A JSON object of texts."))
    expires = models.PositiveIntegerField(
        _("expires after"),
        null=True,
        blank=True,
        help_text=_("Seconds after the moment at which a job that has not started is dropped. Empty: the task's."),
    )

    enabled = models.BooleanField(_("enabled"), default=True)
    one_off = models.BooleanField(_("one-off"), default=False, help_text=_("Disable it after its first run."))
    starts = models.DateTimeField(_("starts"), null=True, blank=True, help_text=_("No run before."))
    ends = models.DateTimeField(_("ends"), null=True, blank=True, help_text=_("No run after."))
    catch_up = models.CharField(_("if missed"), max_length=8, choices=CatchUp, default=CatchUp.ONE)
    start_deadline = models.PositiveIntegerField(
        _("start deadline"), null=True, blank=True, help_text=_("Seconds after which a missed run is not made up for.")
    )
    overlap = models.CharField(_("overlap"), max_length=8, choices=Overlap, default=Overlap.ALLOW)
    jitter = models.PositiveIntegerField(
        _("jitter"), default=0, help_text=_("Seconds within which each run starts, at random.")
    )
    description = models.TextField(_("description"), default="", blank=True)

    origin = models.CharField(_("origin"), max_length=8, choices=Origin, default=Origin.ADMIN, editable=False)
    #: What the code says, as JSON, as of the last sync; "": it does not declare this (any more).
    declared = models.TextField(default="", blank=True, editable=False)
    #: What the code said when it stopped declaring this, as JSON; "": it does declare it, or never has.
    retired = models.TextField(default="", blank=True, editable=False)
    created = models.DateTimeField(_("created"), default=clock.stamp, editable=False)

    # What beat writes.

    #: The next moment (without jitter); None: there is none, or it is disabled.
    next_run = models.DateTimeField(_("next run"), null=True, editable=False)
    last_run = models.DateTimeField(_("last run"), null=True, editable=False)
    #: The job of the last run.
    last_job = OrderedUUIDField(_("last job"), null=True, editable=False)
    total_runs = models.BigIntegerField(_("runs"), default=0, editable=False)
    planned_schedule = models.CharField(max_length=255, default="", editable=False)
    planned_timezone = models.CharField(max_length=64, default="", editable=False)
    planned_enabled = models.BooleanField(null=True, editable=False)
    planned_starts = models.DateTimeField(null=True, editable=False)
    planned_ends = models.DateTimeField(null=True, editable=False)

    #: When beat has to look at this row; None: never. Computed by the database.
    wake = GeneratedField(
        expression=Case(
            When(
                _as_planned("schedule")
                & _as_planned("timezone")
                & _as_planned("enabled")
                & _as_planned_or_none("starts")
                & _as_planned_or_none("ends"),
                then=F("next_run"),
            ),
            default=LONG_AGO,
        ),
        output_field=models.DateTimeField(null=True),
        db_persist=True,
        editable=False,
    )

    class Meta:
        verbose_name = _("periodic task")
        verbose_name_plural = _("periodic tasks")
        ordering = ("name",)
        permissions = (("run_periodictask", _("Can run periodic tasks now")),)
        indexes = (models.Index(fields=["wake"], name="django_jobs_periodic_wake"),)

    def __str__(self) -> str:
        return str(self.name)

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Refuse what could not run: an impossible schedule, an unknown task, arguments that do not fit it."""
        found: dict[str, list[Any]] = {}
        try:
            super().clean_fields(exclude=exclude)
        except ValidationError as error:
            found = error.update_error_dict(found)
        for field, text in problems(self).items():
            if field not in (exclude or ()):
                found[field] = [text]
        if found:
            raise ValidationError(found)


class Outcome(models.TextChoices):
    """What became of a moment."""

    SENT = "sent", _("sent")
    #: The run before had not ended.
    SKIPPED = "skipped", _("skipped")
    #: Nobody was there, and the row says not to make up for it.
    MISSED = "missed", _("missed")
    #: No such task, arguments that do not fit, or a middleware that refused.
    REFUSED = "refused", _("refused")


class PeriodicRun(models.Model):
    """What became of one moment of a periodic task. There is one row for each, whoever was first."""

    periodic_task = models.ForeignKey(
        PeriodicTask,
        on_delete=models.CASCADE,
        related_name="runs",
        db_index=False,  # the constraint below brings one
        verbose_name=_("periodic task"),
    )
    due = models.DateTimeField(_("due"))
    outcome = models.CharField(_("outcome"), max_length=8, choices=Outcome)
    job_id = OrderedUUIDField(_("job"), null=True)
    fired = models.DateTimeField(_("fired"), help_text=_("When beat came to it."))
    lateness = models.DurationField(_("lateness"))
    #: How many moments before this one it stands for as well.
    missed = models.PositiveIntegerField(_("missed before"), default=0)
    by_hand = models.BooleanField(_("by hand"), default=False)
    detail = models.TextField(_("detail"), default="", blank=True)

    class Meta:
        verbose_name = _("periodic run")
        verbose_name_plural = _("periodic runs")
        ordering = ("-due",)
        default_permissions = ("view",)
        constraints = (models.UniqueConstraint(fields=["periodic_task", "due"], name="django_jobs_periodic_run_once"),)
        indexes = (
            models.Index(fields=["fired"], name="django_jobs_periodic_fired"),
            models.Index(fields=["job_id"], name="django_jobs_periodic_job"),
        )

    def __str__(self) -> str:
        return f"{self.periodic_task_id} {self.due.isoformat()}"
