"""Which queues there are."""

from __future__ import annotations

from django_jobs.brokers.base import BaseBroker
from django_jobs.conf import settings
from django_jobs.options import DEFAULT_QUEUE
from django_jobs.registry import registry


def known_queues(broker: BaseBroker) -> list[str]:
    """Name every queue there is: listed in QUEUES, used by a task here, or known to the broker. Asks the broker."""
    names = {DEFAULT_QUEUE, *settings.top["QUEUES"], *(task.options.queue for task in registry)}
    return sorted(names.union(broker.queues()))
