"""What is known of the broker's memory."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.models.fields import ExactCharField

BROKER_LENGTH = 191


class BrokerContinuity(models.Model):
    """
    Who the broker was when it was last asked, and when it was last found to be somebody else.

    Of those who find that out at the same time, the one that changes this row says so and has the outbox relayed again.
    """

    broker = ExactCharField(_("broker"), max_length=BROKER_LENGTH, primary_key=True)
    continuity = ExactCharField(_("continuity"), max_length=64)
    #: ms since the epoch, by the broker's clock; 0: it never was.
    changed = models.BigIntegerField(_("changed"), default=0)
    changes = models.IntegerField(_("changes"), default=0)

    class Meta:
        verbose_name = _("continuity of a broker")
        verbose_name_plural = _("continuity of brokers")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.broker)
