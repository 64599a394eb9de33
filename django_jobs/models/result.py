"""How a job ended, or how it stands: one row a job."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.envelope import GENERATION_BITS
from django_jobs.models.fields import OrderedUUIDField, ValueIndex
from django_jobs.states import State


class JobResult(models.Model):
    """
    The record of a job. Written when it ends, and before that only when there is something to say.

    Rows are written by ``results.store`` in batches of raw SQL, guarded by ``fence``; saving an instance by hand goes
    around that guard. Values are text as encoded by ``serializers``, not JSONField: they are read back exactly, and
    cost nothing to adapt.
    """

    id = OrderedUUIDField(_("id"), primary_key=True, editable=False)
    task = models.CharField(_("task"), max_length=255)
    queue = models.CharField(_("queue"), max_length=64)
    # No choices: tasks may add states of their own, and a migration must not follow them.
    state = models.CharField(_("state"), max_length=32)
    priority = models.SmallIntegerField(_("priority"), default=0)

    # What people see: redacted, cut to a readable length, never run.
    args = models.TextField(_("arguments"), default="[]")
    kwargs = models.TextField(_("keyword arguments"), default="{}")

    result = models.TextField(_("result"), null=True, help_text=_("Encoded; the value of a job that succeeded."))  # noqa: DJ001
    meta = models.TextField(_("meta"), null=True, help_text=_("Encoded; progress, or what update_state() said."))  # noqa: DJ001
    exception_type = models.CharField(_("exception type"), max_length=255, default="")
    exception = models.TextField(_("exception"), default="")
    traceback = models.TextField(_("traceback"), default="")

    worker = models.CharField(_("worker"), max_length=255, default="")
    retries = models.IntegerField(_("retries"), default=0)
    deliveries = models.IntegerField(
        _("deliveries"), default=0, help_text=_("How often it was handed out without its end being seen.")
    )
    # See envelope.GENERATION_BITS: a late writer of an older attempt never overwrites a newer one.
    fence = models.BigIntegerField(_("fence"), default=0)

    enqueued_at = models.DateTimeField(_("enqueued"))
    eta = models.DateTimeField(_("not before"), null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    expires_at = models.DateTimeField(_("kept until"), null=True, help_text=_("When pruning may remove this row."))

    root_id = OrderedUUIDField(_("root"), null=True, help_text=_("The job that all of this began with."))
    parent_id = OrderedUUIDField(_("parent"), null=True, help_text=_("The job that sent this one."))
    workflow_id = OrderedUUIDField(_("workflow"), null=True, help_text=_("The workflow that it is a step of."))

    #: The encoded job, kept of a job that did not succeed so that it can be retried; never shown, it is not redacted.
    message = models.TextField(null=True, editable=False)  # noqa: DJ001
    #: One JSON object a line, appended at the end of every attempt that was not the last.
    history = models.TextField(_("earlier attempts"), default="")

    class Meta:
        verbose_name = _("job result")
        verbose_name_plural = _("job results")
        # Ids are time-ordered, so the primary key serves "newest first" without an index of its own.
        ordering = ("-id",)
        default_permissions = ("view", "delete")
        permissions = (
            ("retry_job", _("Can retry jobs")),
            ("discard_job", _("Can discard failed jobs")),
            ("view_job_payload", _("Can see arguments, results and tracebacks of jobs")),
        )
        indexes = (
            models.Index(fields=["state", "-id"], name="django_jobs_result_state"),
            models.Index(fields=["task", "-id"], name="django_jobs_result_task"),
            models.Index(fields=["expires_at"], name="django_jobs_result_expires"),
            ValueIndex(fields=["parent_id"], name="django_jobs_result_parent"),
            ValueIndex(fields=["workflow_id"], name="django_jobs_result_workflow"),
        )

    def __str__(self) -> str:
        return f"{self.task} {self.id}"

    @property
    def generation(self) -> int:
        """How often this job was sent again by a retry, a snooze or an operator."""
        return self.fence >> GENERATION_BITS


class FailedJobManager(models.Manager["FailedJob"]):
    """Only what failed."""

    def get_queryset(self) -> models.QuerySet[FailedJob, FailedJob]:
        """Return the failed jobs."""
        return super().get_queryset().filter(state=State.FAILURE.value)


class FailedJob(JobResult):
    """A job that failed and can be retried or discarded; the operators' view of ``JobResult``."""

    objects: ClassVar[Any] = FailedJobManager()

    class Meta:
        proxy = True
        verbose_name = _("failed job")
        verbose_name_plural = _("failed jobs")
        default_permissions = ("view", "delete")
