"""What a broker says of and does to jobs that are named by their ids, one or hundreds."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django_jobs.states import Place

if TYPE_CHECKING:
    from django_jobs.brokers.base import Found


class NamedVerbs(abc.ABC):
    """The part of the contract about jobs that somebody names."""

    @abc.abstractmethod
    def find(self, job_id: str, queue: str | None = None) -> Found | None:
        """Say where a job is; without its queue, in all that are known, in one round trip."""

    def find_many(self, job_ids: Sequence[str]) -> dict[str, Found]:
        """Say where jobs are; without those that are nowhere. In few round trips where the service allows that."""
        found = (self.find(job_id) for job_id in job_ids)
        return {one.id: one for one in found if one is not None}

    @abc.abstractmethod
    def revoke(self, job_id: str, queue: str, *, terminate: bool = False) -> Place | None:
        """
        Stop a job that waits: ready or scheduled -> dead ("revoked"). Return the place where it was found; None:
        unknown.

        One in flight stays there and is named in its consumer's next heartbeat; with ``terminate``, also among those
        that are to be interrupted. The caller records the end, then calls ``forget``.
        """

    def revoke_many(self, job_ids: Sequence[str], queue: str, *, terminate: bool = False) -> list[Place | None]:
        """Do the same to jobs of one queue, in few round trips where the service allows that."""
        return [self.revoke(job_id, queue, terminate=terminate) for job_id in job_ids]
