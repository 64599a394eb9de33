"""
What a canvas is kept as while it runs: a workflow, its steps and barriers, and what was reported to them.

Written by the transaction that sends the canvas, and by those that record the ends of its jobs. Rows name one another
by id and have no foreign keys: they are written in bulk, and deleted together.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.models.fields import OrderedUUIDField, ValueIndex
from django_jobs.states import State

#: What each state of a workflow means in columns. Finished and running are told apart by an index, the rest by looking.
CONDITIONS = {
    State.STARTED: models.Q(finished_at__isnull=True),
    State.SUCCESS: models.Q(finished_at__isnull=False, revoked_at__isnull=True, failed=0),
    State.FAILURE: models.Q(finished_at__isnull=False, revoked_at__isnull=True, failed__gt=0),
    State.REVOKED: models.Q(finished_at__isnull=False, revoked_at__isnull=False),
}


class Workflow(models.Model):
    """A canvas that was sent."""

    id = OrderedUUIDField(_("id"), primary_key=True, editable=False)
    name = models.CharField(_("name"), max_length=255, help_text=_("The canvas as it was written, cut."))
    #: The step or barrier whose value is that of the canvas.
    result_id = OrderedUUIDField(_("result"), null=True)
    root_id = OrderedUUIDField(_("root"), null=True)
    parent_id = OrderedUUIDField(_("parent"), null=True, help_text=_("The job that sent it."))
    created_at = models.DateTimeField(_("sent"))
    size = models.IntegerField(_("steps"))
    remaining = models.IntegerField(_("not ended"), help_text=_("Steps that have not ended."))
    failed = models.IntegerField(_("failed"), default=0, help_text=_("Steps that failed or were revoked."))
    #: JSON: what middleware has added to the headers of its first job; all that follow carry it, too.
    headers = models.TextField(default="", editable=False)
    #: Somebody has revoked a step before it could start: what is opened from now on is looked at first.
    is_touched = models.BooleanField(default=False)
    #: No step of it starts any more, and no error callback is called.
    revoked_at = models.DateTimeField(_("revoked"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    expires_at = models.DateTimeField(_("kept until"), null=True, help_text=_("When pruning may remove it."))

    class Meta:
        verbose_name = _("workflow")
        verbose_name_plural = _("workflows")
        ordering = ("-id",)
        default_permissions = ("view",)
        permissions = (("revoke_workflow", _("Can revoke workflows")), ("retry_workflow", _("Can retry workflows")))
        indexes = (
            ValueIndex(fields=["expires_at"], name="django_jobs_workflow_expires"),
            models.Index(fields=["finished_at", "-id"], name="django_jobs_workflow_finished"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.id}"

    @property
    def state(self) -> State:
        """STARTED until every step has ended; then SUCCESS, FAILURE when one has failed, or REVOKED."""
        if self.finished_at is None:
            return State.STARTED
        if self.revoked_at is not None:
            return State.REVOKED
        return State.FAILURE if self.failed else State.SUCCESS


class _Planned(models.Model):
    """What steps and barriers have in common: where they belong, and what follows them."""

    id = OrderedUUIDField(_("id"), primary_key=True, editable=False)
    workflow_id = OrderedUUIDField(_("workflow"))
    #: The step or barrier that follows. ``position``: as the member of a barrier with this index; None: it runs then;
    #: -1: all that enters that barrier does.
    target = OrderedUUIDField(_("followed by"), null=True)
    position = models.IntegerField(_("position"), null=True)
    #: JSON: what else is to be done with its value, each as [target, position].
    callbacks = models.TextField(default="", editable=False)
    #: Ids of scopes.
    scopes = models.TextField(default="", editable=False)
    #: The step whose failure kept it from being run, or opened; its own id: it was revoked before it could start.
    cause = OrderedUUIDField(_("cause"), null=True)

    class Meta:
        abstract = True


class WorkflowStep(_Planned):
    """A job of a workflow. Its own row tells how it ended; this one, what it is for."""

    task = models.CharField(_("task"), max_length=255)
    #: The signature as JSON; never shown, it is not redacted.
    signature = models.TextField(editable=False)
    #: The barrier whose members start with it.
    entry = OrderedUUIDField(null=True)
    takes_value = models.BooleanField(default=False)
    leads = models.TextField(default="", editable=False)
    #: When its job was sent; ms since the epoch. None: it waits for what comes before it.
    opened = models.BigIntegerField(_("opened"), null=True)
    #: What its job gets before its own arguments; see ``Job.source``.
    source = models.CharField(max_length=40, default="", editable=False)

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        default_permissions = ()
        indexes = (
            models.Index(fields=["workflow_id"], name="django_jobs_step_workflow"),
            ValueIndex(fields=["target"], name="django_jobs_step_target"),
            ValueIndex(fields=["entry"], name="django_jobs_step_entry"),
        )

    def __str__(self) -> str:
        return f"{self.task} {self.id}"


class WorkflowBarrier(_Planned):
    """What the members of a group report to."""

    size = models.IntegerField(_("members"))
    #: When may a failed member fail it: when all have ended (True), or at once?
    waits = models.BooleanField(default=False)
    allow_failures = models.IntegerField(default=0)
    reported = models.IntegerField(_("ended"), default=0)
    failed = models.IntegerField(_("failed"), default=0)
    #: When it was opened, or failed; ms since the epoch.
    resolved = models.BigIntegerField(_("resolved"), null=True)

    class Meta:
        verbose_name = _("barrier")
        verbose_name_plural = _("barriers")
        default_permissions = ()
        indexes = (
            models.Index(fields=["workflow_id"], name="django_jobs_barrier_workflow"),
            ValueIndex(fields=["target"], name="django_jobs_barrier_target"),
        )

    def __str__(self) -> str:
        return f"{self.reported} of {self.size}"


class WorkflowScope(models.Model):
    """The error callbacks of a part of a canvas."""

    id = OrderedUUIDField(primary_key=True, editable=False)
    workflow_id = OrderedUUIDField()
    #: Expressions, as JSON.
    errbacks = models.TextField(editable=False)

    class Meta:
        default_permissions = ()
        indexes = (models.Index(fields=["workflow_id"], name="django_jobs_scope_workflow"),)

    def __str__(self) -> str:
        return str(self.id)


class WorkflowMember(models.Model):
    """A report to a barrier: the member with this position has ended."""

    pk = models.CompositePrimaryKey("barrier", "position")
    barrier = OrderedUUIDField()
    position = models.IntegerField()
    #: The step or barrier that has its value.
    source = OrderedUUIDField()
    #: The step whose failure is its failure; None: it succeeded.
    cause = OrderedUUIDField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.barrier} {self.position}"
