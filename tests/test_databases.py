"""The databases of the test settings, as a test and the processes that it starts see them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from django.db import connections
from django.utils import timezone

from tests.services import DATABASE_VARIABLES, alias_of, database_aliases, why_missing

READ = """
import django; django.setup()
from django.contrib.sessions.models import Session
print(Session.objects.using("{alias}").get().session_data)
"""


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", database_aliases())
def test_a_process_that_a_test_starts_sees_what_the_test_committed(
    alias: str, child_environment: Callable[..., dict[str, str]]
):
    Session.objects.using(alias).create(session_key="k", session_data=f"in {alias}", expire_date=timezone.now())
    read = [sys.executable, "-c", READ.format(alias=alias)]
    done = subprocess.run(read, env=child_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == f"in {alias}", done.stderr


@pytest.mark.parametrize("database", DATABASE_VARIABLES)
def test_every_server_is_a_database_of_the_settings(database: str):
    alias = alias_of(database)
    if alias is None:
        pytest.skip(why_missing(database))
    assert connections[alias].vendor == {"postgres": "postgresql", "mariadb": "mysql"}[database]
    assert connections[alias].settings_dict["HOST"] in {"127.0.0.1", "localhost"}


def test_sqlite_is_a_file_in_a_directory_of_this_run():
    alias = alias_of("sqlite")
    assert alias is not None
    assert Path(connections[alias].settings_dict["NAME"]).parent.name.startswith("django-jobs-sqlite-")
