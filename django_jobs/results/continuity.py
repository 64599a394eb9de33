"""Remembering who the broker was, in the database: for those who start later, or in another place."""

from __future__ import annotations

from django_jobs.models.continuity import BROKER_LENGTH, BrokerContinuity
from django_jobs.results.base import Remembered
from django_jobs.results.outbox import Outbox


def known_of(using: str, broker: str) -> BrokerContinuity | None:
    """Return what is known of a broker. Nearly always nothing has changed, and then no lock is taken."""
    return BrokerContinuity._default_manager.using(using).filter(pk=broker[:BROKER_LENGTH]).first()


def remember(using: str, outbox: Outbox, broker: str, continuity: str, now_ms: int) -> Remembered:
    """
    Compare with what is known and remember what is new; inside a transaction.

    Whoever finds a difference first has everything in the outbox handed over again; later ones are told when that was.
    """
    rows = BrokerContinuity._default_manager.using(using)
    name = broker[:BROKER_LENGTH]
    rows.bulk_create([BrokerContinuity(broker=name, continuity=continuity)], ignore_conflicts=True)
    known = rows.select_for_update().get(pk=name)
    if known.continuity == continuity:
        return Remembered(known.changed)
    known.continuity, known.changed, known.changes = continuity, now_ms, known.changes + 1
    known.save(using=using)
    return Remembered(now_ms, is_news=True, relayed=outbox.all_are_due())
