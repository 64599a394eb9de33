"""
Columns as PostgreSQL's array literals: one parameter for any number of values.

They are written here, not by the driver, which would look at every value by itself, and a statement that names an array
is the same for any number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Stands between values before they are quoted; no text that PostgreSQL takes has one.
_NUL = "\0"


def plain(column: Sequence[Any]) -> str:
    """Return an array of values that need no quotes: ids, numbers, truths."""
    return f"{{{','.join(['NULL' if value is None else str(value) for value in column])}}}"


def texts(column: Sequence[str | None]) -> str:
    """Return an array of texts, none of which has a NUL."""
    if not column:
        return "{}"
    if None in column:
        if not any(column) and "" not in column:
            return plain(column)
        return f"{{{','.join(['NULL' if text is None else _quoted(text) for text in column])}}}"
    return "{" + _quoted(_NUL.join(column)).replace(_NUL, '","') + "}"  # type: ignore[arg-type]


def _quoted(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if '"' in text:
        text = text.replace('"', '\\"')
    return f'"{text}"'
