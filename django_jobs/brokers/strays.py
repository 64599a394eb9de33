"""Jobs that are nobody's: what damage to the service leaves behind, found and mended."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What is wrong with a job."""

    #: In flight of a consumer that has no lease: nobody is going to reap it.
    ORPHAN = "orphan"
    #: Its message is kept, and it is in no place: nobody is going to claim it.
    LOST = "lost"
    #: It is in a place, and has no message.
    GHOST = "ghost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A job that is nobody's."""

    id: str
    queue: str
    fault: Fault
    #: Who held an orphan.
    consumer: str | None = None


class StrayVerbs(abc.ABC):
    """What a broker does about its own damage. No verb makes strays: somebody else has deleted something."""

    @abc.abstractmethod
    def strays(self, queues: Sequence[str], *, mend: bool = False) -> list[Stray]:
        """
        Find the strays of these queues. For operators: it may take as long as there are jobs.

        ``mend``: orphans and lost jobs are ready again (an orphan that was revoked is dead), ghosts are gone. What is
        found while others work is looked at once more before it is touched.
        """
