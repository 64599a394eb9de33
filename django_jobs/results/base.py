"""
What a result store does, and the record that it keeps.

The worker writes through ``record`` in batches: all rows of a batch become visible together, or none. A record says of
which attempt it is (``fence``), and a store never lets an older attempt overwrite a newer one, nor anything but a newer
generation overwrite a terminal state.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from django_jobs.envelope import GENERATION_BITS
from django_jobs.states import TERMINAL_STATES

if TYPE_CHECKING:
    from django_jobs.results.outbox import Outbox
    from django_jobs.results.workflows import BaseWorkflows


class Record(NamedTuple):
    """One write about one job: what its row is to say from now on. Times: ``_ms`` since the epoch, texts: encoded."""

    id: str
    task: str
    queue: str
    state: str
    priority: int = 0
    args: str = "[]"
    kwargs: str = "{}"
    result: str | None = None
    meta: str | None = None
    exception_type: str = ""
    exception: str = ""
    traceback: str = ""
    worker: str = ""
    retries: int = 0
    deliveries: int = 0
    fence: int = 0
    enqueued_ms: int = 0
    eta_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    expires_ms: int | None = None
    root_id: str | None = None
    parent_id: str | None = None
    #: The workflow that the job is a step of.
    workflow_id: str | None = None
    message: str | None = None
    #: Lines to append to the row's history; empty: none. Unlike the other fields it adds, and never replaces.
    history: str = ""


class Settled(NamedTuple):
    """What a store knows of a job that was delivered again."""

    state: str
    fence: int
    message: str | None
    eta_ms: int | None

    @property
    def is_terminal(self) -> bool:
        """Say whether the job has ended."""
        return self.state in TERMINAL_STATES


class Written(NamedTuple):
    """What became of records."""

    #: Ids whose row was newer and stayed as it was.
    stayed: list[str]
    #: Those that the database refused for their data (id -> why): what stands there is FAILURE ``ResultNotStorable``.
    refused: Mapping[str, str] = MappingProxyType({})


class Remembered(NamedTuple):
    """What is remembered of a broker."""

    #: The moment, by its clock, before which it may have lost what it was told; 0: it has lost nothing.
    changed_ms: int = 0
    #: Has this very call found that out?
    is_news: bool = False
    #: How many jobs are handed over again because of it.
    relayed: int = 0
    #: How often that has happened.
    changes: int = 0


class StoredResult(NamedTuple):
    """A row as it is read back."""

    record: Record
    #: The whole history, one JSON object a line.
    history: str

    def gives_way_to(self, record: Record) -> bool:
        """Say whether the job has ended, and the record is of a later generation."""
        return may_reopen(record.fence, kept_fence=self.record.fence, kept_state=self.record.state)


def may_reopen(fence: int, *, kept_fence: int, kept_state: str) -> bool:
    """Say whether a job that stands like this has ended before the generation of ``fence`` began."""
    return kept_state in TERMINAL_STATES and fence >> GENERATION_BITS > kept_fence >> GENERATION_BITS


class BaseStore(abc.ABC):
    """
    The contract. Reached by the dotted path in ``DJANGO_JOBS["RESULTS"]["STORE"]``.

    Raises StoreUnavailable when the service cannot be reached; inside a transaction of the caller's on the same
    database, the database's own error.
    """

    @property
    def is_transactional(self) -> bool:
        """Say whether records are rows of the database ``using``, written in the transaction that is open there."""
        return False

    def __init__(self, *, using: str, options: dict[str, Any] | None = None) -> None:
        #: The database alias of our tables (``DJANGO_JOBS["DATABASE"]``).
        self.using = using
        self.options = options or {}
        #: Jobs that are kept in the same transactions as records; None: this store keeps none.
        self.outbox: Outbox | None = None
        #: Canvases that are under way, kept in the same transactions; None: this store keeps none.
        self.workflows: BaseWorkflows | None = None

    @abc.abstractmethod
    def transaction(self) -> AbstractContextManager[Any]:
        """Open the transaction in which a batch is settled; a store without transactions returns a null context."""

    @property
    def may_trust(self) -> bool:
        """Say whether a transaction that began now would be undone as a whole by an error, and could be done again."""
        return False

    def savepoint(self) -> AbstractContextManager[Any]:
        """Open a part of that transaction which an error undoes alone; null without transactions."""
        return nullcontext()

    @abc.abstractmethod
    def record(self, records: Sequence[Record]) -> list[str]:
        """
        Write these, all or none. Return the ids whose row was newer and stayed as it was.

        A record that the database refuses for its data alone is stored as FAILURE ``ResultNotStorable`` instead.
        """

    def write(self, records: Sequence[Record], *, trusting: bool = False) -> Written:
        """
        Write these as ``record`` does, and tell what became of them.

        ``trusting``: raise what the database says of a record that it refuses; the transaction is broken then, and
        whoever has begun it does all of it again without trust. It saves two round trips.
        """
        return Written(self.record(records))

    def reopen(self, records: Sequence[Record]) -> list[str]:
        """
        Write these over rows that have ended and are of an earlier generation. Return the ids of those written.

        Compare and set: of two callers that do the same at the same moment, one is told that it did it. As good as the
        store's own transaction, unless it has something better.
        """
        with self.transaction():
            kept = self.get_many([record.id for record in records])
            ended = [record for record in records if record.id in kept and kept[record.id].gives_way_to(record)]
            stayed = set(self.record(ended))
        return [record.id for record in ended if record.id not in stayed]

    @abc.abstractmethod
    def get(self, job_id: str) -> StoredResult | None:
        """Return what is known of a job."""

    @abc.abstractmethod
    def get_many(self, job_ids: Sequence[str]) -> dict[str, StoredResult]:
        """Return what is known of these jobs."""

    def children(self, job_id: str, *, limit: int = 1000) -> list[str]:
        """Return the ids of the recorded jobs that this one sent, oldest first; none where a store cannot tell."""
        return []

    @abc.abstractmethod
    def settled(self, job_ids: Sequence[str]) -> dict[str, Settled]:
        """Return how these jobs stand, for the check before a redelivered job runs: one narrow query."""

    @abc.abstractmethod
    def update_meta(self, record: Record) -> bool:
        """
        Write state and meta of a running job (progress). False: the row was newer.

        Of an existing row also which attempt it is (fence, worker, retries, deliveries, start); its other columns stay.
        """

    def remember_broker(self, broker: str, continuity: str, now_ms: int) -> Remembered:
        """
        Compare what a broker says of itself with what is known of it, and remember it.

        A store that cannot keep that says that nothing was lost.
        """
        return Remembered()

    def remembered_broker(self, broker: str) -> Remembered:
        """Return what is remembered of a broker."""
        return Remembered()

    @abc.abstractmethod
    def forget(self, job_ids: Sequence[str]) -> int:
        """Delete the rows of these jobs. Return how many there were."""

    def let_go(self, job_ids: Sequence[str]) -> None:
        """
        Delete the rows of these jobs: nobody asks for them any more. Those of steps that their workflow may still need
        are over from now on instead, and pruned when it does not.
        """
        self.forget(job_ids)

    @abc.abstractmethod
    def prune(self, *, limit: int = 1000) -> int:
        """Delete up to ``limit`` rows whose time is over, oldest first. Return how many; under the limit: all."""
