"""A flag that wakes one thread, and that a signal handler may set."""

from __future__ import annotations

from queue import Empty, SimpleQueue


class Wake:
    """
    Like threading.Event for a single waiter, but reentrant.

    A signal handler runs between any two instructions of the main thread, also while that thread is inside
    ``Event.set`` and holds its lock: setting the event there would wait for ever. ``SimpleQueue.put`` is documented to
    be reentrant.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Wake the waiter, now or when it waits next."""
        if self._queue.empty():
            self._queue.put(None)

    def wait(self, timeout: float) -> None:
        """Wait until set, at most ``timeout`` seconds, and unset it."""
        try:
            self._queue.get(timeout=timeout)
            while True:
                self._queue.get_nowait()
        except Empty:
            pass
