"""
Who may write: the one rule that makes it not matter in which order late writers arrive.

A row that has ended gives way to a larger generation alone (somebody sent the job again). So of two copies of one
delivery, the first that is recorded stays. A row that has not ended gives way to its own attempt and to every later
one.
"""

from __future__ import annotations

from django_jobs.envelope import GENERATION_BITS
from django_jobs.results.base import may_reopen
from django_jobs.states import TERMINAL_STATES

_TERMINAL = ", ".join(f"'{state}'" for state in sorted(TERMINAL_STATES))

#: In SQL, for ON CONFLICT DO UPDATE of a table that is called "kept".
GUARD = (
    f"CASE WHEN kept.state IN ({_TERMINAL})"
    f" THEN (excluded.fence >> {GENERATION_BITS}) > (kept.fence >> {GENERATION_BITS})"
    " ELSE excluded.fence >= kept.fence END"
)


def wins(fence: int, *, kept_fence: int, kept_state: str) -> bool:
    """Say whether a write of this fence may replace what the row says."""
    if kept_state in TERMINAL_STATES:
        return may_reopen(fence, kept_fence=kept_fence, kept_state=kept_state)
    return fence >= kept_fence
