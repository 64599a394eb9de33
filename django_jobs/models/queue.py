"""The tables of the database broker. Only ``brokers.database`` writes them; nobody edits them by hand."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobs.models.fields import ExactCharField, OrderedUUIDField, StateIndex

QUEUE_NAME_LENGTH = 64
READY, SCHEDULED, IN_FLIGHT, DEAD = range(4)


class QueuedJob(models.Model):
    """
    A job that the broker holds. The row is the job: it goes when the job is settled.

    Ready and scheduled are two states with an index each, so that looking for work never passes over jobs whose moment
    has not come. Whoever holds a job in flight is named by (consumer, token), and only that pair may settle it.
    """

    id = OrderedUUIDField(_("id"), primary_key=True, editable=False)
    queue = ExactCharField(_("queue"), max_length=QUEUE_NAME_LENGTH)
    state = models.SmallIntegerField(
        _("state"),
        choices=((READY, _("ready")), (SCHEDULED, _("scheduled")), (IN_FLIGHT, _("in flight")), (DEAD, _("dead"))),
    )
    #: 100 - priority, because MariaDB before 10.8 has only indexes that ascend. ("rank" is a reserved word in MySQL 8.)
    precedence = models.SmallIntegerField(_("precedence"))
    #: Milliseconds since the epoch, the database's clock: when it was enqueued, becomes or became due, or ended.
    moment = models.BigIntegerField(_("moment"))
    body = models.BinaryField(_("message"))
    consumer = ExactCharField(_("consumer"), max_length=64, default="")
    #: In flight: names the claim. Before that: the call of enqueue that added the row.
    token = ExactCharField(_("token"), max_length=32, default="")
    deliveries = models.IntegerField(_("deliveries"), default=0)
    crashes = models.IntegerField(_("crashes"), default=0)
    #: Somebody revoked it while it was in flight.
    revoked = models.BooleanField(_("revoked"), default=False)
    #: ... and it is to be interrupted. ("terminated" is a reserved word in MySQL and MariaDB.)
    interrupted = models.BooleanField(_("to be interrupted"), default=False)
    reason = models.CharField(_("reason"), max_length=255, default="")

    class Meta:
        verbose_name = _("queued job")
        verbose_name_plural = _("queued jobs")
        default_permissions = ("view",)
        indexes = (
            StateIndex(state=READY, fields=["queue", "precedence", "moment", "id"], name="django_jobs_ready"),
            StateIndex(state=SCHEDULED, fields=["queue", "moment"], name="django_jobs_scheduled"),
            StateIndex(state=IN_FLIGHT, fields=["consumer", "queue"], name="django_jobs_in_flight"),
            StateIndex(state=DEAD, fields=["queue", "moment"], name="django_jobs_dead"),
        )

    def __str__(self) -> str:
        return f"{self.queue} {self.id}"


class ConsumerLease(models.Model):
    """A consumer's right to claim from one queue, for as long as it is heard of."""

    consumer = ExactCharField(_("consumer"), max_length=64)
    queue = ExactCharField(_("queue"), max_length=QUEUE_NAME_LENGTH)
    expires = models.BigIntegerField(_("expires"), help_text=_("Milliseconds since the epoch, the database's clock."))
    #: When somebody first found the lease expired.
    suspected = models.BigIntegerField(_("suspected"), null=True)

    class Meta:
        verbose_name = _("consumer lease")
        verbose_name_plural = _("consumer leases")
        default_permissions = ("view",)
        constraints = (models.UniqueConstraint(fields=["consumer", "queue"], name="django_jobs_lease_unique"),)
        indexes = (models.Index(fields=["queue", "expires"], name="django_jobs_lease_expires"),)

    def __str__(self) -> str:
        return f"{self.consumer} in {self.queue}"


class KnownQueue(models.Model):
    """A queue that was ever enqueued to or listened to, and its switch."""

    name = ExactCharField(_("name"), max_length=QUEUE_NAME_LENGTH, primary_key=True)
    paused = models.BooleanField(_("paused"), default=False)

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.name)
