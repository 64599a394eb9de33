"""A row that SQL has damaged: the pages of the others live, and say which one it is."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client, override_settings
from django.utils.html import escape

from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.models.periodic import Outcome
from tests.admin.schedules import PERIODIC, RUNS, filled
from tests.beat.conftest import UNREADABLE
from tests.services import database_aliases


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("alias", [pytest.param(alias, id=connections[alias].vendor) for alias in database_aliases()])
def test_the_pages_of_the_others_live(alias: str):
    client = Client()
    client.force_login(User.objects.create_superuser("ana"))
    change, said = UNREADABLE[connections[alias].vendor]
    with override_settings(DJANGO_JOBS={"DATABASE": alias, "BROKER": f"database://{alias}"}):
        rows = PeriodicTask.objects.using(alias)
        for name in ("bad", "good"):
            assert client.post(f"{PERIODIC}add/", filled(name=name)).status_code == 302
        bad = rows.get(name="bad")
        assert client.post(f"{PERIODIC}{bad.pk}/run/").status_code == 302
        with connections[alias].cursor() as cursor:
            cursor.execute(f"UPDATE django_jobs_periodictask SET {change} WHERE id = %s", [bad.pk])
        try:
            look(
                client,
                alias,
                f"The row with the key {bad.pk} cannot be read: {escape(said)}. Correct it by SQL.",
                bad.pk,
            )
        finally:
            rows.filter(pk=bad.pk).update(ends=None, created=bad.created)


def look(client: Client, alias: str, advice: str, pk: int) -> None:
    page = client.get(PERIODIC).content.decode()
    assert f"“bad”: {advice}" in page
    assert page.count('class="dj-name"') == 1
    for url in (f"{PERIODIC}{pk}/change/", f"{PERIODIC}{pk}/delete/"):
        page = client.get(url).content.decode()
        assert advice in page
        assert "until the database answers" not in page
    assert advice in client.post(f"{PERIODIC}{pk}/run/").content.decode()
    assert ">bad</a>" in client.get(RUNS).content.decode()
    run = PeriodicRun.objects.using(alias).get()
    assert "Run of bad" in client.get(f"{RUNS}{run.pk}/change/").content.decode()
    for action in ("run_selected", "export_selected", "disable_selected", "delete_selected"):
        sent = {"action": action, "_selected_action": [pk], "select_across": "1", "confirmed": "yes", "post": "yes"}
        assert client.post(PERIODIC, sent).status_code in (200, 302), action
    assert list(PeriodicTask.objects.using(alias).values_list("name", flat=True)) == ["bad"]
    assert PeriodicRun.objects.using(alias).filter(outcome=Outcome.SENT).count() == 1, "the runs of the other are gone"
