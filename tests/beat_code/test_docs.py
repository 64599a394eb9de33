"""The reference has every field of periodic tasks and of their runs, and nothing else; the settings have every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_jobs.beat.declared import FIELDS
from django_jobs.celery_names import SCHEDULE_KEYS as CELERY_KEYS
from django_jobs.conf import SCHEDULE_KEYS
from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.models.periodic import CatchUp, Outcome, Overlap
from tests.test_docs import entries

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guide/periodic.rst").read_text()


@pytest.mark.parametrize("model", [PeriodicTask, PeriodicRun])
def test_every_field_has_its_entry(model: type[PeriodicTask | PeriodicRun]):
    written = entries("periodic")[model.__name__]
    assert set(written) == {field.name for field in model._meta.concrete_fields}
    assert all(text.strip() for text in written.values())


def test_every_choice_is_said():
    written = entries("periodic")
    for field, choices in (("catch_up", CatchUp), ("overlap", Overlap)):
        assert set(re.findall(r"``(\w+)``", written["PeriodicTask"][field])) == set(choices.values)
        assert all(SCHEDULE_KEYS[field].accepts(value) for value in choices.values)
    assert set(re.findall(r"``(\w+)``[;,:]", written["PeriodicRun"]["outcome"])) == set(Outcome.values)


def test_code_may_declare_what_people_may_edit_but_the_name():
    editable = {field.name for field in PeriodicTask._meta.concrete_fields if field.editable}
    assert set(FIELDS) == editable - {"id", "name"}
    assert set(FIELDS) == set(SCHEDULE_KEYS)
    defaults = {field.name: field.get_default() for field in PeriodicTask._meta.concrete_fields}
    for name in ("queue", "priority", "expires", "timezone", "enabled", "one_off", "catch_up", "overlap", "jitter"):
        assert SCHEDULE_KEYS[name].default == defaults[name], name


def test_keys_of_celery_are_none_of_ours():
    assert not set(CELERY_KEYS) & set(SCHEDULE_KEYS)


def test_the_guide_names_every_policy():
    _, _, section = GUIDE.partition("\nWhen nobody was there\n")
    section = section.partition("\nCode and operators\n")[0]
    named = set(re.findall(r"^``(\w+)``", section, re.MULTILINE))
    assert named <= set(FIELDS)
    assert {"catch_up", "overlap", "start_deadline", "jitter", "expires", "starts", "ends", "one_off"} <= named
