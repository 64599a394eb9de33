"""The table of Celery's canvas, against the tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_docs_guarantees import names_in

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/guide/celery-canvas.rst").read_text()
FILES = ("tests/workflow/test_celery_constructs.py", "tests/workflow/test_celery_groups.py")
ROW = re.compile(r"^    \* - (.+)\n      - (.+)\n      - ``(test_\w+)``$", re.MULTILINE)
#: With the fourth table the second file begins.
SECOND = "\nGroups\n------\n"


def named(text: str) -> list[str]:
    return [test for _, _, test in ROW.findall(text)]


@pytest.mark.parametrize(("path", "text"), list(zip(FILES, PAGE.split(SECOND), strict=True)))
def test_every_construct_has_a_test_and_every_test_a_row(path: str, text: str):
    assert len(named(text)) > 30
    assert sorted(named(text)) == sorted(names_in(ROOT / path))


def test_every_row_is_understood():
    heads = PAGE.count("    * - in Celery\n")
    assert len(named(PAGE)) == PAGE.count("\n    * - ") - heads
