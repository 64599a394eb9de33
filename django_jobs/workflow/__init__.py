"""Workflows that are under way: what follows an end, and everything that is done to a canvas once it was sent."""

from __future__ import annotations

from django_jobs.workflow.recording import concerns, record
from django_jobs.workflow.starting import start, workflows_of

__all__ = ["concerns", "record", "start", "workflows_of"]
