"""The options of tasks and calls: where they come from, which one wins, and what is said about a wrong one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_jobs.celery_names import OPTIONS as CELERY_OPTIONS
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.options import (
    OPTION_NAMES,
    TRAVELLING_OPTIONS,
    TaskOptions,
    check_names,
    is_queue_name,
    resolve,
    with_overrides,
)


def test_an_option_says_where_it_comes_from_and_the_most_specific_wins():
    tasks: dict[str, dict[str, Any]] = {
        "*": {"queue": "any", "priority": 1, "max_retries": 1},
        "shop.*": {"queue": "shop", "priority": 2},
        "shop.jobs.*": {"priority": 3},
        "shop.jobs.report": {"ignore_result": True, "queue": "exact"},
        "other.*": {"queue": "other"},
    }
    report = resolve("shop.jobs.report", {"queue": "declared", "track_started": True}, tasks)
    assert report == TaskOptions(queue="exact", priority=3, max_retries=1, ignore_result=True, track_started=True)
    assert resolve("shop.jobs.mail", {"queue": "declared"}, tasks).queue == "declared"
    assert resolve("shop.jobs.mail", {}, tasks).queue == "shop"
    assert resolve("blog.jobs.mail", {}, tasks).queue == "any"


@pytest.mark.parametrize("patterns", [["*", "a.*", "a.b*"], ["a.b*", "a.*", "*"], ["a.*", "a.b*", "*"]])
def test_the_order_of_the_patterns_says_nothing(patterns: list[str]):
    assert resolve("a.b.c", {}, {pattern: {"queue": f"q{len(pattern)}"} for pattern in patterns}).queue == "q4"


def test_patterns_care_about_case():
    assert resolve("shop.Jobs.f", {}, {"shop.jobs.*": {"queue": "x"}}).queue == "default"


def test_a_specific_way_to_retry_replaces_a_general_one():
    policy = lambda job, error: 1  # noqa: E731
    general = {"*": {"autoretry_for": (OSError,), "retry_backoff": True}}
    declared = resolve("t", {"retry": policy}, general)
    assert (declared.retry, declared.autoretry_for, declared.retry_backoff) == (policy, (), False)
    back = resolve("t", {"retry": policy}, {"t": {"retry_backoff": 5}})
    assert (back.retry, back.retry_backoff) == (None, 5)
    with pytest.raises(JobsConfigurationError, match="retry= decides alone"):
        resolve("t", {"retry": policy, "autoretry_for": OSError}, {})


def test_an_unknown_option_of_the_project_names_the_task_and_the_nearest_option():
    with pytest.raises(JobsConfigurationError) as caught:
        resolve("shop.f", {}, {"shop.*": {"max_retry": 1}})
    assert str(caught.value).startswith(
        "DJANGO_JOBS['TASKS'] for shop.f has no option 'max_retry'. Did you mean 'max_retries'?"
    )


def test_a_wrong_value_of_the_project_names_its_place():
    with pytest.raises(
        JobsConfigurationError, match=r"^DJANGO_JOBS\['TASKS'\] for shop\.f: The option priority must be"
    ):
        resolve("shop.f", {}, {"shop.*": {"priority": 1000}})


def test_the_message_for_an_unknown_option_lists_the_known_ones():
    with pytest.raises(JobsConfigurationError) as caught:
        check_names({"zzz": 1}, OPTION_NAMES, "@job of f")
    assert str(caught.value) == f"@job of f has no option 'zzz'. Known options: {', '.join(OPTION_NAMES)}."


@pytest.mark.parametrize("name", sorted(CELERY_OPTIONS))
def test_an_option_of_celery_gets_a_message_of_its_own(name: str):
    with pytest.raises(JobsConfigurationError) as caught:
        check_names({name: 1}, OPTION_NAMES, "@job of f")
    assert CELERY_OPTIONS[name] in str(caught.value)
    assert name not in OPTION_NAMES, "an option that exists needs no message about its absence"


GOOD: dict[str, list[Any]] = {
    "queue": ["a", "A-b_c.9", "x" * 64],
    "using": [None, "replica"],
    "on_commit": [None, True, False],
    "priority": [-100, 0, 100],
    "max_retries": [None, 0, 10],
    "default_retry_delay": [0, 1.5, timedelta(minutes=1)],
    "autoretry_for": [(), OSError, (OSError, ValueError), [KeyError]],
    "dont_autoretry_for": [(), OSError],
    "retry_backoff": [True, False, 0, 2, 0.5, timedelta(seconds=3)],
    "retry_backoff_max": [0, 600, timedelta(hours=1)],
    "retry_jitter": [True, False],
    "retry": [None, lambda job, error: 1],
    "throws": [(), ValueError],
    "expires": [None, 0, 60, timedelta(days=1)],
    "max_deliveries": [1, 3],
    "soft_time_limit": [None, 0.5, 60, timedelta(minutes=1)],
    "time_limit": [None, 0.5, 60, timedelta(minutes=1)],
    "outbox": [None, True, False],
    "atomic": [True, False],
    "missing": ["fail", "discard"],
    "ignore_result": [True, False],
    "track_started": [True, False],
    "result_expires": [None, 60, timedelta(days=1), timedelta(days=36_525)],
    "store_errors_even_if_ignored": [True, False],
    "sensitive": [(), ["password"], ("a", "b")],
}
BAD: dict[str, list[Any]] = {
    "queue": ["", "x" * 65, "a b", "a/b", "ä", None, 7, "a\n", "..", ".a", "-x"],
    "using": [7],
    "on_commit": [1, "yes"],
    "priority": [-101, 101, 1.5, True, None, "high"],
    "max_retries": [-1, 1.5, True, "3"],
    "default_retry_delay": [-1, None, "1", True, float("inf"), float("nan"), timedelta(seconds=-1)],
    "autoretry_for": [None, "OSError", OSError(), (OSError, "x"), int],
    "dont_autoretry_for": [None, int],
    "retry_backoff": [None, -1, "x", float("inf")],
    "retry_backoff_max": [-1, None, float("inf"), 1e30],
    "retry_jitter": [0, None],
    "retry": [True, 5, "x"],
    "throws": [None, int],
    "expires": [-1, True, "x", float("nan"), timedelta.max],
    "max_deliveries": [0, None, True, 1.5],
    "soft_time_limit": [0, -1, True, "1m", float("inf")],
    "time_limit": [0, -1, True, "1m", float("inf")],
    "outbox": [1, "yes"],
    "atomic": [None, 1],
    "missing": ["ignore", None],
    "ignore_result": [None, 1],
    "track_started": [None],
    "result_expires": [-1, "x", 1e30, 10**400, timedelta.max],
    "store_errors_even_if_ignored": [None],
    "sensitive": ["password", [1], None, {1}],
}


def test_every_option_is_tested():
    assert set(GOOD) == set(BAD) == set(OPTION_NAMES)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_what_an_option_takes(name: str, value: Any):
    assert getattr(TaskOptions(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_what_an_option_refuses(name: str, value: Any):
    with pytest.raises(JobsConfigurationError, match=f"^The option {name} must be "):
        TaskOptions(**{name: value})


@pytest.mark.parametrize("soft", [10, 11, timedelta(seconds=10)])
def test_a_soft_limit_comes_before_the_hard_one(soft: Any):
    with pytest.raises(JobsConfigurationError, match="must be shorter than time_limit"):
        TaskOptions(soft_time_limit=soft, time_limit=10)
    TaskOptions(soft_time_limit=9.5, time_limit=timedelta(seconds=10))


def test_the_refusal_of_retry_as_a_flag_says_that_it_is_celerys():
    with pytest.raises(JobsConfigurationError, match="Celery's retry=True has no meaning here"):
        TaskOptions(retry=True)  # type: ignore[arg-type]


def test_overrides_of_a_call_replace_and_are_checked():
    options = TaskOptions(max_retries=1, queue="mail")
    assert with_overrides(options, {}) is options
    assert with_overrides(options, {"max_retries": 7}) == TaskOptions(max_retries=7, queue="mail")
    with pytest.raises(JobsConfigurationError, match="max_retries"):
        with_overrides(options, {"max_retries": -7})


def test_what_travels_with_a_job_is_an_option():
    assert set(OPTION_NAMES) >= TRAVELLING_OPTIONS


def test_names_of_queues():
    assert is_queue_name("default")
    assert is_queue_name("_a")
    assert is_queue_name("9.a-")
    assert not is_queue_name(b"default")
