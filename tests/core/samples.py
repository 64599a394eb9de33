"""Classes and functions that the tests of the core send, at the top of a module as those of a project are."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Any, NamedTuple

from django.db.models import TextChoices


class Colour(Enum):
    RED = "r"
    GREEN = object()  # its value could not travel; its name does


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Word(StrEnum):
    YES = "yes"


class Size(TextChoices):
    SMALL = "s", "small"


class Permission(Flag):
    READ = 1
    WRITE = 2
    RUN = 4


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


@dataclass
class Parcel:
    label: str
    content: Any
    weight: int = field(init=False)

    def __post_init__(self) -> None:
        self.weight = len(self.label)


@dataclass
class NeedsMore:
    name: str
    factor: InitVar[int]


@dataclass
class Fussy:
    name: str

    def __post_init__(self) -> None:
        if self.name == "later":
            raise KeyError("not any more")


class Pair(NamedTuple):
    left: int
    right: int


class Outer:
    class Inner(Enum):
        A = 1


class Temperature:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Temperature) and other.degrees == self.degrees

    def __hash__(self) -> int:
        return hash(self.degrees)


class NotRegistered:
    pass
