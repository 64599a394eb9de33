"""LISTEN and NOTIFY: on PostgreSQL, consumers in other processes are told of new jobs at once."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_jobs.brokers.database.runner import Database
from django_jobs.brokers.database.wakeup import Wakeups
from django_jobs.exceptions import BrokerUnavailable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("django_jobs.broker")

CHANNEL = "django_jobs"
# NOTIFY takes a lock of the whole server at its commit, so a busy sender leaves most of them out: whoever was woken by
# the last one looks again within 20 ms.
NOTIFY_EVERY = 0.01  # seconds
RECONNECT_AFTER = 5.0
CHECK_EVERY = 30.0


class Notifications:
    """The sender's and the listener's end for one process. Does nothing on other databases."""

    def __init__(self, database: Database, wakeups: Wakeups) -> None:
        self._database = database
        self._wakeups = wakeups
        self._enabled = database.vendor == "postgresql"
        self._notified_at = 0.0
        self._lock = threading.Lock()
        self._listener: Listener | None = None

    def notify(self, queues: Collection[str]) -> None:
        """Tell the other processes; not more often than every 10 ms. Call it outside of any transaction."""
        now = time.monotonic()
        if not self._enabled or now - self._notified_at < NOTIFY_EVERY:
            return
        self._notified_at = now
        try:
            self._database.run(
                lambda sql: sql.rows(
                    "SELECT pg_notify(%s, name) FROM UNNEST(%s::text[]) AS q (name)", (CHANNEL, list(queues))
                ),
                alone=True,
            )
        except BrokerUnavailable as error:
            logger.warning("Consumers were not told of new jobs and will find them by themselves: %s", error)

    def listen(self) -> None:
        """Start the listener of this process, unless it runs."""
        listener = self._listener
        if not self._enabled or (listener is not None and listener.is_running()):
            return
        with self._lock:
            if self._listener is None or not self._listener.is_running():
                self._listener = Listener(connections[self._database.alias], self._wakeups)
                self._listener.start()

    def close(self) -> None:
        """End the listener; the next wait starts another."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None and listener.is_running():
            listener.stop()


class Listener:
    """A thread with a connection of its own, which passes notifications on to those who wait in this process."""

    def __init__(self, connection: BaseDatabaseWrapper, wakeups: Wakeups) -> None:
        self._connection: Any = connection.copy()
        # A pooled connection cannot be listened on, and this one is never given back.
        self._connection.settings_dict["OPTIONS"].pop("pool", None)
        self._connection.inc_thread_sharing()
        self._wakeups = wakeups
        self._process = os.getpid()
        self._stopping = threading.Event()
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="django-jobs-listen", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def is_running(self) -> bool:
        """Say whether the thread is alive, in this process."""
        return self._process == os.getpid() and self._thread.is_alive()

    def stop(self) -> None:
        """End the thread, and close its connection."""
        self._stopping.set()
        os.write(self._stop_writer, b".")
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                with self._reporting_errors():
                    self._listen()
                self._stopping.wait(RECONNECT_AFTER)
        finally:
            self._connection.close()
            os.close(self._stop_reader)
            os.close(self._stop_writer)

    @contextlib.contextmanager
    def _reporting_errors(self) -> Iterator[None]:
        try:
            yield
        except (self._connection.Database.Error, OSError, ValueError) as error:
            logger.info("Cannot listen for new jobs, so they are looked for: %s", error)
            with contextlib.suppress(self._connection.Database.Error):
                self._connection.close()

    def _listen(self) -> None:
        self._connection.close()
        with self._connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        raw = self._connection.connection
        with selectors.DefaultSelector() as selector:
            selector.register(raw.fileno(), selectors.EVENT_READ)
            selector.register(self._stop_reader, selectors.EVENT_READ)
            while not self._stopping.is_set():
                if not selector.select(CHECK_EVERY):
                    with self._connection.cursor() as cursor:
                        cursor.execute("SELECT 1")
                queues = set(received(raw))
                if queues:
                    self._wakeups.mark(queues)


def received(raw: Any) -> Iterator[str]:
    """Yield the payloads that have arrived on a connection of psycopg or psycopg2, without waiting."""
    if hasattr(raw, "pgconn"):
        raw.pgconn.consume_input()
        while notification := raw.pgconn.notifies():
            yield notification.extra.decode()
    else:
        raw.poll()
        while raw.notifies:
            yield raw.notifies.pop(0).payload
