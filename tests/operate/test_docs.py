"""The reference of ``manage.py jobs`` has every action, flag, finding and exit code."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from django_jobs import doctor
from django_jobs.beat.examination import Trouble
from django_jobs.brokers.strays import Fault
from django_jobs.management.commands.jobs import ACTIONS
from django_jobs.management.jobs.scheduling import ACTIONS as SCHEDULE_ACTIONS

ROOT = Path(__file__).resolve().parents[2]
_, _, PAGE = (ROOT / "docs/reference/commands.rst").read_text().partition("\njobs\n----\n")


def sections() -> dict[str, str]:
    """Return the text about each action; one heading may be about two."""
    parts = re.split(r"^(jobs [a-z, ]+)\n~+$", PAGE, flags=re.MULTILINE)
    found = {}
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        for name in heading.split(", "):
            found[name.removeprefix("jobs ")] = text
    return found


def parser_of(action: str) -> argparse.ArgumentParser:
    command: Any = load_command_class("django_jobs", "jobs")
    (actions,) = [
        found
        for found in command.create_parser("manage.py", "jobs")._actions
        if isinstance(found, argparse._SubParsersAction)
    ]
    parser: argparse.ArgumentParser = actions.choices[action]
    return parser


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the flags of an action, and of the actions below it."""
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found |= {flag for below in action.choices.values() for flag in flags_of(below)}
    return found


def test_every_action_has_its_section():
    assert sorted(sections()) == sorted(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
def test_every_flag_of_an_action_is_documented(action: str):
    common = {flag for found in BaseCommand().create_parser("", "")._actions for flag in found.option_strings}
    flags = flags_of(parser_of(action)) - common - {"--json"}
    written = re.findall(r"^\.\. option:: (.+)$", sections()[action], re.MULTILINE)
    assert {flag for line in written for flag in re.findall(r"(?:^|, )(--?[a-z-]+)", line)} == flags


def test_every_action_of_schedule_is_documented():
    assert set(re.findall(r"``schedule ([a-z-]+)[^`]*``", sections()["schedule"])) == set(SCHEDULE_ACTIONS)


def test_every_finding_of_the_doctor_is_documented():
    written = set(re.findall(r"^``([a-z ]+)``  ", PAGE, re.MULTILINE))
    used = {fault.value for fault in Fault} | {trouble.value for trouble in Trouble}
    used |= {danger.value for danger in doctor._GRAVE}
    tree = ast.parse(Path(doctor.__file__).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            used |= {str(found.value) for found in ast.walk(node.value) if isinstance(found, ast.Constant)}
    assert written == used
