"""Making records such that a database takes them: texts it can keep, batches it can carry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter

from django_jobs.models.result import JobResult
from django_jobs.results.base import Record
from django_jobs.results.upsert.columns import TEXTS
from django_jobs.states import State

#: Bounds of one statement.
BATCH_ROWS = 200
BATCH_BYTES = 4 * 1024 * 1024

#: The year 9999 ends here, and with it what Python knows of time.
_LAST_MOMENT = 253_402_300_800_000

_by_id = itemgetter(0)
_LENGTHS: dict[str, int] = {
    name: JobResult._meta.get_field(name).max_length or 0  # type: ignore[union-attr]
    for name in ("task", "queue", "exception_type")
}


def batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """
    Split records into batches of different ids, each within the bounds, unless it is a single record.

    A batch is in the order of its ids, so that two writers lock the same rows in the same order. Records of one job
    keep theirs.
    """
    for start in range(0, len(records), BATCH_ROWS):
        batch: dict[str, Record] = {}
        for record in records[start : start + BATCH_ROWS]:
            if record.id in batch:
                yield from _by_size(sorted(batch.values(), key=_by_id))
                batch = {}
            batch[record.id] = record
        yield from _by_size(sorted(batch.values(), key=_by_id))


def _by_size(batch: list[Record]) -> Iterator[list[Record]]:
    if len(batch) == 1 or sum(map(size_of, batch)) <= BATCH_BYTES:
        yield batch
        return
    half = len(batch) // 2
    yield from _by_size(batch[:half])
    yield from _by_size(batch[half:])


def size_of(record: Record) -> int:
    """Return about how many bytes a record has; only its texts count."""
    return (
        len(record.args)
        + len(record.kwargs)
        + len(record.result or "")
        + len(record.meta or "")
        + len(record.exception)
        + len(record.traceback)
        + len(record.message or "")
        + len(record.history)
    )


def clean(batch: list[Record]) -> list[Record]:
    """
    Replace what no database keeps in a text: NUL characters and lone surrogates become escapes that can be read.

    Nearly always there are none, which is seen at a glance at each column.
    """
    columns = list(zip(*batch, strict=True))
    wrong = [index for index in TEXTS if not _is_clean("".join(filter(None, columns[index])))]
    if not wrong:
        return batch
    for index in wrong:
        columns[index] = tuple(None if text is None else _cleaned(text) for text in columns[index])
    return [Record._make(row) for row in zip(*columns, strict=True)]


def _is_clean(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cleaned(text: str) -> str:
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def not_storable(record: Record, reason: object) -> Record:
    """Return what is recorded instead of a record that the database refused: that it was, and why."""
    reason = _cleaned(str(reason))[:1000]
    changes: dict[str, object] = {
        "state": State.FAILURE.value,
        "result": None,
        "meta": None,
        "exception_type": "django_jobs.exceptions.ResultNotStorable",
        "exception": f"The job came to its end ({record.state}), but the database refused to keep its record: {reason}",
        "traceback": "",
        "history": "",
    }
    return record._replace(**changes)  # type: ignore[arg-type]


def bare(record: Record) -> Record:
    """Return as much of what ``not_storable`` made as every database takes: for when that was refused, too."""
    return Record(
        id=record.id,
        task=record.task[: _LENGTHS["task"]],
        queue=record.queue[: _LENGTHS["queue"]],
        state=State.FAILURE.value,
        exception_type=record.exception_type[: _LENGTHS["exception_type"]],
        exception=record.exception,
        fence=min(record.fence, 2**63 - 1),
        enqueued_ms=_moment(record.enqueued_ms) or 0,
        finished_ms=_moment(record.finished_ms),
        expires_ms=_moment(record.expires_ms),
        workflow_id=record.workflow_id,
    )


def _moment(moment_ms: int | None) -> int | None:
    return moment_ms if moment_ms is None or 0 <= moment_ms < _LAST_MOMENT else None
