"""Jobs that are committed together with the rows they are about, until their end is."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.models.fields import ExactCharField, OrderedUUIDField
from django_jobs.models.queue import QUEUE_NAME_LENGTH


class OutboxJob(models.Model):
    """
    A job that was sent through the outbox, and has not ended.

    The row is written by the caller's transaction and deleted by the one that records the end of the job. While it is
    there the job is handed to the broker again and again, which takes it when it does not know it (any more).
    """

    id = OrderedUUIDField(_("id"), primary_key=True, editable=False)
    queue = ExactCharField(_("queue"), max_length=QUEUE_NAME_LENGTH)
    #: The encoded job, as the broker gets it; never shown, it is not redacted.
    message = models.TextField(editable=False)
    priority = models.SmallIntegerField(_("priority"), default=0)
    #: Not before; ms since the epoch.
    eta = models.BigIntegerField(_("not before"), null=True)
    generation = models.BigIntegerField(_("generation"), default=0)
    #: How often it was handed to the broker.
    relays = models.IntegerField(_("relays"), default=0)
    #: When it is to be handed over again; ms since the epoch.
    due = models.BigIntegerField(_("due"))

    class Meta:
        verbose_name = _("job in the outbox")
        verbose_name_plural = _("jobs in the outbox")
        default_permissions = ("view",)
        indexes = (models.Index(fields=["due"], name="django_jobs_outbox_due"),)

    def __str__(self) -> str:
        return f"{self.queue} {self.id}"
