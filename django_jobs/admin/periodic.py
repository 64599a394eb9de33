"""The pages of periodic tasks and of their runs."""

from __future__ import annotations

from django_jobs.admin.periodic_pages import PeriodicPages
from django_jobs.admin.periodic_runs import PeriodicRunPages
from django_jobs.admin.result import Base


class PeriodicTaskAdmin(PeriodicPages, Base):
    """When tasks recur: looked at, edited, switched on and off, run now."""


class PeriodicRunAdmin(PeriodicRunPages, Base):
    """What became of each moment."""
