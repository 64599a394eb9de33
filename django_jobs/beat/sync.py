"""
Rows follow what code declares, and operators' edits stay.

Every row of the code remembers what the code said last (``declared``) and which columns somebody has edited since. With
what the code says now that makes three ways to look at each column: one that nobody has edited follows the code, one
that somebody has edited stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from django.db import IntegrityError, connections
from django.db.models import Q

from django_jobs import transactions
from django_jobs.beat import damage
from django_jobs.beat.damage import Damaged
from django_jobs.beat.declared import DEFAULTS, FIELDS, Declaration, declarations, of_row, to_column
from django_jobs.conf import settings
from django_jobs.models import PeriodicTask
from django_jobs.models.periodic import Origin

#: How long the database may keep a sync waiting, and how often another one may have been first with a new name.
PATIENCE_MS = 30_000
TRIES = 5


class Kind(StrEnum):
    """What becomes of a row."""

    CREATED = "created"
    #: Columns follow the code.
    UPDATED = "updated"
    #: The code does not declare it any more: it is disabled.
    RETIRED = "retired"
    #: The code declares again what it had retired.
    RESTORED = "restored"
    #: Somebody has edited columns: they stay.
    KEPT = "kept"
    #: A row of this name was made in the admin: it is left alone, and what the code declares is not there.
    CONFLICT = "conflict"
    #: Somebody has written by SQL what nobody can read: it is left alone.
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a sync does to a row, or finds there."""

    kind: Kind
    name: str
    #: UPDATED, RESTORED: column to (what it was, what it is); KEPT: column to (what the code says, what the row says);
    #: UNREADABLE: column to (what the code says, what the database has there, as a text).
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Say whether this changes what the row does."""
        return self.kind not in (Kind.KEPT, Kind.CONFLICT, Kind.UNREADABLE)

    def __str__(self) -> str:
        pairs = self.fields.items()
        match self.kind:
            case Kind.UPDATED | Kind.RESTORED:
                told = ", ".join(f"{name} from {was!r} to {now!r}" for name, (was, now) in pairs)
            case Kind.KEPT:
                told = ", ".join(f"{name} is {row!r}, the code says {code!r}" for name, (code, row) in pairs)
            case Kind.UNREADABLE:
                told = " and ".join(f"{name} is {text}" for name, (_, text) in pairs) + "; correct it by SQL"
            case Kind.RETIRED:
                told = "the code does not declare it any more"
            case Kind.CONFLICT:
                told = "the admin has one of this name, which is left alone; rename one of the two"
            case _:
                told = ""
        return f"{self.name}: {self.kind.value}{': ' if told else ''}{told}"


@dataclass(frozen=True, slots=True)
class _Memory:
    """What a row remembers of the code."""

    values: Mapping[str, Any]
    edited: frozenset[str]

    def dump(self) -> str:
        return json.dumps({"values": self.values, "edited": sorted(self.edited)})


@dataclass(frozen=True, slots=True)
class _Step:
    """A change and how it is written. ``row`` None: it is to be made, or, without columns, left alone."""

    change: Change | None
    row: PeriodicTask | None
    columns: Mapping[str, Any]


def sync(dry_run: bool = False) -> list[Change]:
    """
    Make the rows follow the code, and return what that changed, and what it left alone.

    Any number of processes may do it at once. ``dry_run``: change nothing. Raises JobsConfigurationError when a
    declaration is wrong: then nothing is changed.
    """
    declared = declarations()
    alias = settings.database
    steps = transactions.ask(alias, lambda: _steps(declared, *_rows(declared)))
    if not dry_run and any(step.columns for step in steps):
        steps = _write(declared)
    return [step.change for step in steps if step.change is not None]


def drift(row: PeriodicTask) -> dict[str, tuple[Any, Any]]:
    """Return how a row differs from what the code said last: column to (code, row). Empty for others' rows."""
    memory = _memory(row.declared)
    return {} if memory is None else _drift(memory.values, of_row(row))


def _drift(code: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    differing = {name: (code[name], row[name]) for name in FIELDS if row[name] != code[name]}
    if row["one_off"] and not row["enabled"]:
        differing.pop("enabled", None)  # it has run
    return differing


def _rows(declared: Sequence[Declaration], *, lock: bool = False) -> tuple[list[PeriodicTask], list[Damaged]]:
    rows = PeriodicTask.objects.using(settings.database).order_by("pk")
    if lock:
        rows = rows.select_for_update()
    return damage.read(rows.filter(Q(origin=Origin.CODE) | Q(name__in=[declaration.name for declaration in declared])))


def _write(declared: Sequence[Declaration]) -> list[_Step]:
    def write() -> list[_Step]:
        steps = _steps(declared, *_rows(declared, lock=True))
        for step in steps:
            if step.row is None and step.columns:
                PeriodicTask.objects.using(settings.database).create(**step.columns)
            elif step.row is not None and step.columns:
                PeriodicTask.objects.using(settings.database).filter(pk=step.row.pk).update(**step.columns)
        return steps

    for _ in range(TRIES - 1):
        try:
            return transactions.run(settings.database, write, wait_ms=PATIENCE_MS)
        except IntegrityError:  # somebody else has made a row of a name that was new: look again
            if connections[settings.database].in_atomic_block:
                raise
    return transactions.run(settings.database, write, wait_ms=PATIENCE_MS)


def _steps(declared: Sequence[Declaration], rows: Iterable[PeriodicTask], damaged: Iterable[Damaged]) -> list[_Step]:
    by_name = {row.name: row for row in rows}
    code = {declaration.name: declaration for declaration in declared}
    steps = [_leave(row, code.pop(row.name, None)) for row in damaged]
    for declaration in code.values():
        row = by_name.pop(declaration.name, None)
        if row is None:
            steps.append(_create(declaration))
        elif row.origin != Origin.CODE:
            steps.append(_Step(Change(kind=Kind.CONFLICT, name=row.name), row, {}))
        else:
            steps += _follow(declaration, row)
    return steps + [_retire(row) for row in by_name.values() if row.declared]


def _leave(row: Damaged, declaration: Declaration | None) -> _Step:
    said = {} if declaration is None else declaration.values
    fields = {name: (said.get(name), text) for name, text in row.broken.items()}
    return _Step(Change(kind=Kind.UNREADABLE, name=row.name, fields=fields), None, {})


def _create(declaration: Declaration) -> _Step:
    memory = _Memory(declaration.values, frozenset())
    columns = {"name": declaration.name, "origin": Origin.CODE, "declared": memory.dump()}
    return _Step(Change(kind=Kind.CREATED, name=declaration.name), None, {**declaration.columns(), **columns})


def _retire(row: PeriodicTask) -> _Step:
    now = of_row(row)
    memory = _memory(row.declared) or _Memory(now, frozenset())
    edited = memory.edited | {name for name in FIELDS if now[name] != memory.values[name]}
    # A row that is off by itself stays off when it comes back; one that retiring switches off does not.
    columns = {"enabled": False, "declared": "", "retired": replace(memory, edited=frozenset(edited)).dump()}
    return _Step(Change(kind=Kind.RETIRED, name=row.name), row, columns)


def _follow(declaration: Declaration, row: PeriodicTask) -> Iterator[_Step]:
    """Follow the code column by column."""
    now, code = of_row(row), declaration.values
    came_back = not row.declared
    before = _memory(row.declared or row.retired) or _Memory(code, frozenset())
    if came_back and not now["enabled"] and "enabled" not in before.edited:
        before = _Memory({**before.values, "enabled": False}, before.edited)  # it was switched off by retiring it
    edited = {name for name in FIELDS if _is_edited(name, before, now, code)}
    updates = {name: code[name] for name in FIELDS if name not in edited and now[name] != code[name]}
    memory = _Memory(code, frozenset(edited)).dump()
    columns: dict[str, Any] = {name: to_column(name, value) for name, value in updates.items()}
    if (row.declared, row.retired) != (memory, ""):
        columns |= {"declared": memory, "retired": ""}
    change = None
    if updates or came_back:
        changed = {name: (now[name], value) for name, value in updates.items()}
        change = Change(kind=Kind.RESTORED if came_back else Kind.UPDATED, name=row.name, fields=changed)
    yield _Step(change, row, columns)
    kept = _drift(code, {**now, **updates})
    if kept:
        yield _Step(Change(kind=Kind.KEPT, name=row.name, fields=kept), row, {})


def _is_edited(name: str, before: _Memory, now: Mapping[str, Any], code: Mapping[str, Any]) -> bool:
    """
    Say whether somebody has edited a column.

    An edit that says what the code says is none any more, unless the code has just come to say it: while a deployment
    rolls, old and new code sync in turn, and an edit to what the old code says must survive the new one.
    """
    if now[name] != before.values[name]:
        return True
    return name in before.edited and before.values[name] != code[name]


def _memory(text: str) -> _Memory | None:
    if not text:
        return None
    try:
        read = json.loads(text)
        # An older version may not have known every column.
        return _Memory({**DEFAULTS, **read["values"]}, frozenset(read["edited"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None  # somebody has damaged it: what differs from the code counts as edited
