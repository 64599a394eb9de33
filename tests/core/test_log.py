"""Log records know their job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobs.envelope import Job
from django_jobs.execution import execute
from django_jobs.log import FIELDS, JobContextFilter, get_job_logger
from django_jobs.task import Task
from tests.core import tasks

Make = Callable[..., Task[..., Any]]


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.records: list[logging.LogRecord] = []
        self.setFormatter(logging.Formatter("%(job_id)s|%(job_task)s|%(job_queue)s|%(job_attempt)s|%(message)s"))
        self.addFilter(JobContextFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Iterator[Kept]:
    logger, handler = logging.getLogger("tests.core.shop"), Kept()
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield handler
    logger.removeHandler(handler)


def run_in_a_job(task_of: Make, function: Callable[[], Any], retries: int = 0) -> None:
    tasks.CALLS["it"] = function
    task = task_of(tasks.run, name="shop.pack")
    execute(Job(id="id-1", task=task.name, queue="mail", packed_args=["it"], retries=retries))


def test_records_of_a_job_name_it(kept: Kept, task_of: Make):
    run_in_a_job(task_of, lambda: logging.getLogger("tests.core.shop").info("packed %d", 3), retries=1)
    assert kept.lines == ["id-1|shop.pack|mail|2|packed 3"]


def test_records_outside_of_a_job_have_the_fields_too(kept: Kept):
    logging.getLogger("tests.core.shop").info("hello")
    assert kept.lines == ["|||0|hello"]
    assert all(hasattr(kept.records[0], field) for field in FIELDS)


def test_a_record_keeps_the_job_that_it_has(kept: Kept, task_of: Make):
    """A record that passes two handlers, or comes from another process, is not changed."""
    logging.getLogger("tests.core.shop").info(
        "x", extra={"job_id": "other", "job_task": "t", "job_queue": "q", "job_attempt": 9}
    )
    assert kept.lines == ["other|t|q|9|x"]


def test_the_logger_of_jobs_writes_task_and_id(kept: Kept, task_of: Make):
    logger = get_job_logger("tests.core.shop")
    run_in_a_job(task_of, lambda: logger.info("packed %d", 3))
    logger.info("outside")
    assert [line.rpartition("|")[2] for line in kept.lines] == ["shop.pack[id-1] packed 3", "outside"]
