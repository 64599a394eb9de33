"""The reference pages say what the code says: every name, every default, and nothing else."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.dispatch import Signal

from django_jobs import signals
from django_jobs.async_result import AsyncResult, GroupResult, WorkflowResult
from django_jobs.calls import CALL_OPTIONS
from django_jobs.conf import KEYS, QUEUE_KEYS, SCHEDULE_KEYS, SECTIONS
from django_jobs.options import OPTION_NAMES, TaskOptions
from django_jobs.states import Place, State
from django_jobs.task import IDENTITY_OPTIONS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_jobs"
REFERENCE = ROOT / "docs/reference"
TERM = re.compile(r"^``[^`]+``(, ``[^`]+``)*$")


def entries(page: str) -> dict[str, dict[str, str]]:
    """Return the terms that a page explains, and what it says about each, by the heading they stand under."""
    found: dict[str, dict[str, str]] = {}
    heading, terms, before = "", [""], ""
    for line in [*(REFERENCE / f"{page}.rst").read_text().splitlines(), ""]:
        if before and line and set(line) <= {"-", "="} and len(line) >= len(before):
            heading, terms = before, []
        elif TERM.match(line):
            terms = re.findall(r"``([^`]+)``", line)
            for term in terms:
                assert term not in found.setdefault(heading, {}), f"{page} explains {term} twice under {heading!r}"
                found[heading][term] = ""
        elif line.startswith("    "):
            for term in terms:
                found.setdefault(heading, {}).setdefault(term, "")
                found[heading][term] += line.strip() + "\n"
        elif line:
            terms = []
        before = line
    return found


def default_and_meaning(text: str) -> tuple[Any, str]:
    """Split an entry into its default, as a value, and the sentences after it."""
    match = re.match(r"Default: ``(?P<default>[^`]+)``\n(?P<meaning>.*)", text, re.DOTALL)
    assert match, f"no default is named in {text!r}"
    return eval(match["default"], {"timedelta": timedelta}), match["meaning"].strip()


PAGES = {
    "DJANGO_JOBS": KEYS,
    'DJANGO_JOBS["QUEUES"][name]': QUEUE_KEYS,
    'DJANGO_JOBS["SCHEDULE"][name]': SCHEDULE_KEYS,
    **{f'DJANGO_JOBS["{name}"]': keys for name, keys in SECTIONS.items()},
}


def test_the_page_of_settings_has_every_section():
    assert list(entries("settings")) == list(PAGES)


@pytest.mark.parametrize(("heading", "keys"), PAGES.items(), ids=list(PAGES))
def test_the_page_of_settings_has_every_key_and_its_default(heading: str, keys: Mapping[str, Any]):
    written = entries("settings")[heading]
    assert list(written) == list(keys)
    for name, text in written.items():
        default, meaning = default_and_meaning(text)
        assert default == keys[name].default, name
        assert type(default) is type(keys[name].default), name
        assert len(meaning) > 20, f"{name} is not explained"


def test_the_page_of_options_has_every_option_and_its_default():
    pages = entries("options")
    assert list(pages) == ["Identity", "Options of a task", "Options of a call"]
    assert set(pages["Identity"]) == set(IDENTITY_OPTIONS)
    assert list(pages["Options of a task"]) == list(OPTION_NAMES)
    assert set(pages["Options of a call"]) == set(CALL_OPTIONS)
    defaults = {field.name: field.default for field in dataclasses.fields(TaskOptions)}
    for name, text in pages["Options of a task"].items():
        default, meaning = default_and_meaning(text)
        assert default == defaults[name], name
        assert len(meaning) > 15, f"{name} is not explained"


def sent_signals() -> Iterator[tuple[str, frozenset[str]]]:
    """Find every place where the package sends a signal: its name, and the names of what it passes."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "signals.send":
                name = ast.unparse(node.args[0]).removeprefix("signals.")
                yield name, frozenset(str(keyword.arg) for keyword in node.keywords)


def test_the_page_of_signals_has_every_signal_and_what_is_really_sent():
    written = {name: text for section in entries("signals").values() for name, text in section.items()}
    known = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert set(written) == known
    sent = list(sent_signals())
    assert {name for name, _ in sent} == known, "a signal that nobody sends is a promise that is not kept"
    for name, arguments in sent:
        first = written[name].splitlines()[0]
        assert first.startswith("Arguments: ")
        assert set(re.findall(r"``(\w+)``", first)) == arguments, name


def test_the_page_of_states_has_every_state_and_place():
    pages = entries("states")
    assert list(pages["States"]) == State.values
    assert list(pages["Places"]) == [place.value for place in Place]


@pytest.mark.parametrize(
    "handle", [AsyncResult(UUID(int=1)), GroupResult(UUID(int=1)), WorkflowResult(UUID(int=1))], ids=repr
)
def test_the_page_of_handles_has_all_that_they_have(handle: object):
    names = {*dir(type(handle)), *vars(handle)}
    written = entries("handles")[type(handle).__name__]
    assert set(written) == {name for name in names if not name.startswith("_")}


def test_the_page_of_checks_has_every_number_at_its_level():
    pages = entries("checks")
    assert list(pages) == ["Errors", "Warnings", "Hints"]
    source = "".join(path.read_text() for path in (PACKAGE / "checks").glob("*.py"))
    used = set(re.findall(r'"([EWI]\d\d\d)"', source))
    for heading, level in (("Errors", "E"), ("Warnings", "W"), ("Hints", "I")):
        assert list(pages[heading]) == sorted(number for number in used if number.startswith(level))
