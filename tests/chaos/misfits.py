"""Sends what no worker can run: past the checks of delay(), as an older or a newer release might."""

from __future__ import annotations

import sys
from pathlib import Path

import django


def main(directory: Path) -> None:
    django.setup()
    from django_jobs.brokers import get_broker
    from django_jobs.brokers.base import Message
    from django_jobs.clock import now_ms
    from django_jobs.exceptions import PayloadTooLarge
    from django_jobs.identifiers import new_id
    from tests.chaos.ledger import ACKED, TRIED, Notebook
    from tests.chaos.site.jobs import work

    tried, acked = Notebook(directory / TRIED), Notebook(directory / ACKED)
    bodies = (
        b"\x00\xff not a message",
        b'{"v":1,"task":"nowhere.jobs.gone","at":%d}' % (now_ms() - 60_000),
        b'{"v":999,"task":"tests.chaos.site.jobs.work","at":%d}' % (now_ms() - 60_000),
    )
    for body in bodies:
        job_id = new_id()
        tried.write(job_id)
        get_broker().enqueue([Message(id=job_id, queue="default", body=body)])
        acked.write(job_id)
    try:
        work.delay("x" * 10_000_000)  # type: ignore[arg-type]
    except PayloadTooLarge as error:
        print(f"PayloadTooLarge: {error}"[:200])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
