"""What became of an operation on many jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django_jobs.identifiers import parse_id
from django_jobs.results.sql import BATCH, batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of an operation on some jobs."""

    done: int = 0
    #: Not in a state for it, not known, or taken by somebody else at the same moment.
    skipped: int = 0


def in_batches(job_ids: Sequence[str], act: Callable[[Sequence[str]], int]) -> Summary:
    """Do something to jobs, by the batch; ``act`` returns how many it was done to. Raises ValueError for a bad id."""
    ids = [parse_id(job_id) for job_id in job_ids]
    done = sum(act(some) for some in batches(ids, BATCH))
    return Summary(done=done, skipped=len(ids) - done)
