"""
Arguments as people may see them: secrets left out, and cut to a readable length.

What comes out is JSON of the same shape as what travels, so that a page can show it as the values it stands for; it is
never run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from inspect import Parameter, Signature
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django_jobs.canvas import WIRE_NAME
from django_jobs.canvas.maps import XMAP, XSTARMAP
from django_jobs.envelope import FAILURE_OF, Job
from django_jobs.registry import RegisteredTask, registry
from django_jobs.serializers import TAG, dump_packed

HIDDEN = "[hidden]"
#: Of the text of the positional arguments, and of that of the keyword arguments.
LIMIT = 4096
#: Tried one after the other on what is too long: the longest text, and how many items of a list or dictionary are kept.
_CUTS = ((1000, 50), (200, 20), (60, 8), (20, 3))

#: After Django's SafeExceptionReporterFilter.hidden_settings, but by whole words where a part says nothing ("author",
#: "monkey").
_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|token|(?:api|private|access|signing)[_-]?key|credential|authori[sz]ation|signature|cookie"
    r"|csrf|session[_-]?(?:id|key)|(?:^|[_-])(?:auth|pass)(?:$|[_-])",
    re.IGNORECASE,
)
_SCALARS = frozenset((str, int, float, bool, type(None)))
_MAPS = frozenset((XMAP, XSTARMAP))


class _Hiding(NamedTuple):
    """Which arguments of a task are hidden."""

    sensitive: Collection[str]
    #: By position; what comes after them is hidden by the last one.
    positions: tuple[bool, ...] = ()
    rest: bool = False


_NOTHING = _Hiding(())
_known: WeakKeyDictionary[RegisteredTask, _Hiding] = WeakKeyDictionary()


def shown_arguments(job: Job, sensitive: Collection[str]) -> tuple[str, str]:
    """
    Return the arguments of a job as JSON texts to be shown, positional and by name.

    ``sensitive``: names that are hidden, of parameters and of keys in dictionaries at any depth, besides those that
    sound like a secret. What comes before them in a workflow is named, not looked up.
    """
    args = kwargs = ""
    if job.source is not None:
        before = _before(job.source)
        args = _dump([*before, *_redacted_args(job, sensitive, len(before))])
    elif job.packed_args:
        args = _dump(_redacted_args(job, sensitive))
    if job.packed_kwargs:
        kwargs = _dump(_redacted_kwargs(job.task, job.packed_kwargs, sensitive))
    return args or "[]", kwargs or "{}"


@lru_cache(maxsize=4096)
def sounds_secret(name: str) -> bool:
    """Say whether what has this name had better not be shown."""
    return _SECRET.search(name) is not None


def _is_hidden(name: Any, sensitive: Collection[str]) -> bool:
    return type(name) is str and (name in sensitive or sounds_secret(name))


def _before(source: str) -> list[str]:
    """Return what stands for what a job gets before its own arguments."""
    if not source.startswith(FAILURE_OF):
        return [f"<value of {source}>"]
    return [f"<{what} of {source.removeprefix(FAILURE_OF)}>" for what in ("request", "exception", "traceback")]


def _redacted_args(job: Job, sensitive: Collection[str], before: int = 0) -> Sequence[Any]:
    """Return the arguments of a job; ``before``: so many others come before them when it runs."""
    hiding = _hiding_of(registry.get(job.task), sensitive)
    values = job.packed_args
    if not (hiding.rest or True in hiding.positions):
        if all(type(value) in _SCALARS for value in values):
            return values
        return _redact_list(values, sensitive)
    known = len(hiding.positions)
    return [
        HIDDEN if (hiding.positions[index] if index < known else hiding.rest) else _redact(value, sensitive)
        for index, value in enumerate(values, before)
    ]


def _redacted_kwargs(task: str, kwargs: Mapping[str, Any], sensitive: Collection[str]) -> dict[str, Any]:
    redacted = _redact_dict(kwargs, sensitive)
    if task in _MAPS and "it" in redacted:
        hides, inner = _hides_positions(kwargs.get("task"))
        redacted["it"] = HIDDEN if hides else _redact(redacted["it"], inner)
    return redacted


def _redact_canvas(data: Any, sensitive: Collection[str]) -> Any:
    """Hide in a canvas that is an argument what its tasks hide."""
    if type(data) is list:
        return [_redact_canvas(item, sensitive) for item in data]
    if type(data) is not dict:
        return data
    shown = {
        key: _redact_dict(item, sensitive) if key == "options" else _redact_canvas(item, sensitive)
        for key, item in data.items()
        if key not in ("args", "kwargs")
    }
    # Which parameters the arguments of a partial are for is not known before something is put before them.
    hides, inner = _hides_positions(data.get("task"))
    both = (*sensitive, *inner)
    if data.get("args"):
        shown["args"] = HIDDEN if hides else _redact_list(data["args"], both)
    if data.get("kwargs"):
        shown["kwargs"] = _redacted_kwargs(data["task"], data["kwargs"], both)
    return shown


def _hides_positions(name: Any) -> tuple[bool, Collection[str]]:
    """Say whether a task hides an argument that may be passed by position, and which names it calls sensitive."""
    task = registry.get(name) if type(name) is str else None
    if task is None:
        return False, ()
    sensitive = task.options.sensitive
    hiding = _hiding_of(task, sensitive)
    return hiding.rest or True in hiding.positions, sensitive


def _hiding_of(task: RegisteredTask | None, sensitive: Collection[str]) -> _Hiding:
    if task is None:
        return _NOTHING
    hiding = _known.get(task)
    if hiding is None or hiding.sensitive is not sensitive:
        hiding = _known[task] = _make_hiding(task.call_signature, sensitive)
    return hiding


def _make_hiding(signature: Signature, sensitive: Collection[str]) -> _Hiding:
    positions, rest = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            rest = _is_hidden(parameter.name, sensitive)
        elif parameter.kind is not Parameter.KEYWORD_ONLY and parameter.kind is not Parameter.VAR_KEYWORD:
            positions.append(_is_hidden(parameter.name, sensitive))
    return _Hiding(sensitive, tuple(positions), rest)


def _redact(value: Any, sensitive: Collection[str]) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return _redact_list(value, sensitive)
    if TAG not in value:
        return _redact_dict(value, sensitive)
    inside = value.get("v")
    if str(value[TAG]).startswith(WIRE_NAME):
        return {**value, "v": _redact_canvas(inside, sensitive)}
    if value[TAG] == "dict" and type(inside) is list:  # pairs, of which the first is the key
        return {**value, "v": [_redact_pair(pair, sensitive) for pair in inside]}
    if type(inside) is list or type(inside) is dict:
        return {**value, "v": _redact(inside, sensitive)}
    return value


def _redact_list(values: Sequence[Any], sensitive: Collection[str]) -> list[Any]:
    return [value if type(value) in _SCALARS else _redact(value, sensitive) for value in values]


def _redact_dict(values: Mapping[str, Any], sensitive: Collection[str]) -> dict[str, Any]:
    return {
        name: HIDDEN
        if name in sensitive or sounds_secret(name)
        else value
        if type(value) in _SCALARS
        else _redact(value, sensitive)
        for name, value in values.items()
    }


def _redact_pair(pair: Any, sensitive: Collection[str]) -> Any:
    if type(pair) is not list or len(pair) != 2:
        return HIDDEN
    key, value = pair
    return [key, HIDDEN if _is_hidden(key, sensitive) else _redact(value, sensitive)]


def _dump(value: Any) -> str:
    text = dump_packed(value).decode("ascii")
    if len(text) <= LIMIT:
        return text
    for longest, most in _CUTS:
        shorter = dump_packed(_cut(value, longest, most)).decode("ascii")
        if len(shorter) <= LIMIT:
            return shorter
    return dump_packed([f"… {len(text):,} characters, too many to be shown"]).decode("ascii")


def _cut(value: Any, longest: int, most: int) -> Any:
    """Return a value with long texts and long lists cut."""
    if type(value) is str:
        return value if len(value) <= longest else f"{value[:longest]}… ({len(value):,} characters)"
    if type(value) is list:
        kept = [_cut(item, longest, most) for item in value[:most]]
        return kept if len(value) <= most else [*kept, f"… ({len(value):,} items)"]
    if type(value) is dict:
        shown = {_cut(key, longest, most): _cut(item, longest, most) for key, item in list(value.items())[:most]}
        return shown if len(value) <= most else {**shown, "…": f"({len(value):,} items)"}
    return value
