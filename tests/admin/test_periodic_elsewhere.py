"""The pages of periodic tasks in projects that are set up otherwise: another database, no time zones."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client, override_settings

from django_jobs.models import PeriodicRun, PeriodicTask
from tests.admin.schedules import PERIODIC, RUNS, filled
from tests.services import database_aliases


def work(client: Client, alias: str) -> PeriodicTask:
    """Do once everything that can be done to a periodic task, but for deleting it."""
    rows = PeriodicTask.objects.using(alias)
    limits = {"starts_0": "2027-01-01", "starts_1": "00:00", "ends_0": "2099-01-01", "ends_1": "00:00"}
    assert client.post(f"{PERIODIC}add/", filled(**limits)).status_code == 302
    row = rows.get()
    assert "of this name" in client.post(f"{PERIODIC}add/", filled()).content.decode()
    page = f"{PERIODIC}{row.pk}/change/"
    assert client.post(page, filled(**limits, queue="mail")).status_code == 302
    for operation in ("run", "duplicate"):
        assert client.post(f"{PERIODIC}{row.pk}/{operation}/").status_code == 302
    sent = {"action": "disable_selected", "_selected_action": [row.pk]}
    assert client.post(PERIODIC, sent).status_code == 302
    for url in (PERIODIC, f"{PERIODIC}?last=never", page, RUNS, f"{PERIODIC}preview/?schedule=@daily&id={row.pk}"):
        assert client.get(url).status_code == 200, url
    assert sorted(rows.values_list("name", "queue", "enabled")) == [
        ("nightly", "mail", False),
        ("nightly (copy)", "mail", False),
    ]
    assert PeriodicRun.objects.using(alias).get().by_hand
    return row


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", [pytest.param(alias, id=connections[alias].vendor) for alias in database_aliases()])
def test_in_the_database_of_the_jobs(alias):
    client = Client()
    client.force_login(User.objects.create_superuser("ana"))
    with override_settings(DJANGO_JOBS={"DATABASE": alias, "BROKER": f"database://{alias}"}):
        row = work(client, alias)
        assert client.post(f"{PERIODIC}{row.pk}/delete/", {"post": "yes"}).status_code == 302
        assert not PeriodicRun.objects.using(alias).exists()
        copy = PeriodicTask.objects.using(alias).get()
        sent = {"action": "delete_selected", "_selected_action": [copy.pk], "post": "yes"}
        assert client.post(PERIODIC, sent).status_code == 302
        assert not PeriodicTask.objects.using(alias).exists()
    if alias != "default":
        assert not PeriodicTask.objects.using("default").exists()


def test_without_time_zones(operator, settings):
    settings.USE_TZ = False
    assert work(operator, "default").starts == datetime(2027, 1, 1)  # noqa: DTZ001 - which is the point
