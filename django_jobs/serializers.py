"""
Values to JSON bytes and back, exactly. The only place that knows the wire types.

What JSON has itself travels as it is; everything else as ``{"$": "<type>", "v": ...}``. A dictionary of the user's that
has the key "$", or keys that are not strings, is wrapped too, so every value comes back as what it was, or is refused
at the call. Nothing is ever imported because a message says so: a class (Enum, dataclass, model) is named by its import
path and looked up among modules that are loaded already.
"""

from __future__ import annotations

import base64
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.apps import apps
from django.db import DatabaseError
from django.db.models import Model
from django.utils.functional import Promise
from django.utils.safestring import SafeString

from django_jobs.exceptions import DecodeError, EncodeError, RelatedObjectMissing

TAG = "$"
#: Deeper nesting is refused: it would exhaust the stack here or in whoever reads it.
MAX_DEPTH = 100
#: Of the path to what is nested too deeply, an error shows so many characters.
LONGEST_PATH = 80


def _make_dumps() -> Callable[[Any], str]:
    """Return what JSONEncoder.encode() does, less making an encoder for each value: most of its time for small ones."""
    plain = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)
    make_encoder = getattr(json.encoder, "c_make_encoder", None)
    if make_encoder is None:  # a Python without this part in C
        return plain.encode
    quoted = json.encoder.encode_basestring_ascii
    chunks_of = make_encoder(None, plain.default, quoted, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks_of(value, 0))


_dumps = _make_dumps()
_loads = json.loads
_PLAIN = frozenset((str, int, bool, type(None)))


class WireType(NamedTuple):
    """How one Python type travels."""

    name: str
    cls: type
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_by_class: dict[type, WireType] = {}
_by_name: dict[str, WireType] = {}


def register_type(
    cls: type, encode: Callable[[Any], Any], decode: Callable[[Any], Any], *, name: str | None = None
) -> None:
    """
    Let instances of exactly ``cls`` travel: ``encode`` gives a value that can travel already, ``decode`` the instance
    back. A module that is reloaded may register its classes again.

    ``name`` is what messages call it (default: the import path); workers and callers must register the same. Raises
    ValueError when the name belongs to another class.
    """
    name = name or f"{cls.__module__}.{cls.__qualname__}"
    known = _by_name.get(name)
    if name in _RESERVED or (known is not None and not _is_same_class(known.cls, cls)):
        raise ValueError(f"The wire type {name!r} is registered for another class; pass name= to register_type().")
    wire = WireType(name, cls, encode, decode)
    _by_class[cls] = _by_name[name] = wire


def _is_same_class(one: type, other: type) -> bool:
    """Say whether these are the same class, or what a reload of its module has made of it."""
    path = f"{other.__module__}:{other.__qualname__}"
    return one is other or (f"{one.__module__}:{one.__qualname__}" == path and "<locals>" not in path)


def dumps(value: Any, what: str = "value") -> bytes:
    """
    Encode a value; ``what`` names it in errors. Raises EncodeError with the path and type of what cannot travel.

    The bytes are ASCII: a lone surrogate or NUL in a string is escaped, and survives any database column.
    """
    return dump_packed(pack(value, what))


def loads(data: bytes | str) -> Any:
    """Decode what ``dumps`` made. Raises DecodeError."""
    try:
        parsed = _loads(data)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"This is not a value that django_jobs encoded: {error}") from error
    return unpack_value(parsed)


def dump_packed(packed: Any) -> bytes:
    """Encode what ``pack`` returned. Raises EncodeError for a number with too many digits."""
    try:
        return _dumps(packed).encode("ascii")
    except ValueError as error:  # Python bounds how many digits it converts; pack() does not count them
        raise EncodeError(f"An integer among the values is too large to be carried by a job: {error}") from error


def load_packed(data: bytes | str) -> Any:
    """Parse JSON without decoding the values in it. Raises ValueError."""
    return _loads(data.decode() if isinstance(data, bytes) else data)


def pack(value: Any, what: str = "value", depth: int = 0) -> Any:
    """Turn a value into plain JSON data."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if depth > MAX_DEPTH:
        where = what if len(what) <= LONGEST_PATH else f"{what[:LONGEST_PATH]}..."
        raise EncodeError(f"{where} is nested deeper than {MAX_DEPTH} levels, or contains itself.")
    if kind is dict:
        return _pack_dict(value, what, depth)
    if kind is list:
        return [pack(item, f"{what}[{index}]", depth + 1) if type(item) not in _PLAIN else item
                for index, item in enumerate(value)]  # fmt: skip
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "v": str(value)}
    if kind in (tuple, set, frozenset):
        return {
            TAG: kind.__name__,
            "v": [pack(item, f"{what}[{index}]", depth + 1) for index, item in enumerate(value)],
        }
    wire = _by_class.get(kind)
    if wire is not None:
        return {TAG: wire.name, "v": pack(_encoded(wire, value, what), what, depth + 1)}
    return _pack_object(value, what, depth)


def _encoded(wire: WireType, value: Any, what: str) -> Any:
    try:
        return wire.encode(value)
    except Exception as error:  # an encoder is the user's function
        raise EncodeError(f"{what} is of type {wire.name}, and could not be encoded: {error}") from error


def _pack_dict(value: dict[Any, Any], what: str, depth: int) -> Any:
    if TAG not in value and all(type(key) is str for key in value):
        return {
            key: item if type(item) in _PLAIN else pack(item, f"{what}[{key!r}]", depth + 1)
            for key, item in value.items()
        }
    pairs = [
        [pack(key, f"a key of {what}", depth + 1), pack(item, f"{what}[{key!r}]", depth + 1)]
        for key, item in value.items()
    ]
    return {TAG: "dict", "v": pairs}


def _pack_object(value: Any, what: str, depth: int) -> Any:
    """Pack what is known by a base class rather than by its exact type."""
    kind = type(value)
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, Flag):
        return {TAG: "enum", "c": _class_path(kind, what), "n": value.value}  # a combination has no name of its own
    if isinstance(value, Enum):
        return {TAG: "enum", "c": _class_path(kind, what), "v": value.name}
    if isinstance(value, Model):
        if value.pk is None or value._state.adding:
            raise EncodeError(f"{what} is an unsaved {kind.__name__}: save it first, a job gets it by its primary key.")
        database = value._state.db or "default"
        return {
            TAG: "model",
            "c": value._meta.label_lower,
            "db": database,
            "v": pack(value.pk, f"{what}.pk", depth + 1),
        }
    if is_dataclass(value) and not isinstance(value, type):
        packed = {
            name: pack(getattr(value, name), f"{what}.{name}", depth + 1) for name in _dataclass_fields(kind, what)
        }
        return {TAG: "dataclass", "c": _class_path(kind, what), "v": packed}
    for base in (str, int, float, dict, list, tuple, set):
        if isinstance(value, base):
            hint = f" It is a subclass of {base.__name__}: pass {base.__name__}(...) if that is what the task needs."
            break
    else:
        hint = ""
    raise EncodeError(
        f"{what} is of type {kind.__module__}.{kind.__qualname__}, which a job cannot carry. It can carry what JSON"
        " has, datetime, date, time, timedelta, Decimal, UUID, bytes, Enum, set, tuple, dataclasses and saved model"
        f" instances; register_type() adds a type.{hint}"
    )


def _dataclass_fields(cls: type, what: str) -> tuple[str, ...]:
    """Name the fields that the constructor takes; refuse a class that could not be made again from its fields."""
    names, strangers = _shape_of_dataclass(cls)
    if strangers:
        raise EncodeError(
            f"{what} is of the dataclass {cls.__qualname__}, whose constructor takes {', '.join(strangers)}, which are"
            " not fields of it: it could not be made again. register_type() says how it travels."
        )
    return names


@lru_cache(maxsize=256)
def _shape_of_dataclass(cls: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the fields that are passed on, and those of what the constructor needs besides."""
    names = tuple(field.name for field in fields(cls) if field.init)
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = (
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in rest
    )
    return names, tuple(name for name in needed if name not in names)


def unpack_value(data: Any) -> Any:
    """Turn plain JSON data that came from outside back into the value. Raises DecodeError, RelatedObjectMissing."""
    try:
        return unpack(data)
    except RecursionError as error:
        raise DecodeError("The message is nested too deeply to be a job's.") from error


def unpack(data: Any) -> Any:
    """Turn plain JSON data back into the value."""
    kind = type(data)
    if kind in _PLAIN or kind is float:
        return data
    if kind is list:
        return [item if type(item) in _PLAIN else unpack(item) for item in data]
    if TAG not in data:
        return {key: item if type(item) in _PLAIN else unpack(item) for key, item in data.items()}
    return _unpack_tagged(data)


def _unpack_tagged(data: dict[str, Any]) -> Any:
    name = data[TAG]
    try:
        if name == "dict":
            return {unpack(key): unpack(item) for key, item in data["v"]}
        if name in _CONTAINERS:
            return _CONTAINERS[name](unpack(item) for item in data["v"])
        if name in _CLASSES:
            return _CLASSES[name](data)
        return _wire_type(name).decode(unpack(data["v"]))
    except (DecodeError, RelatedObjectMissing, DatabaseError, RecursionError):
        raise
    except Exception as error:  # decoders and constructors are the user's functions
        raise DecodeError(f"A value of type {name!r} cannot be rebuilt: {error!r}") from error


def _wire_type(name: str) -> WireType:
    try:
        return _by_name[name]
    except KeyError:
        raise DecodeError(f"The message has a value of type {name!r}, which nobody registered here.") from None


def _class_path(cls: type, what: str) -> str:
    if "<locals>" in cls.__qualname__:
        raise EncodeError(
            f"{what} is of the class {cls.__qualname__}, which is defined inside a function: move it to its module."
        )
    path = f"{cls.__module__}:{cls.__qualname__}"
    if cls.__module__ == "__main__" or _class_at(path) is not cls:
        raise EncodeError(
            f"{what} is of the class {cls.__module__}.{cls.__qualname__}, which a worker could not find under that"
            " name: define it at the top of a module."
        )
    return path


def _class_at(path: str) -> Any:
    """
    Return what stands at a path in a loaded module, or None.

    Looks into namespaces instead of asking for attributes: a module may answer those by importing another one.
    """
    module_name, _, qualname = path.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def _loaded_class(path: str, kind: Callable[[Any], bool]) -> Any:
    """Find a class by path in a loaded module. Never imports: a message must not decide what code is loaded."""
    found = _class_at(path)
    if not isinstance(found, type) or not kind(found):
        raise DecodeError(f"The message names the class {path!r}, which is not loaded here, or is not what it was.")
    return found


def _unpack_enum(data: dict[str, Any]) -> Any:
    cls = _loaded_class(data["c"], lambda cls: issubclass(cls, Enum))
    return cls(data["n"]) if "n" in data else cls[data["v"]]


def _unpack_dataclass(data: dict[str, Any]) -> Any:
    cls = _loaded_class(data["c"], is_dataclass)
    return cls(**{name: unpack(item) for name, item in data["v"].items()})


def _unpack_model(data: dict[str, Any]) -> Any:
    model = apps.get_model(data["c"])
    pk = unpack(data["v"])
    try:
        return model._base_manager.using(data["db"]).get(pk=pk)
    except model.DoesNotExist as error:
        raise RelatedObjectMissing(
            f"{data['c']} with primary key {pk!r} is gone from the database {data['db']!r}."
        ) from error


_CONTAINERS: Mapping[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_CLASSES: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "enum": _unpack_enum,
    "dataclass": _unpack_dataclass,
    "model": _unpack_model,
}
_RESERVED = frozenset(("dict", *_CONTAINERS, *_CLASSES))


def _zone_of(value: datetime | time) -> str | None:
    """Return a zone's name, if it has one. Raises ValueError when neither a name nor an offset stands for it."""
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key is not None:
        return value.tzinfo.key
    if value.tzinfo is not None:
        offset = value.utcoffset()
        if offset is None:
            raise ValueError(f"its time zone {value.tzinfo!r} has neither a name nor an offset")
        if offset.microseconds:  # fromisoformat() reads some of them wrong
            raise ValueError(f"its time zone {value.tzinfo!r} has an offset in fractions of a second")
    return None


def _zone(name: str, fallback: tzinfo | None) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        return fallback  # the offset says the same moment


def _encode_datetime(value: datetime) -> list[Any]:
    return [value.isoformat(), _zone_of(value), value.fold]


def _decode_datetime(data: list[Any]) -> datetime:
    moment = datetime.fromisoformat(data[0])
    if data[1] is not None:
        moment = moment.replace(tzinfo=_zone(data[1], moment.tzinfo))
    elif moment.tzinfo is not None and moment.utcoffset() == timedelta(0):
        moment = moment.replace(tzinfo=UTC)
    return moment.replace(fold=data[2])


def _encode_time(value: time) -> list[Any]:
    # A named zone is kept by its name alone: without a date it has no offset.
    return [
        value.replace(tzinfo=None).isoformat() if _zone_of(value) else value.isoformat(),
        _zone_of(value),
        value.fold,
    ]


def _decode_time(data: list[Any]) -> time:
    moment = time.fromisoformat(data[0]).replace(fold=data[2])
    return moment if data[1] is None else moment.replace(tzinfo=ZoneInfo(data[1]))


register_type(datetime, _encode_datetime, _decode_datetime, name="datetime")
register_type(date, date.isoformat, date.fromisoformat, name="date")
register_type(time, _encode_time, _decode_time, name="time")
register_type(
    timedelta, lambda v: [v.days, v.seconds, v.microseconds], lambda d: timedelta(d[0], d[1], d[2]), name="timedelta"
)
register_type(Decimal, str, Decimal, name="decimal")
register_type(UUID, lambda v: v.hex, UUID, name="uuid")
register_type(bytes, lambda v: base64.b64encode(v).decode("ascii"), base64.b64decode, name="bytes")
register_type(float, str, float, name="float")
# What templates and format_html() return. Its own str() returns itself, so nobody could pass a plain copy.
register_type(SafeString, str.__str__, SafeString, name="safestring")
