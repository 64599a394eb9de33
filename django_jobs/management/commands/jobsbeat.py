"""``manage.py jobsbeat``: the same as runbeat, beside jobsworker."""

from __future__ import annotations

from django_jobs.management.commands.runbeat import Command

__all__ = ["Command"]
