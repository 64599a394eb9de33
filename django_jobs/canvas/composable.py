"""What makes signatures of itself: a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django_jobs.canvas.maps import Chunks, chunks, xmap, xstarmap
from django_jobs.canvas.signature import Signature, signature


class Composable:
    """A task as a part of a canvas."""

    #: Of the task.
    name: str

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a call that is not sent yet. In a canvas it gets the value of what comes before it first."""
        return Signature.s(self, *args, **kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a call that is not sent yet, and that gets nothing from what comes before it."""
        return Signature.si(self, *args, **kwargs)

    def signature(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Signature:
        """Return a call that is not sent yet, with options; ``immutable=True``: as ``si`` does."""
        return cast(Signature, signature(self, args, kwargs, **options))

    def map(self, arguments: Iterable[Any], /) -> Signature:
        """Call the task with each of these, one after the other in one job; its value is the list of theirs."""
        return xmap(self, arguments)

    def starmap(self, arguments: Iterable[Iterable[Any]], /) -> Signature:
        """Call the task with each of these tuples of arguments, one after the other in one job."""
        return xstarmap(self, arguments)

    def chunks(self, arguments: Iterable[Iterable[Any]], size: int, /) -> Chunks:
        """Call the task with each of these tuples of arguments, so many in one job."""
        return chunks(self, arguments, size)
