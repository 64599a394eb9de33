"""Tasks that the rows of these tests name."""

from __future__ import annotations

from django_jobs import chain, job
from django_jobs.context import JobContext


@job(queue="mail", max_retries=4, autoretry_for=(OSError,))
def send_receipt(order_id: int) -> str:
    return f"sent {order_id}"


@job
def export_csv(report: str) -> None:
    return None


@job(max_retries=None)
def keep_on() -> None:
    return None


# Steps of workflows


@job
def fetch(*args: object) -> str:
    return "picture"


@job(max_retries=2)
def resize(*args: object, fails: bool = False, **kwargs: object) -> str:
    if fails:
        raise ValueError("no such picture")
    return "small picture"


@job
def publish(*args: object) -> int:
    return 1


@job
def notify(*args: object) -> None:
    return None


@job
def apologize(request: object, exception: object, traceback: object) -> None:
    return None


@job(bind=True)
def choose(self: JobContext, *args: object) -> None:
    self.replace(chain(fetch.si(), publish.si()))
