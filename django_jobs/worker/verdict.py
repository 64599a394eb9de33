"""What is noted down with a job that was ended together with its process: the reason that the broker keeps with it."""

from __future__ import annotations

import json
from typing import NamedTuple

TIME_LIMIT, TERMINATED = "time limit", "terminated"


class Verdict(NamedTuple):
    """Why a job was ended, and what its row is to say."""

    #: TIME_LIMIT or TERMINATED.
    why: str
    #: The name of the process that ran it.
    worker: str
    #: Milliseconds since the epoch, the worker's clock.
    started_ms: int
    ended_ms: int

    def encode(self) -> str:
        """Return the reason for the broker: well under the 255 characters that it keeps."""
        return json.dumps(self._replace(worker=self.worker[:90]), separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def decode(cls, reason: str | None) -> Verdict | None:
        """Read a reason; None: it is none of ours."""
        try:
            why, worker, started_ms, ended_ms = json.loads(reason or "")
        except (ValueError, TypeError):
            return None
        return cls(why, worker, started_ms, ended_ms)
