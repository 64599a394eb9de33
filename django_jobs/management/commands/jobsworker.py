"""``manage.py jobsworker``: the same as runworker, for projects where Channels owns that name."""

from __future__ import annotations

from django_jobs.management.commands.runworker import Command

__all__ = ["Command"]
