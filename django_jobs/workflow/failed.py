"""The job that has failed, as an error callback is told of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django_jobs.exceptions import DecodeError, RelatedObjectMissing
from django_jobs.results.base import Record
from django_jobs.serializers import load_packed, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRequest:
    """The first argument of an error callback: what has failed. Its arguments are as they may be shown: no secrets."""

    id: str
    task: str
    args: Any
    kwargs: Any
    queue: str
    retries: int
    worker: str
    root_id: str | None
    parent_id: str | None

    @classmethod
    def of(cls, record: Record) -> FailedRequest:
        """Return what a record says of its job."""
        return cls(
            id=record.id,
            task=record.task,
            args=_shown(record.args),
            kwargs=_shown(record.kwargs),
            queue=record.queue,
            retries=record.retries,
            worker=record.worker,
            root_id=record.root_id,
            parent_id=record.parent_id,
        )


def _shown(text: str) -> Any:
    packed = load_packed(text)
    with suppress(DecodeError, RelatedObjectMissing):  # something in it is hidden, cut, or gone
        return unpack(packed)
    return packed
