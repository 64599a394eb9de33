"""Whoever promises something names the tests that hold it, and they exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("guarantees", "leases-for-celery")
#: A file and what pytest runs of it; rows of ``tests/chaos`` are run by their number, and are named by their function.
TEST = re.compile(r"``(tests/[\w/]+\.py)::([\w:]+)``")


def text_of(page: str) -> str:
    return (ROOT / f"docs/guide/{page}.rst").read_text()


def statements() -> dict[str, list[str]]:
    """Return each statement of the page, by its words in bold type, with the tests that are named below it."""
    _, _, section = text_of("guarantees").partition("\nThe statement\n-------------\n")
    section = re.split(r"\n[^\n]+\n-{5,}\n", section)[0]
    found: dict[str, list[str]] = {}
    for block in filter(None, (part.strip() for part in section.split("\n\n"))):
        if block.startswith("* "):
            lines = re.split(r"\n(?=\* )", block)
            assert all(TEST.fullmatch(line.removeprefix("* ")) for line in lines), f"no test: {block}"
            list(found.values())[-1].extend(lines)
        else:
            assert block.startswith("**"), f"a paragraph that promises nothing, or not in bold type: {block}"
            found[block] = []
    return found


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return what a file has that pytest runs, or that a file of pytest's inherits: name, or class::name."""

    def names(body: list[ast.stmt], before: str = "") -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_run(node):
                yield before + node.name
            elif isinstance(node, ast.ClassDef):
                yield from names(node.body, f"{before}{node.name}::")

    return frozenset(names(ast.parse(path.read_text()).body))


def is_run(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    marks = [ast.unparse(mark.func) for mark in node.decorator_list if isinstance(mark, ast.Call)]
    return node.name.startswith("test_") or "row" in marks


def test_every_statement_has_a_test_that_holds_it():
    found = statements()
    assert len(found) > 8
    assert [words for words, tests in found.items() if not tests] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str):
    named = TEST.findall(text_of(page))
    assert len(named) > 3
    assert [f"{path}::{name}" for path, name in named if name not in names_in(ROOT / path)] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_test_is_named_with_its_file(page: str):
    loose = re.findall(r"``((?:\w+::)*test_\w+)``", text_of(page))
    assert loose == []
