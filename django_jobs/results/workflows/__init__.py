"""Where workflows are kept: steps, barriers and reports, beside the results of their jobs."""

from __future__ import annotations

from django_jobs.results.workflows.base import BaseWorkflows, Changes, Head, KeptBarrier, KeptStep, Member

__all__ = ["BaseWorkflows", "Changes", "Head", "KeptBarrier", "KeptStep", "Member"]
