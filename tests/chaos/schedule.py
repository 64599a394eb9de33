"""When faults come, and whom they hit: decided by the seed before the trial begins."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A fault to come. It is counted in jobs that have started, so that a slow machine gets the same schedule."""

    after: int
    #: Whoever is to be hit takes this modulo the number of candidates.
    host: int
    child: int
    #: From 0 to 1: how long, how much, which one.
    share: float

    def __str__(self) -> str:
        return f"after {self.after} runs: host {self.host}, child {self.child}, share {self.share:.2f}"


def schedule(row: int, mode: str, *, seed: int, jobs: int, faults: int) -> list[Moment]:
    """Return the moments of a trial, spread over the first four fifths of its jobs."""
    dice = random.Random(f"{row} {mode} {seed}")
    first, last = max(1, jobs // 20), max(2, jobs * 4 // 5)
    step = (last - first) / max(1, faults)
    return [
        Moment(
            after=int(first + step * (number + dice.random())),
            host=dice.randrange(1000),
            child=dice.randrange(1000),
            share=dice.random(),
        )
        for number in range(faults)
    ]
