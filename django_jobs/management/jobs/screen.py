"""What ``manage.py jobs`` says: tables for people, one document for programs; and what it asks."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, OutputWrapper

USAGE = 2


class Screen:
    """Where the answer goes. With ``--json`` everything but the one document goes to stderr."""

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper, *, as_json: bool) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self.as_json = as_json

    def document(self, value: Any) -> None:
        """Write the answer for programs."""
        self._stdout.write(json.dumps(value, default=_plain, indent=2))

    def say(self, text: str = "") -> None:
        """Write a line for people."""
        (self._stderr if self.as_json else self._stdout).write(text, style_func=str)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[object]], *, indent: str = "") -> None:
        """Write rows in columns; numbers to the right."""
        texts = [[_shown(value) for value in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
        right = [
            bool(rows) and all(isinstance(value, int) and not isinstance(value, bool) for value in column)
            for column in zip(*rows, strict=True)
        ] or [False] * len(heads)
        for line in (heads, *texts):
            cells = [
                text.rjust(width) if is_number else text.ljust(width)
                for text, width, is_number in zip(line, widths, right, strict=True)
            ]
            self.say((indent + "  ".join(cells)).rstrip())

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Ask, unless ``--yes`` has answered already. Without a terminal to ask at, that is an error of use."""
        if yes:
            return True
        if not sys.stdin.isatty():
            raise CommandError(f"{question} There is no terminal to ask at: pass --yes to do it.", returncode=USAGE)
        self._stderr.write(f"{question} [y/N] ", ending="", style_func=str)
        self._stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{value!r} is no part of an answer")


def count(number: int, one: str = "job", many: str = "jobs") -> str:
    """Write a number with its noun."""
    return f"{number:,} {one if number == 1 else many}"
