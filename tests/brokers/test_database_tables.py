"""The tables of the database broker on every database."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connections

from django_jobs.models import QueuedJob
from tests.services import alias_of, why_missing

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

VENDORS = ("sqlite", "postgres", "mariadb")


@pytest.fixture(params=VENDORS)
def alias(request: pytest.FixtureRequest) -> str:
    found = alias_of(request.param)
    if found is None:
        pytest.skip(why_missing(request.param))
    return found


def test_the_migration_says_what_the_models_say():
    call_command("makemigrations", "django_jobs", check=True, dry_run=True, verbosity=0)


def test_every_place_has_an_index_of_its_own(alias: str):
    connection = connections[alias]
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, QueuedJob._meta.db_table)
    places = {
        name: found[name]["columns"] for name in found if name.startswith("django_jobs_") and found[name]["index"]
    }
    led = [] if connection.features.supports_partial_indexes else ["state"]
    assert places == {
        "django_jobs_ready": [*led, "queue", "precedence", "moment", "id"],
        "django_jobs_scheduled": [*led, "queue", "moment"],
        "django_jobs_in_flight": [*led, "consumer", "queue"],
        "django_jobs_dead": [*led, "queue", "moment"],
    }
