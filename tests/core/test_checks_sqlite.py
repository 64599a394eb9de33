"""What ``manage.py check`` says of a database in a file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import connections
from pytest_django import DjangoDbBlocker, Settings

from django_jobs.checks import TAG
from tests.services import alias_of

Said = Callable[..., list[str]]


@pytest.fixture
def alias() -> str:
    """The alias of the SQLite of this run."""
    found = alias_of("sqlite")
    assert found is not None, "there is always a SQLite"
    return found


@pytest.fixture(autouse=True)
def databases(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let the checks connect to whatever is configured."""
    with django_db_blocker.unblock():
        yield
        connections.close_all()


@pytest.fixture
def database(alias: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def change(**given: Any) -> None:
        for name, value in given.items():
            monkeypatch.setitem(connections[alias].settings_dict, name, value)

    return change


@pytest.fixture
def said(settings: Settings, alias: str) -> Said:
    """Run the checks of a project whose jobs and results are in SQLite; return what is said about that."""

    def check(*numbers: str, deploy: bool = False, **given: Any) -> list[str]:
        settings.DJANGO_JOBS = {"BROKER": f"database://{alias}", "DATABASE": alias} | given
        found = run_checks(tags=[TAG], include_deployment_checks=deploy)
        return [_text(message) for message in found if str(message.id).partition(".")[2] in numbers]

    return check


def _text(message: CheckMessage) -> str:
    return f"{message.msg} {message.hint or ''}"


# W028: transactions that begin with reading


def test_requests_that_read_before_they_lock(said: Said, database: Callable[..., None], alias: str):
    assert said("W028") == []
    database(ATOMIC_REQUESTS=True)
    (text,) = said("W028")
    assert f"DATABASES[{alias!r}] is SQLite with ATOMIC_REQUESTS" in text
    assert f"Set DATABASES[{alias!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE'}}." in text


@pytest.mark.parametrize(
    ("options", "is_said"),
    [
        ({"transaction_mode": "IMMEDIATE"}, False),
        ({"transaction_mode": "immediate", "timeout": 20}, False),
        ({"transaction_mode": "EXCLUSIVE"}, False),
        ({"transaction_mode": "DEFERRED"}, True),
        ({"timeout": 20}, True),
        ({}, True),
    ],
)
def test_how_transactions_begin(
    said: Said, database: Callable[..., None], options: dict[str, Any], is_said: bool
) -> None:
    database(ATOMIC_REQUESTS=True, OPTIONS=options)
    assert bool(said("W028")) is is_said


@pytest.mark.parametrize(
    ("broker", "keeps_results", "is_said"),
    [("redis://127.0.0.1:1/0", True, True), ("sqlite", False, True), ("redis://127.0.0.1:1/0", False, False)],
)
def test_it_is_enough_that_either_jobs_or_results_live_there(
    said: Said, database: Callable[..., None], alias: str, broker: str, keeps_results: bool, is_said: bool
) -> None:
    database(ATOMIC_REQUESTS=True)
    broker = f"database://{alias}" if broker == "sqlite" else broker
    assert bool(said("W028", BROKER=broker, DATABASE=alias if keeps_results else "elsewhere")) is is_said


# W030: production


def test_a_broker_on_sqlite_in_production(said: Said, settings: Settings, alias: str):
    settings.DEBUG = True
    assert said("W030", deploy=True) == []
    settings.DEBUG = False
    assert said("W030") == []
    (text,) = said("W030", deploy=True)
    assert f"Jobs are kept in DATABASES[{alias!r}], which is SQLite" in text
    assert said("W030", deploy=True, BROKER="redis://127.0.0.1:1/0") == []


# I005: the journal


@pytest.fixture
def shop(tmp_path: Path, alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a database ``shop``, not made yet."""
    file = tmp_path / "shop.sqlite3"
    monkeypatch.setitem(connections.settings, "shop", {**connections[alias].settings_dict, "NAME": str(file)})
    yield file
    connections["shop"].close()
    del connections["shop"]


def test_the_journal(said: Said, shop: Path):
    def look(**given: Any) -> list[str]:
        connections["shop"].close()
        return said("I005", DATABASE="shop", BROKER="database://shop", **given)

    def tell(statement: str) -> None:
        with contextlib.closing(sqlite3.connect(shop)) as connection:
            connection.execute(statement)

    assert look(deploy=True) == []
    assert not shop.exists(), "looking has made it"
    tell("CREATE TABLE any_table (id)")
    (text,) = look(deploy=True)
    assert "DATABASES['shop'] is SQLite with journal_mode delete" in text
    assert 'sqlite3 shop.sqlite3 "PRAGMA journal_mode = WAL"' in text
    assert look() == [], "without --deploy the file is not opened"
    tell("PRAGMA journal_mode = WAL")
    assert look(deploy=True) == []
