"""What operators and handles do to jobs, workflows and queues. For admin, shell and command line alike."""

from __future__ import annotations

from django_jobs.operations.queues import pause, prune, purge, resume, tell
from django_jobs.operations.retrying import discard, retry
from django_jobs.operations.revoking import revoke, revoke_many
from django_jobs.operations.summary import Summary
from django_jobs.operations.workflows import retry_workflow, revoke_workflow

__all__ = [
    "Summary",
    "discard",
    "pause",
    "prune",
    "purge",
    "resume",
    "retry",
    "retry_workflow",
    "revoke",
    "revoke_many",
    "revoke_workflow",
    "tell",
]
