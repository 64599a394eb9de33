"""Sends a job as the first release wrote it, byte by byte: no later one may fail to read it."""

from __future__ import annotations

import sys
from pathlib import Path

import django


def main(directory: Path) -> None:
    django.setup()
    from django_jobs.brokers import get_broker
    from django_jobs.brokers.base import Message
    from django_jobs.identifiers import new_id
    from tests.chaos.ledger import ACKED, TRIED, Notebook

    job_id = new_id()
    Notebook(directory / TRIED).write(job_id)
    body = (
        b'{"v":1,"task":"tests.chaos.site.jobs.work","at":1700000000000,"args":[1.5],"priority":3,"headers":{"a":"b"}}'
    )
    get_broker().enqueue([Message(id=job_id, queue="default", body=body, priority=3)])
    Notebook(directory / ACKED).write(job_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
