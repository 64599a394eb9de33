"""The reference of the admin says what there is: every permission, and every address of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission

from django_jobs.models import FailedJob, JobResult, PeriodicRun, PeriodicTask, Workflow

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/admin.rst").read_text()
SHOWN = (FailedJob, JobResult, PeriodicRun, PeriodicTask, Workflow)
#: What every model of the admin has.
STOCK = ("changelist", "add", "history", "delete", "change")


def terms(heading: str) -> set[str]:
    section = PAGE.split(f"{heading}\n{'-' * len(heading)}\n")[1]
    section = re.split(r"\n-+\n", section)[0]
    lines = re.findall(r"^(``[^`]+``(?:, ``[^`]+``)*)$", section, re.MULTILINE)
    return {term for line in lines for term in re.findall(r"``([^`]+)``", line)}


@pytest.mark.django_db
def test_every_permission_of_a_page_is_explained():
    names = {model._meta.model_name for model in SHOWN}
    made = Permission.objects.filter(content_type__app_label="django_jobs", content_type__model__in=names)
    assert terms("Permissions") == set(made.values_list("codename", flat=True))


def test_every_address_of_ours_is_explained():
    found = set()
    for model in SHOWN:
        prefix = f"{model._meta.app_label}_{model._meta.model_name}"
        urls = admin.site._registry[model].get_urls()
        found |= {url.name for url in urls if url.name} - {f"{prefix}_{page}" for page in STOCK}
    assert terms("Addresses") == found
