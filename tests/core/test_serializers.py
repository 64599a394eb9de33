"""Values travel exactly, or are refused where they are passed."""

from __future__ import annotations

import json
import math
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from importlib import import_module, reload
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Group, User
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_jobs import serializers
from django_jobs.exceptions import DecodeError, EncodeError, RelatedObjectMissing
from django_jobs.serializers import dumps, loads, register_type
from tests.core.samples import (
    Colour,
    Fussy,
    Level,
    NeedsMore,
    NotRegistered,
    Outer,
    Pair,
    Parcel,
    Permission,
    Point,
    Size,
    Temperature,
    Word,
)

ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]


def shape(value: Any) -> str:
    """Return the types in a member of a set, whose order says nothing."""
    inner = value if isinstance(value, tuple | frozenset) else ()
    return f"{type(value).__name__}{sorted(map(shape, inner))}"


def identical(left: Any, right: Any) -> bool:
    """Say whether two values are equal, of the same types all the way down, and in the same order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return math.isnan(left) and math.isnan(right) if math.isnan(left) else repr(left) == repr(right)
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(identical, left, right))
    if isinstance(left, dict):
        return identical(list(left.items()), list(right.items()))
    if isinstance(left, set | frozenset):
        return left == right and sorted(map(shape, left)) == sorted(map(shape, right))
    if isinstance(left, datetime | time):
        same_zone = str(left.tzinfo) == str(right.tzinfo) and type(left.tzinfo) is type(right.tzinfo)
        return left == right and left.fold == right.fold and same_zone
    if isinstance(left, Point):
        return identical((left.x, left.y), (right.x, right.y))
    return bool(left == right)


zones = st.one_of(
    st.none(),
    st.sampled_from(ZONES).map(ZoneInfo),
    st.just(UTC),
    st.integers(-86_399, 86_399).filter(bool).map(lambda seconds: timezone(timedelta(seconds=seconds))),
)
hashable_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.uuids(), st.dates(), st.timedeltas(),
    st.decimals(allow_nan=False), st.datetimes(timezones=zones), st.times(timezones=zones),
    st.sampled_from([*Colour, *Level, *Word, *Size, Outer.Inner.A]),
    st.builds(Point, st.integers(), st.floats(allow_nan=False)),
)  # fmt: skip
scalars = hashable_scalars | st.floats() | st.decimals()
hashables = st.recursive(
    hashable_scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=5) | st.just("$"), inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=3),
        st.sets(hashables, max_size=3),
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(values)
def test_every_value_comes_back_as_what_it_was(value: Any):
    assert identical(loads(dumps(value)), value)


@settings(deadline=None, max_examples=300)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner:
       st.lists(inner) | st.dictionaries(st.sampled_from(["$", "v", "c", "n", "db", "x"]), inner)))  # fmt: skip
def test_whatever_json_a_message_holds_it_is_decoded_or_refused(data: Any):
    try:
        loads(json.dumps(data))
    except DecodeError:
        pass
    except RelatedObjectMissing:
        pytest.fail("no model was named")


@pytest.mark.parametrize(
    "value",
    [
        {"$": "set", "v": [1]},
        {"$": {"$": {"$": 1}}},
        {1: {"$": 2}, (1, 2): "x", None: None, False: True},
        "lone surrogate \udc80 and NUL \0",
        -0.0,
        10**4000,
        Decimal("1E+400"),
        Decimal("sNaN"),
        Parcel("box", [Point(1), {"p": Point(2)}]),
        Permission.READ | Permission.RUN,
        Permission(0),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")),
        datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Paris")),
        time(2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")),
        datetime.max.replace(tzinfo=UTC),
        timedelta.min,
    ],
    ids=repr,
)
def test_special_values_come_back(value: Any):
    assert identical(loads(dumps(value)), value)


def test_a_fold_keeps_its_moment():
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"))
    second = first.replace(fold=1)
    assert loads(dumps(first)).utcoffset() == timedelta(hours=2)
    assert loads(dumps(second)).utcoffset() == timedelta(hours=1)


def test_a_zone_that_is_not_known_here_keeps_its_moment():
    data = json.dumps({"$": "datetime", "v": ["2026-10-25T02:30:00+01:00", "Mars/Olympus", 0]})
    assert loads(data) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_text_of_templates_stays_safe_and_translations_become_text():
    safe = loads(dumps(mark_safe("<b>x</b>")))
    assert type(safe) is SafeString
    assert safe == "<b>x</b>"
    assert type(loads(dumps(gettext_lazy("Yes")))) is str


def test_the_bytes_are_ascii():
    assert dumps("é\udcff\0").isascii()


# Refusals


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (NotRegistered(), "tests.core.samples.NotRegistered"),
        (Pair(1, 2), "subclass of tuple: pass tuple(...)"),
        (OrderedDict(), "subclass of dict: pass dict(...)"),
        (defaultdict(list), "subclass of dict"),
        (1j, "builtins.complex"),
        (range(3), "builtins.range"),
        (bytearray(b"x"), "builtins.bytearray"),
        (object, "builtins.type"),
        (Point, "builtins.type"),
        (NeedsMore("x", factor=2), "whose constructor takes factor"),
        (User(username="u"), "unsaved User"),
        (iter([]), "list_iterator"),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_what_cannot_travel_is_refused_by_name_and_type(value: Any, says: str):
    with pytest.raises(EncodeError) as caught:
        dumps({"order": [1, value]}, "argument 'x' of shop.f")
    assert "argument 'x' of shop.f['order'][1]" in str(caught.value)
    assert says in str(caught.value)


def test_an_unsaved_instance_with_a_key_is_refused():
    with pytest.raises(EncodeError, match="unsaved"):
        dumps(User(pk=7))


def test_a_class_inside_a_function_is_refused():
    class Local(Enum):
        A = 1

    with pytest.raises(EncodeError, match="inside a function"):
        dumps(Local.A)


def test_a_class_that_is_not_found_again_is_refused():
    hidden = Enum("hidden", ["A"], module=__name__)
    with pytest.raises(EncodeError, match="could not find"):
        dumps(hidden.A)


def test_a_number_with_too_many_digits_is_refused():
    with pytest.raises(EncodeError, match="too large"):
        dumps([10**5000])


class NoOffset(tzinfo):
    def utcoffset(self, moment: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


def test_a_zone_without_name_and_offset_is_refused():
    with pytest.raises(EncodeError, match=r"^the moment is of type datetime.*neither a name nor an offset"):
        dumps(datetime(2026, 1, 1, tzinfo=NoOffset()), "the moment")


def test_an_offset_in_fractions_of_a_second_is_refused():
    with pytest.raises(EncodeError, match="fractions of a second"):
        dumps(datetime(2026, 1, 1, tzinfo=timezone(timedelta(microseconds=1))))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded():
    deepest = nested(serializers.MAX_DEPTH)
    assert loads(dumps(deepest)) == deepest
    with pytest.raises(EncodeError, match="deeper than 100 levels"):
        dumps(nested(serializers.MAX_DEPTH + 1))


def test_a_value_that_contains_itself_is_refused():
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodeError, match="contains itself"):
        dumps(circle)


@pytest.mark.parametrize("key", ["parent", "x" * 10_000])
def test_the_path_to_what_is_too_deep_is_cut(key: str):
    circle: dict[str, Any] = {}
    circle[key] = circle
    with pytest.raises(EncodeError, match=r"^argument 1 of f\['.*\.\.\. is nested deeper than 100 levels") as caught:
        dumps(circle, "argument 1 of f")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("depth", [2_000, 5_000, 200_000])
def test_a_message_nested_beyond_the_stack_is_refused(depth: int):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # what it is unless somebody, as a test before this one, has changed it
    try:
        with pytest.raises(DecodeError):
            loads("[" * depth + "]" * depth)
    finally:
        sys.setrecursionlimit(limit)


# What a message may not do


@pytest.mark.parametrize(
    "data",
    [
        {"$": "enum", "c": "tests.core.samples:Colour", "v": "BLUE"},
        {"$": "enum", "c": "tests.core.samples:Gone", "v": "A"},
        {"$": "enum", "c": "tests.core.samples:Point", "v": "A"},
        {"$": "enum", "c": "nowhere:X", "v": "A"},
        {"$": "enum"},
        {"$": "dataclass", "c": "tests.core.samples:Point", "v": {"z": 1}},
        {"$": "dataclass", "c": "tests.core.samples:Fussy", "v": {"name": "later"}},
        {"$": "dataclass", "c": "os:system", "v": {}},
        {"$": "model", "c": "gone.Model", "db": "default", "v": 1},
        {"$": "model", "c": "auth.user", "db": "nowhere", "v": 1},
        {"$": "uuid", "v": "x"},
        {"$": "datetime", "v": ["x", None, 0]},
        {"$": "datetime", "v": ["2026-01-01T00:00:00+00:00", "../../etc/passwd", 0]},
        {"$": "set", "v": [[1]]},
        {"$": "set"},
        {"$": "dict", "v": [1]},
        {"$": "pickle", "v": "x"},
        {"$": None},
        {"$": [1]},
        {"$": {"a": 1}, "v": 1},
    ],
    ids=str,
)
def test_what_cannot_be_rebuilt_is_a_decode_error(data: dict[str, Any]):
    with pytest.raises(DecodeError):
        loads(json.dumps([data]))


def test_nothing_is_imported_because_a_message_names_it():
    sys.modules.pop("antigravity", None)
    with pytest.raises(DecodeError, match="not loaded here"):
        loads('{"$": "enum", "c": "antigravity:X", "v": "A"}')
    assert "antigravity" not in sys.modules


def test_a_module_is_not_asked_for_attributes_that_it_would_import():
    """The root of the package hands out its names on first use, as many packages do."""
    sys.modules["django_jobs"].__dict__.pop("State", None)
    with pytest.raises(DecodeError, match="not loaded here"):
        loads('{"$": "enum", "c": "django_jobs:State", "v": "SUCCESS"}')
    assert "State" not in sys.modules["django_jobs"].__dict__


# Registered types


@pytest.fixture
def clean_types() -> Iterator[None]:
    before = dict(serializers._by_class), dict(serializers._by_name)
    yield
    for known, old in zip((serializers._by_class, serializers._by_name), before, strict=True):
        known.clear()  # type: ignore[attr-defined]
        known.update(old)  # type: ignore[attr-defined]


def test_a_registered_type_travels(clean_types: None):
    register_type(Temperature, lambda value: {"degrees": value.degrees}, lambda data: Temperature(data["degrees"]))
    assert loads(dumps([Temperature(21.5)])) == [Temperature(21.5)]
    assert b"tests.core.samples.Temperature" in dumps(Temperature(1))
    register_type(Temperature, lambda value: value.degrees, Temperature, name="temperature")
    assert b'"temperature"' in dumps(Temperature(1))


@pytest.mark.parametrize("name", ["decimal", "dict", "tuple", "enum", "model", "dataclass"])
def test_a_name_that_is_taken_is_refused(clean_types: None, name: str):
    with pytest.raises(ValueError, match="is registered for another class"):
        register_type(Temperature, str, str, name=name)


def test_a_module_that_is_reloaded_registers_its_types_again(
    clean_types: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = """
        from django_jobs import register_type

        class Money:
            def __init__(self, cents):
                self.cents = cents

        register_type(Money, lambda money: money.cents, Money)
        """
    (tmp_path / "reloaded_money.py").write_text(dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("reloaded_money")
    before = module.Money(1)
    reload(module)
    assert type(before) is not module.Money
    assert type(loads(dumps(module.Money(2)))) is module.Money
    assert type(loads(dumps(before))) is module.Money, "what is older than the reload travels as well"
    with pytest.raises(ValueError, match="is registered for another class"):
        register_type(Temperature, str, str, name="reloaded_money.Money")
    monkeypatch.delitem(sys.modules, "reloaded_money")


def test_what_an_encoder_raises_names_the_argument(clean_types: None):
    register_type(Temperature, lambda value: value.missing, Temperature)
    with pytest.raises(EncodeError, match=r"^argument 1 of f is of type .*no attribute 'missing'"):
        dumps(Temperature(1), "argument 1 of f")


def test_what_a_decoder_raises_is_a_decode_error(clean_types: None):
    register_type(Temperature, lambda value: value.degrees, Temperature)
    data = dumps(Temperature(1))
    register_type(Temperature, lambda value: value.degrees, lambda data: Temperature(data["degrees"]))
    with pytest.raises(DecodeError, match="cannot be rebuilt"):
        loads(data)


def test_a_type_that_is_not_registered_here_is_a_decode_error():
    with pytest.raises(DecodeError, match=r"'shop\.Money', which nobody registered here"):
        loads('{"$": "shop.Money", "v": 1}')


def test_a_dataclass_that_refuses_is_refused_when_it_is_rebuilt():
    assert loads(dumps(Fussy("now"))) == Fussy("now")


# Model instances


@pytest.mark.django_db
def test_a_model_instance_travels_by_its_key_and_is_read_anew():
    group = Group.objects.create(name="editors")
    data = dumps({"group": group})
    assert b"editors" not in data
    Group.objects.filter(pk=group.pk).update(name="writers")
    found = loads(data)["group"]
    assert type(found) is Group
    assert (found.pk, found.name) == (group.pk, "writers")


@pytest.mark.django_db
def test_the_lazy_user_of_a_request_travels():
    user = User.objects.create(username="ada")
    assert loads(dumps(SimpleLazyObject(lambda: user))) == user


@pytest.mark.django_db
def test_a_row_that_is_gone_is_named():
    group = Group.objects.create(name="editors")
    data = dumps(Parcel("box", (group,)))
    group_pk = group.pk
    group.delete()
    with pytest.raises(RelatedObjectMissing, match=rf"auth\.group with primary key {group_pk} is gone .* 'default'"):
        loads(data)


def test_uuids_and_dates_have_short_forms():
    identifier = uuid4()
    assert dumps(identifier) == b'{"$":"uuid","v":"%s"}' % identifier.hex.encode()
    assert dumps(date(2026, 1, 2)) == b'{"$":"date","v":"2026-01-02"}'
    assert type(loads(dumps(identifier))) is UUID
