"""``delay()`` is typed like its function: mypy finds the mistakes of the sample, and nothing else in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("mypy")

from mypy import api

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = Path("tests/typing/sample.py")
EXPECTED = re.compile(r"# error: (?!<)(.*)$")
FOUND = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*)$")


def test_the_sample_has_exactly_the_errors_that_it_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    wanted = {
        number: match.group(1)
        for number, line in enumerate(SAMPLE.read_text().splitlines(), 1)
        if (match := EXPECTED.search(line))
    }
    output, errors, _ = api.run(
        ["--config-file=setup.cfg", "--no-error-summary", "--follow-imports=silent", str(SAMPLE)]
    )
    found: dict[int, list[str]] = {}
    for line in output.splitlines():
        if match := FOUND.match(line):
            assert match["file"] == str(SAMPLE), line
            found.setdefault(int(match["line"]), []).append(match["text"])
    assert not errors
    assert sorted(found) == sorted(wanted), output
    for number, text in wanted.items():
        assert any(text in message for message in found[number]), f"line {number}: {text!r} not in {found[number]}"
