"""A Redis that comes back with an older state: what has ended does not run again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_jobs import relay
from django_jobs.brokers import get_broker
from django_jobs.exceptions import BrokerUnavailable
from django_jobs.results import get_store
from django_jobs.signals import broker_lost_continuity
from django_jobs.worker import continuity
from django_jobs.worker.relayer import Relayer
from tests.app import jobs
from tests.handles.conftest import TinyWorker
from tests.services import RedisServer, private_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with private_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as made:
        yield made


@pytest.fixture
def worker(server: RedisServer, transactional_db: None) -> Iterator[TinyWorker]:
    with override_settings(DJANGO_JOBS={"BROKER": server.url, "PREFIX": f"t{uuid4().hex[:12]}"}):
        yield TinyWorker().listen()
        get_broker().close()


@pytest.fixture
def news() -> Iterator[list[int]]:
    heard: list[int] = []

    def listen(relayed: int, **kwargs: Any) -> None:
        heard.append(relayed)

    broker_lost_continuity.connect(listen)
    yield heard
    broker_lost_continuity.disconnect(listen)


def again(call: Callable[[], Any]) -> Any:
    """Call until the broker has connected anew."""
    for _ in range(5):
        try:
            return call()
        except BrokerUnavailable:
            continue
    return call()


def run_all(worker: TinyWorker) -> int:
    """Run what a worker would run, and return how many jobs that were."""
    count = 0
    while claimed := again(lambda: worker.claim(50)):
        to_run = worker.settler.check_redelivered(claimed) if worker.settler.concerns(claimed) else claimed
        worker.finish(to_run)
        count += len(to_run)
    return count


def keep_data(server: RedisServer, path: Path) -> None:
    shutil.copytree(server.directory, path, dirs_exist_ok=True)


def restart_with(server: RedisServer, path: Path) -> None:
    """Let the server come back as it was when this was kept: a power failure that took what came after."""
    server.kill()
    shutil.rmtree(server.directory)
    shutil.copytree(path, server.directory)
    server.start()


def test_what_has_ended_does_not_run_again(
    server: RedisServer, worker: TinyWorker, tmp_path: Path, news: list[int]
) -> None:
    sent = jobs.add.enqueue_many([((n, n), {}) for n in range(30)])
    retried = jobs.flaky.apply_async((1,), retry_backoff=600)
    keep_data(server, tmp_path / "kept")
    assert run_all(worker) == 31
    assert news == []
    restart_with(server, tmp_path / "kept")
    assert again(lambda: get_broker().counts(["default"]))[0].ready == 31
    later = jobs.add.delay(1, 2)
    worker = TinyWorker().listen()
    assert run_all(worker) == 1
    assert [handle.get(timeout=5) for handle in sent] == [2 * n for n in range(30)]
    assert later.get(timeout=5) == 3
    assert (retried.state, retried.retries) == ("RETRY", 1)
    (counts,) = get_broker().counts(["default"])
    assert (counts.ready, counts.scheduled, counts.in_flight) == (0, 1, 0)
    assert news == [0]


def test_a_worker_that_was_there_before_notices_it_too(
    server: RedisServer, worker: TinyWorker, tmp_path: Path, news: list[int]
) -> None:
    jobs.add.enqueue_many([((n, n), {}) for n in range(5)])
    keep_data(server, tmp_path / "kept")
    assert run_all(worker) == 5
    restart_with(server, tmp_path / "kept")
    again(worker.listen)
    assert run_all(worker) == 0
    assert news == [0]


def test_without_a_loss_nothing_is_looked_up(worker: TinyWorker) -> None:
    jobs.add.delay(1, 2)
    assert not worker.settler.concerns(worker.claim())
    jobs.add.enqueue_many([((n, n), {}) for n in range(5)])
    claimed = worker.claim(5)
    with CaptureQueriesContext(connection) as queries:
        assert not worker.settler.concerns(claimed)
    assert len(queries) == 0


def test_what_was_sent_after_the_loss_is_not_looked_up(
    server: RedisServer, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuity, "MARGIN_MS", -1)
    jobs.add.delay(1, 2)
    run_all(worker)
    server.call("FLUSHALL")
    Relayer(get_broker(), get_store(), seconds=1).beat()
    worker = TinyWorker().listen()
    jobs.add.delay(1, 2)
    assert not worker.settler.concerns(worker.claim())


def test_a_keeper_has_the_outbox_handed_over_again(server: RedisServer, worker: TinyWorker, news: list[int]) -> None:
    sent = jobs.add.apply_async((1, 2), outbox=True)
    assert relay.finish(20)
    keeper = Relayer(get_broker(), get_store(), seconds=1)
    keeper.beat()
    server.call("FLUSHALL")
    assert get_broker().find(sent.id, "default") is None
    keeper.beat()
    assert get_broker().find(sent.id, "default") is not None
    assert news == [1]
    keeper.beat()
    Relayer(get_broker(), get_store(), seconds=1).beat()
    assert news == [1]
    assert run_all(TinyWorker().listen()) == 1
