"""What workers say of themselves, where the broker is the database. Only ``brokers.database`` writes it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.models.fields import ExactCharField

WORKER_NAME_LENGTH = 191


class WorkerStanding(models.Model):
    """How a worker stands, as it said last, and the commands that wait for it."""

    worker = ExactCharField(_("worker"), max_length=WORKER_NAME_LENGTH, primary_key=True)
    info = models.BinaryField(_("what it said"))
    expires = models.BigIntegerField(_("expires"), help_text=_("Milliseconds since the epoch, the database's clock."))
    #: Base64, one a line.
    commands = models.TextField(_("commands"), default="")

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.worker)
