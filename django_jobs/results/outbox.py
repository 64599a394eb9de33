"""
The outbox: jobs in the database of the results until they have ended.

Three transactions touch a row: the caller's inserts it, a relay locks it while the broker is given the job, and the one
that records the end of the job deletes it. The second and the third exclude each other, and jobs are acked after the
third. So whenever the broker is given a job here, it either knows the job still, and then nothing happens, or has lost
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from django_jobs import clock
from django_jobs.models.outbox import OutboxJob
from django_jobs.results.arrays import plain, texts
from django_jobs.results.sql import BATCH, among, batches, for_update, id_of, id_writer, rows_of_one

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

T = TypeVar("T")

#: Texts of one statement together.
BATCH_BYTES = 2 * 1024 * 1024
#: A row that its own process has not handed over by then is anybody's.
GRACE_MS = 1000
#: A relay waits no longer for SQLite's write lock: a keeper has leases to renew.
RELAY_WAIT_MS = 1000
#: The pause between two relays of a job doubles this often at most.
DOUBLINGS = 6

_TABLE = OutboxJob._meta.db_table
_COLUMNS = "id, queue, message, priority, eta, generation, relays"
_INSERT = f"INSERT INTO {_TABLE} ({_COLUMNS}, due) VALUES "  # noqa: S608
_INSERT_ARRAYS = (
    f"INSERT INTO {_TABLE} ({_COLUMNS}, due) SELECT new.*, 0, %s"  # noqa: S608
    " FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[]) AS new"
    " ON CONFLICT (id) DO"
)
_REPLACES = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in [*_COLUMNS.split(', ')[1:], 'due'])}"
_INSERT_IGNORE = _INSERT.replace("INSERT", "INSERT IGNORE", 1)


class Kept(NamedTuple):
    """A job in the outbox."""

    id: str
    queue: str
    body: bytes
    priority: int = 0
    eta_ms: int | None = None
    generation: int = 0
    #: How often it was handed to the broker.
    relays: int = 0


class Standing(NamedTuple):
    """How a job stands that is in the outbox: its attempt, and how often it was handed to the broker."""

    generation: int
    relays: int


class Again(NamedTuple):
    """A job whose attempt has ended and that is to run again: with this body, at this moment."""

    id: str
    #: Of the attempt that has ended.
    generation: int
    body: bytes
    eta_ms: int


class Run(Protocol):
    """How the store does something in its database."""

    def __call__(self, action: Callable[[CursorWrapper], T], *, wait_ms: int) -> T: ...


class Ask(Protocol):
    """How the store reads something."""

    def __call__(self, question: Callable[[CursorWrapper], T]) -> T: ...


class Outbox:
    """The outbox of one database. Raises StoreUnavailable as the store does."""

    def __init__(self, run: Run, ask: Ask, *, wait_ms: int) -> None:
        self._run = run
        self._ask = ask
        self._wait_ms = wait_ms

    # The caller's transaction

    def add(self, jobs: Sequence[Kept]) -> int:
        """Insert jobs; inside the transaction that is open. Return how many were new: an id that is there stays."""
        due = clock.now_ms() + GRACE_MS
        return self._write(lambda cursor: sum(_insert(cursor, batch, due) for batch in _batches(jobs)))

    def replace(self, jobs: Sequence[Kept]) -> None:
        """Insert jobs in the place of what was there of them."""
        due = clock.now_ms() + GRACE_MS

        def write(cursor: CursorWrapper) -> None:
            for batch in _batches(jobs):
                if cursor.db.vendor == "postgresql":
                    _insert_arrays(cursor, batch, due, _REPLACES)
                    continue
                _delete(cursor, [job.id for job in batch])
                _insert(cursor, batch, due)

        self._write(write)

    # The relay's

    def relay(self, send: Callable[[list[Kept]], object], *, ids: Sequence[str] | None = None, resend_ms: int) -> int:
        """
        Lock up to BATCH rows, hand them to ``send``, and note that. Return how many there were.

        ``ids``: of these those that were never handed over; None: those that are due, the longest due first. Rows that
        others have locked are left to them. A job is due again ``resend_ms`` after it was handed over or is to start,
        then after twice the time, and so on.
        """

        def within(cursor: CursorWrapper) -> int:
            now_ms = clock.now_ms()
            jobs = _lock(cursor, ids, now_ms)
            if jobs:
                send(jobs)
                _note(cursor, jobs, now_ms, resend_ms)
            return len(jobs)

        return self._run(within, wait_ms=RELAY_WAIT_MS) if ids is None or ids else 0

    def is_due(self) -> bool:
        """Say whether there is something to relay, at the price of one look into an index."""

        def look(cursor: CursorWrapper) -> bool:
            cursor.execute(f"SELECT 1 FROM {_TABLE} WHERE due <= %s LIMIT 1", [clock.now_ms()])  # noqa: S608
            return cursor.fetchone() is not None

        return self._ask(look)

    def all_are_due(self) -> int:
        """Have every job that was handed over handed over again. Return how many there are."""

        def write(cursor: CursorWrapper) -> int:
            cursor.execute(f"UPDATE {_TABLE} SET due = 0 WHERE relays > 0")  # noqa: S608
            return int(cursor.rowcount)

        return self._write(write)

    # The settler's

    def settle(self, ended: Sequence[tuple[str, int]], again: Sequence[Again], *, resend_ms: int) -> None:
        """
        Delete jobs that have ended, and keep the next attempt of the others; inside the transaction that records it.

        ``ended``: ids, each with the generation that has ended. A row of a later one stays as it is.
        """

        def write(cursor: CursorWrapper) -> None:
            by_generation: dict[int, list[str]] = {}
            for job_id, generation in ended:
                by_generation.setdefault(generation, []).append(job_id)
            for generation, ids in by_generation.items():
                _delete(cursor, ids, generation)
            for job in again:
                cursor.execute(
                    f"UPDATE {_TABLE} SET message = %s, eta = %s, generation = %s, due = %s"  # noqa: S608
                    " WHERE id = %s AND generation = %s",
                    [
                        job.body.decode("ascii"), job.eta_ms, job.generation + 1, job.eta_ms + resend_ms,
                        id_writer(cursor)(job.id), job.generation,
                    ],
                )  # fmt: skip

        if ended or again:
            self._write(write)

    def forget(self, job_ids: Sequence[str]) -> int:
        """Delete these, whatever their generation. Return how many there were."""
        return self._write(lambda cursor: _delete(cursor, job_ids)) if job_ids else 0

    # Whoever asks

    def get(self, job_id: str) -> Kept | None:
        """Return a job, if it is here."""
        return self.get_many([job_id]).get(job_id)

    def get_many(self, job_ids: Sequence[str]) -> dict[str, Kept]:
        """Return those of these jobs that are here."""
        return {job.id: job for job in self._ask(lambda cursor: _select(cursor, job_ids))} if job_ids else {}

    def standings(self, job_ids: Sequence[str]) -> dict[str, Standing]:
        """Return how those of these jobs stand that are here, at less than the price of their messages."""

        def read(cursor: CursorWrapper) -> dict[str, Standing]:
            found: dict[str, Standing] = {}
            column = "id::text" if cursor.db.vendor == "postgresql" else "id"
            for condition, ids in among(cursor, job_ids):
                cursor.execute(f"SELECT {column}, generation, relays FROM {_TABLE} WHERE id {condition}", ids)  # noqa: S608
                found.update((str(id_of(row[0])), Standing(row[1], row[2])) for row in cursor.fetchall())
            return found

        return self._ask(read) if job_ids else {}

    def lock(self, job_id: str) -> Kept | None:
        """Return a job that nobody relays or settles until the end of the transaction that is open."""
        return next(iter(self._write(lambda cursor: _select(cursor, [job_id], for_update(cursor)))), None)

    def _write(self, action: Callable[[CursorWrapper], T]) -> T:
        return self._run(action, wait_ms=self._wait_ms)


def _batches(jobs: Sequence[Kept]) -> Iterable[list[Kept]]:
    batch: list[Kept] = []
    size = 0
    for job in jobs:
        if len(batch) == BATCH or (batch and size + len(job.body) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += len(job.body)
    if batch:
        yield batch


@lru_cache(maxsize=128)
def _insert_statement(vendor: str, count: int) -> str:
    values = ", ".join(["(%s, %s, %s, %s, %s, %s, 0, %s)"] * count)
    if vendor == "mysql":
        return f"{_INSERT_IGNORE}{values}"
    return f"{_INSERT}{values} ON CONFLICT (id) DO NOTHING"


def _insert(cursor: CursorWrapper, jobs: Sequence[Kept], due: int) -> int:
    if cursor.db.vendor == "postgresql":
        return _insert_arrays(cursor, jobs, due, "NOTHING")
    to_id = id_writer(cursor)
    parameters: list[Any] = []
    for job in jobs:
        parameters += (
            to_id(job.id), job.queue, job.body.decode("ascii"), job.priority, job.eta_ms, job.generation, due
        )  # fmt: skip
    inserted = 0
    for some in batches(parameters, 7 * rows_of_one(cursor, 7)):
        cursor.execute(_insert_statement(cursor.db.vendor, len(some) // 7), some)
        inserted += int(cursor.rowcount)
    return inserted


def _insert_arrays(cursor: CursorWrapper, jobs: Sequence[Kept], due: int, otherwise: str) -> int:
    ids, queues, bodies, priorities, etas, generations, _ = zip(*jobs, strict=True)
    messages = [body.decode("ascii") for body in bodies]
    numbers = [plain(priorities), plain(etas), plain(generations)]
    cursor.execute(f"{_INSERT_ARRAYS} {otherwise}", [due, plain(ids), texts(queues), texts(messages), *numbers])
    return int(cursor.rowcount)


def _delete(cursor: CursorWrapper, job_ids: Sequence[str], generation: int | None = None) -> int:
    deleted = 0
    earlier, bound = ("", []) if generation is None else ("AND generation <= %s", [generation])
    for condition, ids in among(cursor, job_ids):
        cursor.execute(f"DELETE FROM {_TABLE} WHERE id {condition} {earlier}", [*ids, *bound])  # noqa: S608
        deleted += int(cursor.rowcount)
    return deleted


def _lock(cursor: CursorWrapper, ids: Sequence[str] | None, now_ms: int) -> list[Kept]:
    if ids is not None:
        return _select(cursor, ids[:BATCH], f"AND relays = 0 ORDER BY id {for_update(cursor, skip=True)}")
    cursor.execute(
        f"SELECT {_COLUMNS} FROM {_TABLE} WHERE due <= %s ORDER BY due, id LIMIT %s {for_update(cursor, skip=True)}",  # noqa: S608
        [now_ms, BATCH],
    )
    return [_kept(row) for row in cursor.fetchall()]


def _note(cursor: CursorWrapper, jobs: Sequence[Kept], now_ms: int, resend_ms: int) -> None:
    least, greatest = ("MIN", "MAX") if cursor.db.vendor == "sqlite" else ("LEAST", "GREATEST")
    # PostgreSQL alone takes small numbers for such of 32 bits, in which a product of milliseconds has no room.
    one = "1::bigint" if cursor.db.vendor == "postgresql" else "1"
    pause = f"%s * ({one} << {least}(relays, {DOUBLINGS}))"
    for condition, ids in among(cursor, [job.id for job in jobs]):
        cursor.execute(
            f"UPDATE {_TABLE} SET due = {greatest}(COALESCE(eta, 0), %s) + {pause}, relays = relays + 1"  # noqa: S608
            f" WHERE id {condition}",
            [now_ms, resend_ms, *ids],
        )


def _select(cursor: CursorWrapper, job_ids: Sequence[str], more: str = "") -> list[Kept]:
    found: list[Kept] = []
    for condition, ids in among(cursor, job_ids):
        cursor.execute(f"SELECT {_COLUMNS} FROM {_TABLE} WHERE id {condition} {more}", ids)  # noqa: S608
        found += [_kept(row) for row in cursor.fetchall()]
    return found


def _kept(row: tuple[Any, ...]) -> Kept:
    return Kept(str(id_of(row[0])), row[1], row[2].encode("ascii"), *row[3:])
