"""Outcomes in the project's database: the default store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    connections,
    transaction,
)

from django_jobs import transactions
from django_jobs.conf import SETTING, as_ms, is_delay, nearest
from django_jobs.exceptions import JobsConfigurationError, StoreUnavailable
from django_jobs.models.result import JobResult
from django_jobs.results import pruning, reading
from django_jobs.results.base import BaseStore, Record, Remembered, Settled, StoredResult, Written, may_reopen
from django_jobs.results.cleaning import bare, batches, clean, not_storable, size_of
from django_jobs.results.continuity import known_of, remember
from django_jobs.results.outbox import RELAY_WAIT_MS, Outbox
from django_jobs.results.upsert import TOUCHES, WRITES, largest_row
from django_jobs.results.workflows.rows import Workflows

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

T = TypeVar("T")

#: What ``RESULTS["OPTIONS"]`` may hold, in seconds; see ``DatabaseStore``.
OPTIONS: Mapping[str, float] = {"PATIENCE": 20, "TIMEOUT": 5}

#: A row larger than this is measured against what the server takes before it is sent.
_LARGE = 1024 * 1024


class DatabaseStore(BaseStore):
    """
    Keeps ``JobResult`` rows on the alias ``DJANGO_JOBS["DATABASE"]``.

    Options: ``PATIENCE`` (20), how many seconds a worker waits for a locked database before it is told
    StoreUnavailable, and ``TIMEOUT`` (5), the same for everybody else.
    """

    def __init__(self, *, using: str, options: dict[str, Any] | None = None) -> None:
        super().__init__(using=using, options=options)
        self.patience_ms, self.timeout_ms = _ms_in(self.options, "PATIENCE"), _ms_in(self.options, "TIMEOUT")
        for name in self.options:
            if name not in OPTIONS:
                raise JobsConfigurationError(
                    f"{SETTING}['RESULTS']['OPTIONS'] has the key {name!r}, which DatabaseStore does not know."
                    f"{nearest(str(name), OPTIONS)} Known: {', '.join(OPTIONS)}."
                )
        self._largest_row: int | None = None
        self._outbox = self.outbox = Outbox(self._run, self._ask, wait_ms=self.timeout_ms)
        self._workflows = self.workflows = Workflows(using, self._run, self._ask, wait_ms=self.patience_ms)

    @property
    def is_transactional(self) -> bool:
        """Say that records are written in the transaction that is open."""
        return True

    # Writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open the transaction in which a batch is settled."""
        with self._explaining(), transactions.own(self.using, wait_ms=self.patience_ms):
            yield

    def savepoint(self) -> AbstractContextManager[None]:
        """Open a part of the transaction that an error undoes alone."""
        return transaction.atomic(self.using)

    def record(self, records: Sequence[Record]) -> list[str]:
        """Write these, all or none. Return the ids whose row was newer and stayed as it was."""
        return self.write(records).stayed

    @property
    def may_trust(self) -> bool:
        """Say that a transaction that began now would be undone as a whole: none is open that it would be a part of."""
        return not connections[self.using].in_atomic_block

    def write(self, records: Sequence[Record], *, trusting: bool = False) -> Written:
        """Write these as ``record`` does, and tell what became of them."""
        if not records:
            return Written([])
        at_once = self._record_at_once(records)
        if at_once is not None:
            return Written(at_once)

        def write(cursor: CursorWrapper) -> Written:
            if trusting:
                return Written([job_id for batch in batches(records) for job_id in self._put(cursor, clean(batch))])
            refused: dict[str, str] = {}
            stayed = [job_id for batch in batches(records) for job_id in self._write(cursor, clean(batch), refused)]
            return Written(stayed, refused)

        return self._run(write, wait_ms=self.patience_ms)

    def _record_at_once(self, records: Sequence[Record]) -> list[str] | None:
        """
        Write what is a single statement without a transaction around it: one round trip instead of five.

        None: it cannot be done like that, or the database refused; nothing was written then, and ``record`` goes the
        long way. PostgreSQL alone: SQLite waits for its lock on the long one, and MySQL writes in several statements.
        """
        connection = connections[self.using]
        if connection.in_atomic_block or connection.vendor != "postgresql":
            return None
        parts = list(batches(records))
        if len(parts) > 1 or (len(records) == 1 and size_of(records[0]) > _LARGE):
            return None

        def within() -> list[str]:
            with connection.cursor() as cursor:
                return self._writer(cursor, clean(parts[0]))

        try:
            if not connection.get_autocommit():  # this connects, where nothing was connected
                return None
            return transactions.ask(self.using, within)
        except (DatabaseError, InterfaceError, ValueError, OverflowError):
            transactions.drop_if_broken(self.using)
            return None

    def _write(self, cursor: CursorWrapper, batch: list[Record], refused: dict[str, str]) -> list[str]:
        """
        Write a batch; when the database refuses its data, by halves, until what is wrong stands alone. Return the ids
        of those that stayed, and add those that were ``refused``, and why.
        """
        try:
            with transaction.atomic(self.using):
                return self._put(cursor, batch)
        except (DatabaseError, ValueError, OverflowError) as error:
            if not transactions.is_about_data(error):
                raise
            if len(batch) == 1:
                refused[batch[0].id] = str(error)
                return self._write_without(cursor, batch[0], error)
        half = len(batch) // 2
        return self._write(cursor, batch[:half], refused) + self._write(cursor, batch[half:], refused)

    def _put(self, cursor: CursorWrapper, batch: list[Record]) -> list[str]:
        if len(batch) == 1:
            self._check_size(cursor, batch[0])
        return self._writer(cursor, batch)

    def _write_without(self, cursor: CursorWrapper, record: Record, error: Exception) -> list[str]:
        """Write that a record could not be written, with as much of it as the database takes."""
        told = not_storable(record, error)
        for substitute in (told, told._replace(args="[]", kwargs="{}", message=None)):
            try:
                with transaction.atomic(self.using):
                    return self._put(cursor, [substitute])
            except (DatabaseError, ValueError, OverflowError) as again:
                if not transactions.is_about_data(again):
                    raise
        return self._writer(cursor, [bare(told)])

    def _check_size(self, cursor: CursorWrapper, record: Record) -> None:
        """Refuse what would break the connection; a row that large always stands alone. Raises DataError."""
        size = size_of(record)
        if size > _LARGE:
            if self._largest_row is None:
                self._largest_row = largest_row(cursor)
            if size > self._largest_row:
                raise DataError(f"it has {size:,} bytes, and this database takes {self._largest_row:,}")

    @property
    def _writer(self) -> Callable[[CursorWrapper, Sequence[Record]], list[str]]:
        return WRITES[_vendor_of(self.using)]

    def update_meta(self, record: Record) -> bool:
        """Write state and meta of a running job. False: the row was newer."""
        touch = TOUCHES[_vendor_of(self.using)]
        (cleaned,) = clean([record])
        return self._run(lambda cursor: touch(cursor, cleaned), wait_ms=self.timeout_ms)

    def remember_broker(self, broker: str, continuity: str, now_ms: int) -> Remembered:
        """Compare what a broker says of itself with what is known of it, and remember it."""
        known = self._ask(lambda _: known_of(self.using, broker))
        if known is not None and known.continuity == continuity:
            return Remembered(known.changed)
        return self._run(
            lambda _: remember(self.using, self._outbox, broker, continuity, now_ms), wait_ms=RELAY_WAIT_MS
        )

    def remembered_broker(self, broker: str) -> Remembered:
        """Return what is remembered of a broker."""
        known = self._ask(lambda _: known_of(self.using, broker))
        return Remembered() if known is None else Remembered(known.changed, changes=known.changes)

    def reopen(self, records: Sequence[Record]) -> list[str]:
        """Write these over rows that have ended and are of an earlier generation. Return the ids of those written."""
        # SQLite has no row locks and needs none: its transaction holds the only write lock from its beginning.
        rows = JobResult.objects.using(self.using).filter(pk__in=[record.id for record in records])
        locked = rows.select_for_update().order_by("pk").values_list("id", "state", "fence")

        def write(cursor: CursorWrapper) -> list[str]:
            # Asked anew each time: a transaction that is repeated must not trust what the one before it has read.
            kept = {str(job_id): (state, fence) for job_id, state, fence in locked.all()}
            ended = [
                record
                for record in records
                if (found := kept.get(record.id)) and may_reopen(record.fence, kept_state=found[0], kept_fence=found[1])
            ]
            stayed = {job_id for batch in batches(ended) for job_id in self._write(cursor, clean(batch), {})}
            return [record.id for record in ended if record.id not in stayed]

        return self._run(write, wait_ms=self.timeout_ms) if records else []

    def forget(self, job_ids: Sequence[str]) -> int:
        """Delete the rows of these jobs. Return how many there were."""
        rows = JobResult.objects.using(self.using).filter(pk__in=job_ids)
        return self._run(lambda cursor: rows.delete()[0], wait_ms=self.timeout_ms)

    def let_go(self, job_ids: Sequence[str]) -> None:
        """Delete the rows of these jobs, but leave those to pruning that a workflow may still need."""
        self._run(lambda cursor: pruning.let_go(cursor, job_ids), wait_ms=self.timeout_ms)

    def prune(self, *, limit: int = 1000) -> int:
        """Delete up to ``limit`` rows whose time is over, oldest first. Return how many."""
        pruned = self._run(lambda cursor: pruning.prune(cursor, limit), wait_ms=self.timeout_ms)
        return pruned + self._workflows.prune(limit=limit)

    # Reading

    def get(self, job_id: str) -> StoredResult | None:
        """Return what is known of a job."""
        return self.get_many([job_id]).get(job_id)

    def get_many(self, job_ids: Sequence[str]) -> dict[str, StoredResult]:
        """Return what is known of these jobs."""
        return self._ask(lambda cursor: reading.read(cursor, job_ids))

    def children(self, job_id: str, *, limit: int = 1000) -> list[str]:
        """Return the ids of the recorded jobs that this one sent, oldest first."""
        return self._ask(lambda cursor: reading.read_children(cursor, job_id, limit))

    def settled(self, job_ids: Sequence[str]) -> dict[str, Settled]:
        """Return how these jobs stand."""
        return self._ask(lambda cursor: reading.read_settled(cursor, job_ids))

    def _ask(self, question: Callable[[CursorWrapper], T]) -> T:
        def within() -> T:
            with connections[self.using].cursor() as cursor:
                return question(cursor)

        with self._explaining():
            return transactions.ask(self.using, within)

    # How

    def _run(self, action: Callable[[CursorWrapper], T], *, wait_ms: int) -> T:
        def within() -> T:
            with connections[self.using].cursor() as cursor:
                return action(cursor)

        with self._explaining():
            return transactions.run(self.using, within, wait_ms=wait_ms)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn what keeps a database from working into StoreUnavailable, outside of a transaction of the caller's."""
        connection = connections[self.using]
        if connection.in_atomic_block:
            yield
            return
        try:
            yield
        except (DatabaseError, InterfaceError) as error:
            if transactions.is_missing_table(error):
                raise StoreUnavailable(
                    f"The tables of the results are missing in the database {self.using!r}, or are not up to date: run"
                    f" {transactions.how_to_migrate(self.using)}. ({error})"
                ) from error
            # Whatever else it refuses may pass: it has become a replica, or a right is missing.
            if isinstance(error, DataError | IntegrityError):
                raise
            transactions.drop_if_broken(self.using)
            raise StoreUnavailable(
                f"The database {self.using!r}, which keeps the results, cannot be used: {error}".rstrip()
            ) from error


def _ms_in(options: Mapping[str, Any], name: str) -> int:
    value = options.get(name, OPTIONS[name])
    if not is_delay(value) or as_ms(value) <= 0:
        raise JobsConfigurationError(
            f"{SETTING}['RESULTS']['OPTIONS'][{name!r}] must be a timedelta or a number of seconds above 0,"
            f" not {value!r}."
        )
    return as_ms(value)


def _vendor_of(using: str) -> str:
    vendor = connections[using].vendor
    if vendor not in WRITES:
        raise JobsConfigurationError(
            f"Results are kept on PostgreSQL, MySQL, MariaDB and SQLite; {using!r} is {vendor}. Name another alias in"
            " DJANGO_JOBS['DATABASE'], or a store of your own in DJANGO_JOBS['RESULTS']['STORE']."
        )
    return vendor
