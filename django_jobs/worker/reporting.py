"""What a keeper says of its worker to the broker, and the commands that it gets in return."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Mapping
from typing import Any

from django_jobs.brokers.base import BaseBroker
from django_jobs.worker import process

logger = logging.getLogger("django_jobs.worker")

#: What an operator may tell a worker, and the signal that does it.
COMMANDS: Mapping[str, str] = {"stop": "SIGTERM", "quiet": "SIGTSTP", "dump": "SIGTTIN"}


class Reporting:
    """Reports how a worker stands with each heartbeat, and has it do what it is told."""

    def __init__(self, broker: BaseBroker, *, ttl_ms: int) -> None:
        self._broker = broker
        self._ttl_ms = ttl_ms
        #: What the head of the worker said last; None: nothing yet.
        self.status: dict[str, Any] | None = None

    def beat(self) -> None:
        """Report. Raises BrokerUnavailable."""
        if self.status is None:
            return
        for text in self._broker.report(self.status["name"], json.dumps(self.status).encode(), ttl_ms=self._ttl_ms):
            self._obey(text)

    def leave(self) -> None:
        """Say that the worker ends. Raises BrokerUnavailable."""
        if self.status is not None:
            self._broker.report(self.status["name"], b"", ttl_ms=0)
            self.status = None

    def _obey(self, text: bytes) -> None:
        assert self.status is not None
        try:
            name = json.loads(text)["do"]
            number = getattr(signal, COMMANDS[name])
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("A command that this worker does not know: %r", text[:200])
            return
        logger.warning("An operator said: %s", name)
        process.send_signal(self.status["pid"], number)
