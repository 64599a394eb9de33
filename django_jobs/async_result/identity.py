"""What makes two handles the same."""

from __future__ import annotations


class Identified:
    """A handle: it is what its id is."""

    id: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self.id))
