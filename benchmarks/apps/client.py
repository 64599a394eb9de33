"""The interface through which the benchmark enqueues, implemented once per contender."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

TaskName = Literal["noop", "nap", "async_nap"]


class Client(ABC):
    """A process that enqueues, as an application would: through the contender's public interface."""

    @abstractmethod
    def sender(self, task: TaskName) -> Callable[[int], Any]:
        """Return what enqueues one job: as direct as the contender offers it."""

    @abstractmethod
    def enqueue_later(self, count: int, delay_seconds: int) -> None:
        """Enqueue ``count`` no-op jobs that are due in ``delay_seconds``."""

    def enqueue_many(self, task: TaskName, count: int) -> None:
        """Enqueue ``count`` jobs in the fastest documented way; one by one where there is no other."""
        send = self.sender(task)
        for index in range(count):
            send(index)

    def get(self, handle: Any, timeout: float) -> Any:
        """Wait for the result of a job and return it."""
        raise NotImplementedError(f"{type(self).__name__} does not read results.")
