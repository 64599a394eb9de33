"""doctor: each thing that can be wrong is found, explained and mended; and nothing is found where all is well."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from django_jobs import clock, doctor, operations, recovery
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Consumer
from django_jobs.brokers.hazards import Danger, Hazard
from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.models import ConsumerLease, OutboxJob
from django_jobs.results import get_store
from django_jobs.states import State
from tests.app import jobs
from tests.handles.conftest import TinyWorker
from tests.worker.conftest import wait_for

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DOUBT_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "hazards_of", lambda broker: [])


def codes(answer: Any) -> list[str]:
    return [finding["code"] for finding in answer.document]


def lose_leases(queue: str) -> None:
    broker = get_broker()
    if isinstance(broker, RedisBroker):
        lane = broker.lane(queue)
        broker.run(lane.command(b"DEL", lane.keys["consumers"]))
    else:
        ConsumerLease.objects.filter(queue=queue).delete()


def lose_job(job_id: str, queue: str = "default") -> None:
    """Take a job out of the broker, as if it had never got there."""
    get_broker().revoke(job_id, queue)
    assert get_broker().forget([job_id], queue) == 1


def test_nothing_is_wrong(worker: TinyWorker, jobs_command: Run):
    jobs.add.delay(1, 2)
    jobs.asks_again.delay(3600)
    worker.run(2)
    jobs.add.delay(1, 2)
    worker.claim()
    jobs.add.apply_async((1, 2), countdown=60)
    answer = jobs_command("doctor")
    assert (answer.code, answer.out) == (0, "Nothing is wrong.\n")
    assert jobs_command("doctor", "--json").document == []


def test_orphans(worker: TinyWorker, jobs_command: Run):
    sent = jobs.add.delay(1, 2)
    worker.claim()
    lose_leases("default")
    found = jobs_command("doctor")
    assert found.code == 1
    assert "ERROR    orphan: One job is held by who has no lease" in found.out
    assert sent.id in found.out
    refused = jobs_command("doctor", "--fix")
    assert refused.code == 2
    assert sent.state == State.STARTED
    mended = jobs_command("doctor", "--fix", "--yes")
    assert mended.out.endswith("orphan: 1 mended.\n")
    assert sent.state == State.PENDING
    TinyWorker().listen().run()
    assert sent.get(timeout=5) == 3


def test_lost_jobs_and_ghosts(on_redis: dict[str, Any], worker: TinyWorker, jobs_command: Run):
    broker = get_broker()
    assert isinstance(broker, RedisBroker)
    sent = [jobs.add.delay(1, 2) for _ in range(2)]
    lane = broker.lane("default")
    broker.run(lane.command(b"DEL", lane.keys["ready"]))
    broker.run(lane.command(b"ZADD", lane.keys["dead"], b"1", b"x" * 16))
    answer = jobs_command("doctor", "--fix", "--yes", "--json")
    assert codes(answer) == ["lost", "ghost"]
    assert [finding["mended"] for finding in answer.document] == ["lost: 3 mended."] * 2
    assert answer.code == 0
    assert jobs_command("doctor", "--json").document == []
    worker.run(2)
    assert [handle.get(timeout=5) for handle in sent] == [3, 3]


def test_dead_jobs_that_nobody_records(worker: TinyWorker, jobs_command: Run, monkeypatch: pytest.MonkeyPatch):
    buried = [jobs.add.delay(1, 2) for _ in range(3)]
    get_broker().bury(worker.claim(3), reason="for a test")
    revoked = jobs.add.delay(1, 2)
    get_broker().revoke(revoked.id, "default")
    assert jobs_command("doctor", "--json").document == [], "a worker is about to do it"
    monkeypatch.setattr(doctor, "DEAD_MS", -1)
    monkeypatch.setattr("django_jobs.worker.dead_sweep.REVOKERS_MS", -1)
    found = jobs_command("doctor", "--json")
    assert (codes(found), found.code) == (["dead"], 1)
    assert sorted(found.document[0]["ids"]) == sorted(handle.id for handle in (*buried, revoked))
    mended = jobs_command("doctor", "--fix", "--yes")
    assert "dead: 4 recorded." in mended.out
    assert [handle.state for handle in (*buried, revoked)] == ["FAILURE"] * 3 + ["REVOKED"]
    assert get_broker().counts(["default"])[0].dead == 0


class TestNowhere:
    def test_a_retry_that_was_not_sent(self, worker: TinyWorker, jobs_command: Run):
        sent = jobs.flaky.delay(1)
        worker.run()
        lose_job(sent.id)
        assert sent.state == State.RETRY
        assert "was lost on its way" in jobs_command("inspect", sent.id).out
        answer = jobs_command("doctor", "--fix", "--yes", "--json")
        assert (codes(answer), answer.document[0]["ids"]) == (["nowhere"], [sent.id])
        assert answer.document[0]["mended"] == "nowhere: 1 sent again, 0 recorded as failed."
        while sent.state != State.SUCCESS:
            worker.run()
        assert sent.get(timeout=5) == 1
        assert jobs_command("doctor", "--json").document == []

    def test_one_whose_message_was_not_kept(self, worker: TinyWorker, jobs_command: Run):
        sent = jobs.add.delay(1, 2)
        (claimed,) = worker.claim()
        worker.record_only(claimed)
        stored = get_store().get(sent.id)
        assert stored is not None
        get_store().forget([sent.id])
        get_store().record([stored.record._replace(state="STARTED", finished_ms=None, message=None, result=None)])
        get_broker().ack([claimed])
        answer = jobs_command("doctor", "--fix", "--yes", "--json")
        assert answer.document[0]["mended"] == "nowhere: 0 sent again, 1 recorded as failed."
        explanation = jobs_command("inspect", sent.id).out
        assert "django_jobs.exceptions.JobLost: " in explanation
        assert sent.failed()

    def test_what_is_on_its_way_is_looked_at_twice(
        self, worker: TinyWorker, jobs_command: Run, monkeypatch: pytest.MonkeyPatch
    ):
        sent = jobs.flaky.delay(1)
        worker.run()
        lose_job(sent.id)
        pauses: list[float] = []

        def arrive(seconds: float) -> None:
            pauses.append(seconds)
            recovery.recover([sent.id])

        monkeypatch.setattr("time.sleep", arrive)
        assert jobs_command("doctor", "--json").document == []
        assert pauses == [doctor.DOUBT_SECONDS]

    def test_recovering_twice_sends_once(self, worker: TinyWorker):
        sent = [jobs.asks_again.delay(3600) for _ in range(3)]
        worker.run(3)
        for handle in sent[:2]:
            lose_job(handle.id)
        ids = [handle.id for handle in sent]
        assert sorted(recovery.nowhere()) == sorted(ids[:2])
        assert recovery.recover(ids) == recovery.Recovered(sent=2)
        assert recovery.recover(ids) == recovery.Recovered()
        (counts,) = get_broker().counts(["default"])
        assert (counts.ready, counts.scheduled) == (0, 3)

    def test_one_whose_row_in_the_outbox_is_gone_runs(self, on_redis: dict[str, Any], worker: TinyWorker):
        """A message that says that it is in the outbox, and is not, would be taken for one that has ended."""
        sent = jobs.flaky.apply_async((1,), outbox=True)
        wait_for(lambda: worker.broker.find(sent.id), what="the relay")
        worker.run()
        lose_job(sent.id)
        outbox = get_store().outbox
        assert outbox is not None
        outbox.forget([sent.id])
        assert recovery.recover([sent.id]) == recovery.Recovered(sent=1)
        claimed = wait_for(worker.claim, what="the moment of the retry")
        assert worker.settler.check_redelivered(claimed) == claimed

    def test_more_than_a_page(self, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(recovery, "BATCH", 2)
        sent = [jobs.asks_again.delay(3600) for _ in range(5)]
        worker.run(5)
        for handle in sent:
            lose_job(handle.id)
        assert sorted(recovery.nowhere()) == sorted(handle.id for handle in sent)
        monkeypatch.setattr(recovery, "LOOKED_AT", 4)
        assert len(recovery.nowhere()) == 4
        assert recovery.recover([handle.id for handle in sent]) == recovery.Recovered(sent=5)


def test_jobs_that_stay_in_the_outbox(
    on_redis: dict[str, Any], worker: TinyWorker, jobs_command: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("django_jobs.relay.soon", lambda ids: None)
    sent = jobs.add.apply_async((1, 2), outbox=True)
    assert jobs_command("doctor", "--json").document == []
    assert "It is in the outbox alone" in jobs_command("inspect", sent.id).out
    OutboxJob.objects.update(due=clock.now_ms() - 2 * doctor.OVERDUE_MS)
    answer = jobs_command("doctor", "--fix", "--yes", "--json")
    assert (codes(answer), answer.document[0]["ids"]) == (["outbox"], [sent.id])
    assert answer.document[0]["mended"] == "outbox: 1 handed to the broker."
    worker.run()
    assert sent.get(timeout=5) == 3
    assert jobs_command("doctor", "--json").document == []


def test_a_queue_that_nobody_serves(worker: TinyWorker, jobs_command: Run):
    jobs.add.apply_async((1, 2), queue="nobody")
    answer = jobs_command("doctor")
    assert answer.code == 1
    assert "unserved: One job waits in the queue 'nobody', and no worker listens there." in answer.out
    assert "manage.py runworker -q nobody" in answer.out


def test_a_paused_queue_is_no_error(worker: TinyWorker, jobs_command: Run):
    operations.pause("default")
    answer = jobs_command("doctor")
    assert answer.code == 0
    assert "WARNING  paused: The queue 'default' is paused. 0 jobs wait there." in answer.out


def test_workers_that_are_all_quiet(worker: TinyWorker, jobs_command: Run):
    jobs.add.delay(1, 2)
    info = {"name": "tiny", "queues": ["default"], "quiet": True}
    get_broker().report("tiny", json.dumps(info).encode(), ttl_ms=60_000)
    assert codes(jobs_command("doctor", "--json")) == ["quiet"]
    get_broker().report("tiny", json.dumps(info | {"quiet": False}).encode(), ttl_ms=60_000)
    assert codes(jobs_command("doctor", "--json")) == []


def test_a_silent_worker_and_one_that_nobody_reaps(worker: TinyWorker, jobs_command: Run):
    sent = jobs.add.delay(1, 2)
    worker.claim()
    get_broker().heartbeat([worker.consumer], lease_ms=-1000)
    found = {finding["code"]: finding for finding in jobs_command("doctor", "--json").document}
    assert set(found) == {"silent"}
    assert not found["silent"]["mendable"]
    get_broker().heartbeat([worker.consumer], lease_ms=-600_000)
    answer = jobs_command("doctor", "--fix", "--yes", "--json")
    assert {(finding["code"], finding["level"]) for finding in answer.document} == {
        ("abandoned", "error"),
        ("abandoned", "warning"),
    }
    assert sorted(finding["mended"] for finding in answer.document) == [
        "abandoned: 0 given back.",
        "abandoned: 1 given back.",
    ]
    assert sent.state == State.PENDING
    assert get_broker().consumers(["default", "mail"]) == []


def test_one_that_comes_back_is_not_reaped(worker: TinyWorker, monkeypatch: pytest.MonkeyPatch):
    jobs.add.delay(1, 2)
    held = worker.claim()
    get_broker().heartbeat([worker.consumer], lease_ms=-600_000)
    findings = [finding for finding in doctor.examine() if finding.repair]
    get_broker().heartbeat([Consumer(id=worker.consumer.id, queues=worker.consumer.queues)], lease_ms=60_000)
    assert {finding.repair() for finding in findings if finding.repair} == {"0 given back"}
    assert get_broker().ack(held) == []


def test_what_is_dangerous_about_the_service(worker: TinyWorker, jobs_command: Run, monkeypatch: pytest.MonkeyPatch):
    said = [Hazard(danger=danger, text=f"about {danger}", hint="do this") for danger in Danger]
    monkeypatch.setattr(doctor, "hazards_of", lambda broker: said)
    answer = jobs_command("doctor", "--json")
    assert codes(answer) == ["eviction", "no persistence", "shared"]
    assert answer.code == 0


def test_ids_are_explained(worker: TinyWorker, jobs_command: Run):
    sent = jobs.add.delay(1, 2)
    assert jobs_command("doctor", sent.id).out == jobs_command("inspect", sent.id).out
