"""What handles say to those who take them for what can still be sent, or for Celery's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django_jobs.canvas.habits import OF_HANDLES


class Sent:
    """Something that was sent."""

    if not TYPE_CHECKING:  # to mypy it would mean that a handle has every attribute

        def __getattr__(self, name: str) -> Any:
            """Say what to use instead of what a handle does not have."""
            hint = f" {OF_HANDLES[name]}" if name in OF_HANDLES else ""
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}.{hint}", name=name, obj=self)

    def __or__(self, other: object) -> NoReturn:
        raise TypeError(f"{self!r} has been sent already: combine signatures, .s(...), and send what comes of it.")
