"""
How a project uses tasks, as mypy sees it.

A line that ends with ``# error: <text>`` must give an error with that text; no other line may give one. Nothing here is
run.
"""

from __future__ import annotations

from typing import assert_type

from django_jobs import AsyncResult, job, send_job
from django_jobs.context import JobContext


@job
def send_receipt(order_id: int, copies: int = 1, *, language: str = "en") -> str:
    return f"{order_id} {copies} {language}"


@job(queue="mail", max_retries=5)
def with_options(address: str) -> None:
    return None


@job(bind=True)
def bound(self: JobContext, order_id: int) -> float:
    self.progress(1, 2)
    return order_id / int(self.request.retries)


@job
async def fetched(url: str) -> bytes:
    return url.encode()


@job(bind=True, queue="web")
async def fetched_bound(self: JobContext, url: str) -> bytes:
    return url.encode()


def calls() -> None:
    assert_type(send_receipt(7), str)
    assert_type(send_receipt.delay(7), AsyncResult[str])
    assert_type(send_receipt.delay(7, copies=2, language="fr"), AsyncResult[str])
    assert_type(send_receipt.delay(7).get(), str)
    assert_type(send_receipt.apply_async((7,), countdown=5), AsyncResult[str])
    assert_type(send_receipt.enqueue_many([((7,), {})]), list[AsyncResult[str]])
    assert_type(with_options.delay("a@example.org"), AsyncResult[None])
    assert_type(bound.delay(7), AsyncResult[float])
    assert_type(bound(7), float)
    assert_type(fetched.delay("u"), AsyncResult[bytes])
    assert_type(fetched_bound.delay("u"), AsyncResult[bytes])
    send_job("shop.jobs.f", (1,), countdown=5)


def mistakes() -> None:
    send_receipt.delay("7")  # error: incompatible type "str"; expected "int"
    send_receipt.delay()  # error: Missing positional argument "order_id"
    send_receipt.delay(7, 8, 9)  # error: Too many positional arguments
    send_receipt.delay(7, langage="fr")  # error: Unexpected keyword argument "langage"
    send_receipt.delay(7, language=5)  # error: incompatible type "int"; expected "str"
    send_receipt("7")  # error: incompatible type "str"; expected "int"
    with_options.delay(5)  # error: incompatible type "int"; expected "str"
    bound.delay("7")  # error: incompatible type "str"; expected "int"
    bound.delay(None, 7)  # error: Too many
    bound("7")  # error: incompatible type "str"; expected "int"
    fetched.delay(5)  # error: incompatible type "int"; expected "str"
    send_receipt.dealy(7)  # error: has no attribute "dealy"
    job(bind=True)(lambda: None)  # error: incompatible type


async def coroutines() -> None:
    assert_type(await fetched("u"), bytes)
    assert_type(await fetched_bound("u"), bytes)
    assert_type(await send_receipt.adelay(7), AsyncResult[str])
    assert_type(await fetched.adelay("u"), AsyncResult[bytes])
    assert_type(await (await fetched.adelay("u")).aget(), bytes)
    await send_receipt.adelay("7")  # error: incompatible type "str"; expected "int"
