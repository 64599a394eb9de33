"""The envelope of a job: what travels from the caller to the worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from django_jobs.exceptions import DecodeError, UnknownVersion
from django_jobs.serializers import dump_packed, load_packed, unpack_value

#: Raised by one with every change that an older reader would misunderstand. A reader gives newer messages back, see
#: UnknownVersion.
WIRE_VERSION = 1

#: The fence of an attempt is ``generation << GENERATION_BITS | deliveries``: it rises with every attempt of a job.
GENERATION_BITS = 16
#: Deliveries of one generation that it tells apart.
DELIVERIES_MAX = (1 << GENERATION_BITS) - 1

_EMPTY: Mapping[str, Any] = MappingProxyType({})

#: In front of what a job gets before its arguments: not the value, but the failure of that step or barrier.
FAILURE_OF = "!"

#: What the message of a job in the outbox begins with: a worker sees it without reading the message.
OUTBOX_MARK = b'{"v":%d,"out":1,' % WIRE_VERSION


class Job(NamedTuple):
    """
    One call of a task. Never changes: ``evolve`` makes another one.

    Arguments are kept as they travel (``packed_args``, ``packed_kwargs``); ``args`` and ``kwargs`` decode them when
    asked, so that a broken argument fails the job that has it, in the worker, and nobody else.

    A tuple rather than a frozen dataclass: one is made for every job that is sent and for every one that is claimed, in
    a third of the time.
    """

    id: str
    task: str
    queue: str
    packed_args: Sequence[Any] = ()
    packed_kwargs: Mapping[str, Any] = _EMPTY
    #: When delay() was called, by the caller's clock.
    enqueued_ms: int = 0
    priority: int = 0
    #: Not before, and not after, in ms since the epoch; None: no such bound.
    eta_ms: int | None = None
    expires_ms: int | None = None
    #: How many attempts have failed before this one.
    retries: int = 0
    #: +1 whenever the job is sent again (retry, snooze, an operator): later generations win over earlier ones.
    generation: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    #: The user's own, carried along; strings.
    headers: Mapping[str, str] = _EMPTY
    #: Options of the task overridden for this call.
    options: Mapping[str, Any] = _EMPTY
    #: Is it kept in the outbox until it has ended?
    outbox: bool = False
    #: The workflow that the job is a step of: its end is looked at for what follows.
    workflow_id: str | None = None
    #: What comes before its arguments: the value of the step or barrier with this id, or, with FAILURE_OF in front,
    #: its failure. Loaded where the job runs, so that a message is as long as that of a job that stands alone.
    source: str | None = None

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments, decoded now. Raises DecodeError, or RelatedObjectMissing."""
        return tuple(unpack_value(self.packed_args)) if self.packed_args else ()

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, decoded now. Raises DecodeError, or RelatedObjectMissing."""
        return {name: unpack_value(value) for name, value in self.packed_kwargs.items()}

    def evolve(self, **changes: Any) -> Job:
        """Return a job like this one, but for these fields."""
        return self._replace(**changes)

    def encode(self) -> bytes:
        """Return the body of the message. The id and what the broker orders by travel beside it."""
        parts: dict[str, Any] = {}
        if self.packed_args:
            parts["args"] = self.packed_args
        if self.packed_kwargs:
            parts["kwargs"] = self.packed_kwargs
        values: Any = self[_OPTIONAL]
        if values != _DEFAULTS:
            for (name, _), default, value in zip(_OPTIONAL_FIELDS, _DEFAULTS, values, strict=True):
                if value != default:
                    parts[name] = value
        if self.workflow_id is not None:
            parts["wf"] = self.workflow_id
        if self.source is not None:
            parts["src"] = self.source
        # The head is put together by hand: it is the same for all jobs of a task but for one number.
        head = b'{"v":%d,"task":%b,"at":%d' % (WIRE_VERSION, _encoded_name(self.task), self.enqueued_ms)
        if self.outbox:
            head = OUTBOX_MARK + head.partition(b",")[2]
        return b"%b,%b" % (head, dump_packed(parts)[1:]) if parts else head + b"}"


@lru_cache(maxsize=4096)
def _encoded_name(task: str) -> bytes:
    return dump_packed(task)


#: Name on the wire, attribute: neighbours among the fields of a job. Those that have their default are left out.
_OPTIONAL_FIELDS: tuple[tuple[str, str], ...] = (
    ("priority", "priority"),
    ("eta", "eta_ms"),
    ("expires", "expires_ms"),
    ("retries", "retries"),
    ("gen", "generation"),
    ("root", "root_id"),
    ("parent", "parent_id"),
    ("headers", "headers"),
    ("options", "options"),
)
_OPTIONAL = slice(Job._fields.index("priority"), Job._fields.index("options") + 1)
_DEFAULTS = tuple(Job._field_defaults[attribute] for _, attribute in _OPTIONAL_FIELDS)
_TYPES: Mapping[str, type] = {
    "priority": int, "eta": int, "expires": int, "retries": int, "gen": int, "root": str, "parent": str,
    "headers": dict, "options": dict,
}  # fmt: skip


def decode(body: bytes | str, *, job_id: str, queue: str) -> Job:
    """Read a message. Raises UnknownVersion for a newer one, DecodeError for anything else that is not a job."""
    try:
        data = load_packed(body)
        version = data["v"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DecodeError(f"This is not a message of django_jobs: {error!r}") from error
    if version != WIRE_VERSION:
        sent = data.get("at")
        raise UnknownVersion(
            f"The message has version {version!r}; this code reads version {WIRE_VERSION}.",
            enqueued_ms=sent if isinstance(sent, int) else None,
        )
    try:
        return Job(
            id=job_id,
            queue=queue,
            task=_typed(data["task"], str),
            enqueued_ms=_typed(data["at"], int),
            packed_args=_typed(data.get("args", []), list),
            packed_kwargs=_typed(data.get("kwargs", {}), dict),
            outbox="out" in data,
            workflow_id=None if "wf" not in data else _typed(data["wf"], str),
            source=None if "src" not in data else _typed(data["src"], str),
            **{attribute: _typed(data[name], _TYPES[name]) for name, attribute in _OPTIONAL_FIELDS if name in data},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DecodeError(f"The message lacks something, or has something else in its place: {error!r}") from error


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {value!r:.100}")
    return value
