"""``DJANGO_JOBS``: defaults, wrong values, and forgetting when it changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from django_jobs.conf import KEYS, SECTIONS, as_ms
from django_jobs.conf import settings as jobs_settings
from django_jobs.exceptions import JobsConfigurationError

ALL = [("", name, key) for name, key in KEYS.items()] + [
    (section, name, key) for section, keys in SECTIONS.items() for name, key in keys.items()
]


@pytest.mark.parametrize(("section", "name", "key"), ALL, ids=lambda value: str(value)[:30])
def test_every_default_is_acceptable_and_explained(section: str, name: str, key: Any):
    assert key.accepts(key.default)
    assert key.help.endswith((".", "?", "else no."))
    assert key.expects


def test_the_sections_are_keys_themselves():
    assert set(SECTIONS) <= set(KEYS)


def test_a_setting_is_read_again_after_it_changed(settings: Settings):
    settings.DJANGO_JOBS = {"MAX_PAYLOAD": 10}
    assert jobs_settings.max_payload == 10
    settings.DJANGO_JOBS = {}
    assert jobs_settings.max_payload == 1024 * 1024
    del settings.DJANGO_JOBS
    assert jobs_settings.max_payload == 1024 * 1024


BAD: dict[str, list[Any]] = {
    "BROKER": ["", None, 5, {}, {"LOCATION": "x"}, {"BACKEND": ""}],
    "PREFIX": ["", "a b", "x" * 33, "--", None, "a:b", "a{b}"],
    "DATABASE": ["", None],
    "QUEUES": [["mail"], {"mail": None}, {1: {}}, None],
    "TASKS": [[], {"a": 5}, {5: {}}],
    "AUTODISCOVER": ["jobs", [1], None],
    "MIDDLEWARE": ["a.b", [None]],
    "RESULTS": [None, []],
    "ON_COMMIT": [1, None],
    "OUTBOX": [1, None],
    "OUTBOX_RESEND": [0, -1, None, True, float("inf")],
    "MAX_PAYLOAD": [0, -1, True, 1.5, "1M"],
    "ENQUEUE_TIMEOUT": [0, -1, None, True, float("inf"), float("nan"), "2"],
    "UNKNOWN_TASK_TTL": [0, None, timedelta(0)],
    "SINGLE_SLOT": [1, "yes"],
    "WORKER": [None, []],
    "SCHEDULE": [[], {"a": 5}, {5: {}}],
    "BEAT": [None, []],
    "BEAT.LATE": [0, None],
    "BEAT.RUNS_EXPIRE": [0, True],
    "ADMIN": [None],
    "RESULTS.STORE": ["", None],
    "RESULTS.OPTIONS": [None, []],
    "RESULTS.EXPIRES": [0, -1, True, float("inf"), 1e30],
    "RESULTS.FAILURES_EXPIRE": [timedelta(0), timedelta.max],
    "WORKER.CONCURRENCY": [0, True, 1.5],
    "WORKER.THREADS": [0, None],
    "WORKER.HEARTBEAT": [0],
    "WORKER.LEASE": [0],
    "WORKER.SUSPECT_TIME": [None],
    "WORKER.GRACE": [-1, None, "30", float("inf")],
    "ADMIN.AUTOREGISTER": [None],
    "ADMIN.MODEL_ADMIN": [""],
}


def test_every_key_is_tested():
    assert set(BAD) == {f"{section}.{name}".lstrip(".") for section, name, _ in ALL}


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in BAD.items() for value in values])
def test_a_wrong_value_is_refused_when_it_is_read_and_named_before(settings: Settings, path: str, value: Any):
    section, _, name = path.rpartition(".")
    settings.DJANGO_JOBS = {section: {name: value}} if section else {name: value}
    where = f"DJANGO_JOBS['{section}']['{name}'] must be " if section else f"DJANGO_JOBS['{name}'] must be "
    with pytest.raises(JobsConfigurationError) as caught:
        _ = jobs_settings.section(section)[name] if section else jobs_settings.top[name]
    assert str(caught.value).startswith(where)
    assert str(caught.value).endswith(f"not {value!r}.")
    assert [problem for problem in jobs_settings.problems() if problem.startswith(where)]


def test_an_unknown_key_is_a_problem_but_stops_nothing(settings: Settings):
    settings.DJANGO_JOBS = {"BROKR": "x", "WORKER": {"CONCURENCY": 2}, "MAX_PAYLOAD": 7}
    assert jobs_settings.max_payload == 7
    top, nested = jobs_settings.problems()
    assert top.startswith("DJANGO_JOBS has no key 'BROKR'. Did you mean 'BROKER'? Known: BROKER, PREFIX")
    assert nested.startswith("DJANGO_JOBS['WORKER'] has no key 'CONCURENCY'. Did you mean 'CONCURRENCY'?")


def test_one_wrong_section_does_not_hide_the_problems_of_the_others(settings: Settings):
    settings.DJANGO_JOBS = {"RESULTS": 5, "WORKER": {"LEASE": 0}}
    assert [problem.partition(" must")[0] for problem in jobs_settings.problems()] == [
        "DJANGO_JOBS['RESULTS']",
        "DJANGO_JOBS['WORKER']['LEASE']",
    ]


def test_what_is_no_dictionary_is_one_problem(settings: Settings):
    settings.DJANGO_JOBS = ["BROKER"]
    assert jobs_settings.problems() == ["DJANGO_JOBS must be a dictionary, not list."]


def test_a_worker_need_not_wait_at_all_when_it_is_stopped(settings: Settings):
    settings.DJANGO_JOBS = {"WORKER": {"GRACE": 0}}
    assert jobs_settings.worker_ms("GRACE") == 0
    assert jobs_settings.problems() == []


@pytest.mark.parametrize(("value", "ms"), [(2, 2000), (0.0015, 2), (timedelta(minutes=1), 60_000)])
def test_durations_are_seconds_or_timedeltas(value: Any, ms: int):
    assert as_ms(value) == ms


def test_durations_are_handed_out_in_milliseconds(settings: Settings):
    settings.DJANGO_JOBS = {
        "RESULTS": {"EXPIRES": 5, "FAILURES_EXPIRE": None},
        "WORKER": {"GRACE": timedelta(minutes=1), "LEASE": 36_525 * 86_400},
    }
    assert jobs_settings.results_ms("EXPIRES") == 5_000
    assert jobs_settings.results_ms("FAILURES_EXPIRE") is None
    assert jobs_settings.worker_ms("GRACE") == 60_000
    assert jobs_settings.worker_ms("LEASE") == 3_155_760_000_000
    assert (jobs_settings.enqueue_timeout_ms, jobs_settings.unknown_task_ttl_ms) == (2_000, 3_600_000)
