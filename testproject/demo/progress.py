"""How far the gallery's jobs are, counted from what the site says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ENDED_BADLY = ("FAILURE", "REVOKED", "UNKNOWN")


def jobs(status: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each job of the site with a name for people."""
    for photo in status["photos"]:
        for thumbnail in photo["thumbnails"]:
            yield f"{photo['title']}: {thumbnail['size']} thumbnail", thumbnail["job"]
        yield f"{photo['title']}: EXIF report", photo["exif_job"]
        yield f"{photo['title']}: notice", photo["notice_job"]
    for export in status["exports"]:
        yield f"CSV export {export['id']}", export["job"]
    for report in status["visits"]:
        yield f"visits {report['id']}", report["job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of the site's work."""

    total: int
    ended: int
    states: dict[str, int]
    failed: tuple[str, ...]

    @classmethod
    def of(cls, status: dict[str, Any]) -> Progress:
        """Count the jobs of a status."""
        found = list(jobs(status))
        return cls(
            total=len(found),
            ended=sum(job["ended"] for _, job in found),
            states=dict(Counter(job["state"] for _, job in found)),
            failed=tuple(f"{name}: {job['label']}" for name, job in found if job["state"] in ENDED_BADLY),
        )

    @property
    def complete(self) -> bool:
        """Whether every job has ended."""
        return self.ended == self.total

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state.lower()}" for state, count in sorted(self.states.items()))
        return f"{self.ended} of {self.total} jobs have ended ({states})"
