"""
Where a job waits that was running when a process died: it may have been the reason.

It runs alone, after everything else in this process has ended and been settled. If it takes the process down again it
takes nobody along: no job runs twice because of it, and no other is charged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_jobs.brokers.base import Claimed
from django_jobs.worker.slots import Slots

#: A process that is not free by then gives the job back, for this long: another one may be.
PATIENCE_SECONDS = 0.1
DELAY_MS = 1000
#: Who has given the same job back this often keeps it then, for so long, and claims nothing else meanwhile: where every
#: process is always busy, none would ever be free by itself.
BOUNCES = 3
DRAIN_SECONDS = 30.0


class Quarantine:
    """Holds at most one suspect: a broker hands out redelivered jobs one at a time."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._suspect: Claimed | None = None
        self._is_running = False
        self._since = 0.0
        #: How often this process has given a suspect back: id -> times.
        self._bounces: dict[str, int] = {}

    @property
    def is_closed(self) -> bool:
        """Say whether a suspect waits or runs: nothing else may be claimed."""
        return self._suspect is not None

    def known(self) -> set[str]:
        """Return the id of the suspect that waits."""
        return {self._suspect.id} if self._suspect is not None and not self._is_running else set()

    def admit(self, jobs: Sequence[Claimed]) -> list[Claimed]:
        """Keep the suspect among these, return the others."""
        for claimed in jobs:
            if claimed.crashes:
                self._suspect, self._is_running, self._since = claimed, False, time.monotonic()
        return [claimed for claimed in jobs if not claimed.crashes]

    def turn(self, *, all_settled: bool) -> list[Claimed]:
        """Start the suspect when nothing else is here, forget it when it has ended; return it to be given back."""
        if not (self._slots.is_idle and all_settled):
            return self._bounce() if time.monotonic() - self._since > self._patience() else []
        if self._is_running:
            if self._suspect is not None:
                self._bounces.pop(self._suspect.id, None)
            self._suspect, self._is_running = None, False
        elif self._suspect is not None:
            self._is_running = True
            self._slots.put([self._suspect])
        return []

    def _patience(self) -> float:
        bounces = 0 if self._suspect is None else self._bounces.get(self._suspect.id, 0)
        return DRAIN_SECONDS if bounces >= BOUNCES else PATIENCE_SECONDS

    def _bounce(self) -> list[Claimed]:
        given = self.give_up()
        for suspect in given:
            if len(self._bounces) > 1000:  # those that others have run
                self._bounces.clear()
            self._bounces[suspect.id] = self._bounces.get(suspect.id, 0) + 1
        return given

    def give_up(self) -> list[Claimed]:
        """Return the suspect if it has not started, and hold it no more."""
        if self._suspect is None or self._is_running:
            return []
        suspect, self._suspect = self._suspect, None
        return [suspect]
