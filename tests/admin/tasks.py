"""Tasks that the rows of these tests name."""

from __future__ import annotations

from django_jobs import job


@job(queue="mail", max_retries=4, autoretry_for=(OSError,))
def send_receipt(order_id: int) -> str:
    return f"sent {order_id}"


@job
def export_csv(report: str) -> None:
    return None


@job(max_retries=None)
def keep_on() -> None:
    return None
