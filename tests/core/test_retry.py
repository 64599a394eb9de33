"""When a failed attempt is tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.envelope import Job
from django_jobs.exceptions import MaxRetriesExceeded, Retry
from django_jobs.options import TaskOptions
from django_jobs.retry import Delays, backoff, delay_after, matches


def job_after(retries: int) -> Job:
    return Job(id="x", task="t", queue="q", retries=retries)


SET = TaskOptions(autoretry_for=(OSError,), dont_autoretry_for=(TimeoutError,), retry_jitter=False)
LATER = TaskOptions(retry=lambda job, error: timedelta(minutes=job.retries) if isinstance(error, OSError) else None)


@pytest.mark.parametrize(
    ("options", "retries", "error", "delay"),
    [
        # Nothing is retried by itself.
        (TaskOptions(), 0, OSError(), None),
        # autoretry_for, and the exceptions from it.
        (SET, 0, OSError(), 180.0),
        (SET, 2, OSError(), 180.0),
        (SET, 3, OSError(), None),
        (SET, 0, ConnectionError(), 180.0),
        (SET, 0, TimeoutError(), None),
        (SET, 0, ValueError(), None),
        (TaskOptions(autoretry_for=OSError, default_retry_delay=timedelta(seconds=7)), 0, OSError(), 7.0),
        (TaskOptions(autoretry_for=OSError, max_retries=None), 10**6, OSError(), 180.0),
        (TaskOptions(autoretry_for=OSError, max_retries=0), 0, OSError(), None),
        (TaskOptions(autoretry_for=BaseException), 0, SystemExit(), 180.0),
        # The task asks for it.
        (TaskOptions(), 0, Retry(), 180.0),
        (TaskOptions(), 0, Retry(5), 5.0),
        (TaskOptions(), 0, Retry(timedelta(minutes=2)), 120.0),
        (TaskOptions(), 0, Retry(0), 0.0),
        (TaskOptions(), 0, Retry(-5), 0.0),
        (TaskOptions(), 2, Retry(5), 5.0),
        (TaskOptions(), 3, Retry(5), None),
        (TaskOptions(), 3, Retry(5, max_retries=4), 5.0),
        (TaskOptions(), 1, Retry(5, max_retries=1), None),
        (TaskOptions(), 99, Retry(5, max_retries=None), 5.0),
        # What says that there are no retries left is not retried.
        (TaskOptions(autoretry_for=Exception), 0, MaxRetriesExceeded(), None),
        # A policy of one's own.
        (LATER, 0, OSError(), 0.0),
        (LATER, 2, OSError(), 120.0),
        (LATER, 0, ValueError(), None),
        (LATER, 3, OSError(), None),
        (TaskOptions(retry=lambda job, error: -5), 0, OSError(), 0.0),
    ],
    ids=lambda value: "" if isinstance(value, TaskOptions) else str(value),
)
def test_what_follows_an_error(options: TaskOptions, retries: int, error: BaseException, delay: float | None):
    assert delay_after(options, job_after(retries), error) == delay


@pytest.mark.parametrize("wrong", ["5", True, [5]])
def test_a_wrong_countdown_is_an_error_where_it_is_written(wrong: Any):
    with pytest.raises(TypeError, match=r"Retry\(\) takes seconds from now or a timedelta"):
        Retry(wrong)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_countdown_that_never_ends_is_refused(wrong: float):
    with pytest.raises(ValueError, match=r"Retry\(\) takes seconds from now"):
        Retry(wrong)


@pytest.mark.parametrize(
    ("factor", "maximum", "delays"),
    [
        (True, 600, [1, 2, 4, 8, 16]),
        (True, 5, [1, 2, 4, 5, 5]),
        (10, 600, [10, 20, 40, 80, 160]),
        (0.5, timedelta(seconds=2), [0.5, 1, 2, 2, 2]),
        (timedelta(seconds=3), 600, [3, 6, 12, 24, 48]),
        (False, 600, [180, 180, 180, 180, 180]),
    ],
)
def test_backoff_doubles_up_to_its_maximum(factor: Any, maximum: Any, delays: list[float]):
    options = TaskOptions(retry_backoff=factor, retry_backoff_max=maximum, retry_jitter=False)
    assert [backoff(options, retries) for retries in range(5)] == delays


def test_backoff_of_a_job_that_is_retried_for_ever_does_not_overflow():
    assert backoff(TaskOptions(retry_backoff=True, retry_jitter=False), 10**9) == 600


@given(st.integers(0, 200), st.floats(0.01, 100), st.integers(0, 3600))
def test_jitter_stays_between_now_and_the_backoff(retries: int, factor: float, maximum: int):
    options = TaskOptions(retry_backoff=factor, retry_backoff_max=maximum)
    whole = backoff(TaskOptions(retry_backoff=factor, retry_backoff_max=maximum, retry_jitter=False), retries)
    assert 0 <= backoff(options, retries) <= whole <= maximum


def test_jitter_uses_the_whole_range():
    options = TaskOptions(retry_backoff=100)
    drawn = [backoff(options, 0) for _ in range(2_000)]
    assert min(drawn) < 10
    assert max(drawn) > 90
    assert 40 < sum(drawn) / len(drawn) < 60


def test_without_backoff_the_delay_has_no_jitter():
    assert {backoff(TaskOptions(default_retry_delay=9), 0) for _ in range(20)} == {9.0}


@pytest.mark.parametrize(
    ("retries", "error", "least", "most"),
    [(0, OSError(), 5, 5.5), (1, OSError(), 60, 66), (2, OSError(), None, None), (0, ValueError(), None, None)],
)
def test_a_list_of_delays(retries: int, error: Exception, least: float | None, most: float | None):
    policy: Callable[[Any, BaseException], float | None] = Delays(delays=[5, timedelta(minutes=1)], on=OSError)
    delay = delay_after(TaskOptions(retry=policy), job_after(retries), error)
    if least is None or most is None:
        assert delay is None
    else:
        assert delay is not None
        assert least <= delay <= most


def test_matching_takes_a_class_or_several():
    assert matches(KeyError(), LookupError)
    assert matches(KeyError(), [ValueError, LookupError])
    assert not matches(KeyError(), ())
