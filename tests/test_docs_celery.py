"""What the pages say of Celery's names, of flags and of tests, against what there is."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from django_jobs.celery_names import ATTRIBUTES, BEAT_FLAGS, FLAGS, OPTIONS, SETTINGS
from django_jobs.celery_names import POOLS as CELERY_POOLS
from django_jobs.management.service import LEVELS
from django_jobs.options import OPTION_NAMES
from django_jobs.task import IDENTITY_OPTIONS, Task
from django_jobs.worker.config import POOLS

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs/guide/from-celery.rst").read_text()
COMMANDS = (ROOT / "docs/reference/commands.rst").read_text()


def section(title: str) -> str:
    """Return the text under a heading of the guide."""
    _, _, rest = GUIDE.partition(f"\n{title}\n{'-' * len(title)}\n")
    assert rest, f"from-celery.rst has no section {title!r}"
    return re.split(r"\n[^\n]+\n-{5,}\n", rest)[0]


def rows(title: str) -> dict[str, str]:
    """Return the rows of a section's table, without markup and its head."""
    found = re.findall(r"^    \* - (.+)\n      - (.+)$", section(title), re.MULTILINE)
    return {name.replace("``", ""): text.replace("``", "") for name, text in found[1:]}


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("Options that do not exist", OPTIONS),
        ("What a task does not have", ATTRIBUTES),
        ("Settings", {f"CELERY_{name}": text for name, text in SETTINGS.items()}),
        ("Flags of the worker", FLAGS),
        ("Flags of beat", BEAT_FLAGS),
        ("Pools of the worker", CELERY_POOLS),
    ],
)
def test_the_tables_say_what_the_errors_say(title: str, told: Mapping[str, str]) -> None:
    assert rows(title) == dict(told)


def test_what_is_said_to_be_missing_is_missing() -> None:
    assert not set(rows("Options that do not exist")) & {*OPTION_NAMES, *IDENTITY_OPTIONS}
    assert not set(rows("Flags of the worker")) & flags_of("runworker")
    assert not set(rows("Flags of beat")) & flags_of("runbeat")
    assert not set(rows("Pools of the worker")) & set(POOLS)
    assert not set(rows("What a task does not have")) & set(dir(Task))


def test_options_that_mean_the_same_exist() -> None:
    named = set(re.findall(r"``([a-z_]+)``", section("Options that mean the same"))) - {"apply_async"}
    assert named <= {*OPTION_NAMES, *IDENTITY_OPTIONS}
    assert len(named) > 10


def test_flags_that_are_the_same_exist() -> None:
    before_the_table = section("Flags of the worker").partition(".. list-table::")[0]
    named = set(re.findall(r"``(--?[A-Za-z-]+)``", before_the_table))
    assert named <= flags_of("runworker")
    assert "-Q" in named


def parser_of(command: str) -> argparse.ArgumentParser:
    return load_command_class("django_jobs", command).create_parser("manage.py", command)


def flags_of(command: str) -> set[str]:
    """Return the flags that the command adds to those of every command."""
    common = {flag for action in BaseCommand().create_parser("", "")._actions for flag in action.option_strings}
    return {flag for action in parser_of(command)._actions for flag in action.option_strings} - common


def directives(command: str) -> list[str]:
    (text,) = re.findall(rf"\n{command}\n-+\n(.+?)\n\w+\n----+\n", COMMANDS, re.DOTALL)
    return re.findall(r"^\.\. option:: (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "page"),
    [("runworker", "runworker"), ("jobsworker", "runworker"), ("runbeat", "runbeat"), ("jobsbeat", "runbeat")],
)
def test_the_reference_has_every_flag(command: str, page: str) -> None:
    documented = {flag for line in directives(page) for flag in re.findall(r"(?:^|, )(--?[A-Za-z-]+)", line)}
    assert documented == flags_of(command)


def test_the_reference_has_every_choice() -> None:
    choices = re.findall(r"(--\w+) {([^}]+)}", "\n".join(directives("runworker")))
    assert dict(choices) == {"--pool": ",".join(POOLS), "--loglevel": ",".join(LEVELS)}


@pytest.mark.parametrize("path", ["deploy/compose.yaml", "deploy/jobs-beat.service", "deploy/k8s/beat.yaml"])
def test_the_files_for_beat_use_flags_that_exist(path: str) -> None:
    lines = (ROOT / path).read_text().splitlines()
    (command,) = [line.partition("runbeat")[2] for line in lines if "manage.py" in line and "runbeat" in line]
    command += "".join(line.partition("args:")[2] for line in lines if line.lstrip().startswith("args:"))
    words = [word for word in re.split(r"[\s\[\]\",]+", command) if word]
    assert parser_of("runbeat").parse_args(words).loglevel == "INFO"


@pytest.mark.parametrize("path", ["deploy/compose.yaml", "deploy/jobs-worker@.service", "deploy/k8s/worker.yaml"])
def test_the_files_for_deployment_use_flags_that_exist(path: str) -> None:
    lines = [line for line in (ROOT / path).read_text().splitlines() if not line.lstrip().startswith("#")]
    (command,) = [line.partition("runworker")[2] for line in lines if "manage.py" in line and "runworker" in line]
    command += "".join(line.partition("args:")[2] for line in lines if line.lstrip().startswith("args:"))
    words = [word for word in re.split(r"[\s\[\]\",]+", command) if word]
    options = parser_of("runworker").parse_args(words)
    assert (options.concurrency, options.grace, options.loglevel) == (2, 30, "INFO")
