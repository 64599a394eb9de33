"""
What ``manage.py check --deploy`` says besides: it asks the broker's service and the databases how they are set up.

What cannot be reached is a warning, and what must not be asked a hint: a check never has a traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Info, register
from django.core.checks import Warning as Caution
from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobs.brokers.hazards import Danger, hazards_of
from django_jobs.checks.messages import (
    TAG,
    databases_of_jobs,
    first_line,
    is_not_made_yet,
    message,
    readable,
    usable_broker,
)
from django_jobs.conf import SETTING, settings
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.registry import registry

#: What can be delivered again within a day may have ended long before: an AOF that was cut, a backup that was restored.
LONGEST_REDELIVERY = timedelta(days=1)
#: From then on dead rows that VACUUM may not remove are felt by every claim.
LONG_TRANSACTION = timedelta(minutes=10)

KINDS: Mapping[Danger, tuple[Callable[..., CheckMessage], str]] = {
    Danger.EVICTION: (Caution, "W020"),
    Danger.NO_PERSISTENCE: (Caution, "W021"),
    Danger.PLAIN_TEXT: (Caution, "W022"),
    Danger.SHARED: (Caution, "W027"),
    Danger.UNREACHABLE: (Caution, "W031"),
    Danger.UNSEEN: (Info, "I003"),
    Danger.OLD_PERSISTENCE: (Info, "I004"),
}


@register(TAG, deploy=True)
def check_service(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Say what is dangerous about the broker's service (W020, W021, W022, W027, W031, I003, I004)."""
    return [message(*KINDS[found.danger], found.text, found.hint or None) for found in hazards_of(usable_broker())]


@register(TAG, deploy=True)
def check_retention(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name results that are gone while their jobs may be delivered again (W025)."""
    broker, ours = usable_broker(), readable("DATABASE")
    if broker is None or (ours is not None and broker.joins_transaction(ours)):
        return []  # the end of a job and its leaving the queue are one commit
    try:
        needed = max(LONGEST_REDELIVERY, timedelta(milliseconds=_silence_ms()))
        kept = {f"{SETTING}['RESULTS']['{name}']": _kept(name) for name in ("EXPIRES", "FAILURES_EXPIRE")}
    except JobsConfigurationError:
        return []  # E002 says it
    kept |= {f"The option result_expires of {name}": time for name, time in _kept_by_tasks()}
    hint = "A job that is delivered again is not run when its end is on record. Without that record it runs again."
    return [
        message(Caution, "W025", f"{where} is {time}, shorter than jobs may be delivered again ({needed}).", hint)
        for where, time in kept.items()
        if time is not None and time < needed
    ]


def _silence_ms() -> int:
    return settings.worker_ms("LEASE") + settings.worker_ms("SUSPECT_TIME")


def _kept(name: str) -> timedelta | None:
    kept_ms = settings.results_ms(name)
    return None if kept_ms is None else timedelta(milliseconds=kept_ms)


def _kept_by_tasks() -> Iterator[tuple[str, timedelta]]:
    for task in registry:
        try:
            time = task.options.result_expires
        except JobsConfigurationError:
            continue  # E014 says it
        if time is not None:
            yield task.name, time if isinstance(time, timedelta) else timedelta(seconds=time)


@register(TAG, deploy=True)
def check_sqlite(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name a broker on SQLite in production (W030)."""
    broker = usable_broker()
    if broker is None or django_settings.DEBUG:
        return []
    return [
        message(
            Caution,
            "W030",
            f"Jobs are kept in DATABASES[{alias!r}], which is SQLite: all workers and web processes have to be on one"
            " machine, and one of them writes at a time.",
            "Use PostgreSQL, MariaDB or Redis, or silence this check if one machine is all there is.",
        )
        for alias in connections
        if connections[alias].vendor == "sqlite" and broker.joins_transaction(alias)
    ]


@register(TAG, deploy=True)
def check_open_databases(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Ask the databases of jobs and results how they are used (W029, W031, I003, I005)."""
    found: list[CheckMessage] = []
    for alias in databases_of_jobs():
        look = LOOKS.get(connections[alias].vendor)
        try:
            found += look(connections[alias]) if look else []
        except OperationalError as error:
            found.append(message(Caution, "W031", f"DATABASES[{alias!r}] cannot be asked: {first_line(error)}"))
        except Error as error:
            text = f"DATABASES[{alias!r}] does not say how it is used: {first_line(error)}"
            found.append(message(Info, "I003", text))
    return found


class Session(NamedTuple):
    """A connection of PostgreSQL's with an open transaction; None, but for the first: not ours to see."""

    pid: int
    open_for: timedelta | None
    state: str | None
    application: str | None


# A user who is not a superuser and has not pg_read_all_stats sees of other users' sessions little more than their pids.
OPEN_TRANSACTIONS = """
    SELECT pid, clock_timestamp() - xact_start, state, application_name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND (xact_start < clock_timestamp() - make_interval(secs => %s) OR query = '<insufficient privilege>')
    ORDER BY xact_start
"""


def _look_at_postgresql(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute(OPEN_TRANSACTIONS, [LONG_TRANSACTION.total_seconds()])
        sessions = [Session(*row) for row in cursor.fetchall()]
    where = f"DATABASES[{connection.alias!r}]"
    long = [session for session in sessions if session.open_for is not None]
    if long:
        text = (
            f"{where} has {_transactions(long)} open for longer than {LONG_TRANSACTION}. The oldest: {_one(long[0])}."
        )
        hint = "VACUUM cannot remove the dead rows of the queue while one is open, and every claim reads across them."
        hint += " End it (SELECT pg_terminate_backend(pid)), and set idle_in_transaction_session_timeout."
        yield message(Caution, "W029", text, hint)
    if len(sessions) > len(long):
        hidden = len(sessions) - len(long)
        text = (
            f"{where} does not show the transactions of {hidden} connection{'s' if hidden > 1 else ''} of other users."
        )
        yield message(Info, "I003", text, "GRANT pg_read_all_stats to the user of this check to have them looked at.")


def _transactions(sessions: list[Session]) -> str:
    idle = sum(1 for session in sessions if (session.state or "").startswith("idle in transaction"))
    count = f"{len(sessions)} transaction{'s' if len(sessions) > 1 else ''}"
    return f"{count} ({idle} of them idle)" if idle else count


def _one(session: Session) -> str:
    seconds = round(session.open_for.total_seconds()) if session.open_for else 0
    application = f" of {session.application}" if session.application else ""
    return f"{timedelta(seconds=seconds)}, pid {session.pid}{application}, {session.state}"


def _look_at_sqlite(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    if is_not_made_yet(connection):
        return
    file = Path(str(connection.settings_dict["NAME"]))
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        (mode,) = cursor.fetchone()
    if mode.lower() != "wal":
        text = (
            f"DATABASES[{connection.alias!r}] is SQLite with journal_mode {mode}: a reader keeps workers from writing."
        )
        hint = "With WAL readers and the one writer do not wait for each other. It stays set once it was said:"
        yield message(Info, "I005", text, f'{hint} sqlite3 {file.name} "PRAGMA journal_mode = WAL".')


LOOKS: Mapping[str, Callable[[Any], Iterator[CheckMessage]]] = {
    "postgresql": _look_at_postgresql,
    "sqlite": _look_at_sqlite,
}
