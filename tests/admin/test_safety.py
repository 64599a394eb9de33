"""What keeps the pages safe, held against their sources: escaping, a strict policy for content, tokens in forms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

import django_jobs
from tests.admin.results import client_with, make_failure

ROOT = Path(django_jobs.__file__).parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
MODULES = sorted([*(ROOT / "admin").glob("*.py"), *(ROOT / "templatetags").glob("*.py")])
#: What a policy of "default-src 'self'" refuses, and what leaves something unescaped.
FORBIDDEN = r"<script\b|<style\b|\sstyle=|\son\w+=|javascript:|\|\s*safe\b|autoescape|safeseq|https?://"


def test_there_is_something_to_look_at():
    assert len(TEMPLATES) > 5
    assert len(MODULES) > 5


@pytest.mark.parametrize("path", [*TEMPLATES, *MODULES], ids=lambda path: path.name)
def test_nothing_is_inline_foreign_or_unescaped(path):
    assert re.findall(FORBIDDEN, path.read_text()) == []
    assert not re.search(r"mark_safe|SafeString\(", path.read_text())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_form_posts_with_a_token(path):
    forms = re.findall(r"<form\b.*?</form>", path.read_text(), re.DOTALL)
    assert [form for form in forms if 'method="post"' not in form or "{% csrf_token %}" not in form] == []


def test_the_style_asks_for_nothing_from_elsewhere():
    style = (ROOT / "static/django_jobs/admin.css").read_text()
    assert not re.search(r"url\(|@import", style)


def test_a_selection_needs_a_token(operator):
    job = make_failure()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    sent = {"action": "delete_selected", "confirmed": "1", "_selected_action": str(job.pk)}
    for path in ("", f"{job.pk}/do/retry/", f"{job.pk}/do/discard/", f"{job.pk}/delete/"):
        assert strict.post(f"/admin/django_jobs/failedjob/{path}", sent).status_code == 403, path
    job.refresh_from_db()
    assert job.state == "FAILURE"


def test_whoever_may_only_look_changes_nothing(db):
    job = make_failure()
    client = client_with("view_failedjob", "view_jobresult")
    for model in ("failedjob", "jobresult"):
        for path in (f"{job.pk}/do/retry/", f"{job.pk}/do/discard/", f"{job.pk}/delete/"):
            assert client.post(f"/admin/django_jobs/{model}/{path}", {"post": "yes"}).status_code == 403, path
        for action in ("retry_selected", "discard_selected", "delete_selected"):
            sent = {"action": action, "confirmed": "1", "_selected_action": str(job.pk)}
            assert client.post(f"/admin/django_jobs/{model}/", sent).status_code == 403, action
    job.refresh_from_db()
    assert job.state == "FAILURE"
