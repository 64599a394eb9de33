"""inspect, active, queues: what is going on, and why a job does not go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from django_jobs import clock, inspection
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Consumer
from django_jobs.brokers.continuity import identity_of
from django_jobs.brokers.known import known_queues
from django_jobs.identifiers import new_id
from django_jobs.results import get_store
from tests.app import jobs
from tests.handles.conftest import LEASE_MS, TinyWorker

Run = Callable[..., Any]


def report(worker: TinyWorker, *running: str, **changed: Any) -> None:
    """Say of a tiny worker what a real one says of itself."""
    info = {
        "name": "tiny",
        "host": "box",
        "pid": 17,
        "started_ms": clock.now_ms() - 150_000,
        "pool": "prefork",
        "queues": ["default"],
        "concurrency": 1,
        "threads": 1,
        "version": "0.1",
        "quiet": False,
        "children": [
            {
                "number": 1,
                "pid": 18,
                "consumer": worker.consumer.id,
                "started_ms": clock.now_ms() - 5000,
                "running": [{"id": job_id, "since_ms": clock.now_ms() - 30_000} for job_id in running],
            }
        ],
    } | changed
    get_broker().report("tiny", json.dumps(info).encode(), ttl_ms=LEASE_MS)


class TestInspect:
    def test_workers_their_processes_and_what_they_run(self, worker: TinyWorker, jobs_command: Run):
        sent = jobs.add.delay(1, 2)
        worker.claim()
        report(worker, sent.id)
        answer = jobs_command("inspect")
        assert answer.code == 0
        lines = answer.out.splitlines()
        assert "worker tiny  (prefork, pid 17 on box)" in lines
        assert "  up      2 min, version 0.1" in lines
        assert "  queues  default" in lines
        assert any(line.split() == ["1", "18", "5", "s", sent.id, "for", "30", "s"] for line in lines)
        document = jobs_command("inspect", "--json").document
        assert document["continuity"] == get_broker().continuity()
        assert (document["continuity_lost"], document["continuity_lost_ms"]) == (0, None)
        assert document["workers"][0]["children"][0]["running"][0]["id"] == sent.id
        assert {counts["queue"]: counts["in_flight"] for counts in document["queues"]}["default"] == 1

    def test_a_broker_that_has_lost_its_memory(self, worker: TinyWorker, jobs_command: Run):
        broker, store = get_broker(), get_store()
        if not broker.continuity():
            pytest.skip("loses nothing that was committed")
        store.remember_broker(identity_of(broker), "what it was", 1)
        store.remember_broker(identity_of(broker), broker.continuity(), clock.now_ms())
        assert "(changed 1 time, last at 20" in jobs_command("inspect").out
        assert jobs_command("inspect", "--json").document["continuity_lost"] == 1

    def test_nobody_is_there(self, project: dict[str, Any], jobs_command: Run):
        assert "No worker is heard of." in jobs_command("inspect").out

    def test_a_worker_of_another_version(self, worker: TinyWorker, jobs_command: Run):
        broker = get_broker()
        broker.report("older", b"not json", ttl_ms=LEASE_MS)
        broker.report("newer", b'{"name": "n", "children": [{"number": 2, "more": 1}], "more": {}}', ttl_ms=LEASE_MS)
        assert [(found.key, found.name, len(found.children)) for found in inspection.workers()] == [
            ("newer", "n", 1),
            ("older", "older", 0),
        ]
        assert jobs_command("inspect").code == 0


class TestQueues:
    def test_counts_age_and_remarks(self, worker: TinyWorker, jobs_command: Run):
        jobs.add.delay(1, 2)
        jobs.add.apply_async((1, 2), countdown=3600)
        jobs.add.apply_async((1, 2), queue="nobody")
        get_broker().pause("mail")
        rows = {row[0]: row[1:] for row in jobs_command("queues").table}
        assert rows["queue"] == ["ready", "scheduled", "in", "flight", "dead", "oldest", "processes"]
        assert rows["default"][:4] == ["1", "1", "0", "0"]
        assert rows["default"][-1] == "1"
        assert rows["mail"][-2:] == ["1", "paused"]
        assert rows["nobody"][-3:] == ["0", "nobody", "listens"]
        document = {counts["queue"]: counts for counts in jobs_command("queues", "--json").document}
        assert (document["default"]["scheduled"], document["mail"]["paused"]) == (1, True)

    def test_columns_are_aligned(self, worker: TinyWorker, jobs_command: Run):
        jobs.add.apply_async((1, 2), queue="a-queue-with-a-long-name")
        head, *rows = jobs_command("queues").out.splitlines()
        end = head.index("ready") + len("ready")
        assert all(row[end - 1].isdigit() and row[end] == " " for row in rows)


class TestActive:
    def test_what_is_running_and_what_has_not_begun(self, worker: TinyWorker, jobs_command: Run):
        assert jobs_command("active").out == "Nothing is in flight.\n"
        running, waiting = jobs.add.delay(1, 2), jobs.add.delay(3, 4)
        worker.claim(2)
        report(worker, running.id)
        rows = {row[0]: row[1:] for row in jobs_command("active").table}
        assert rows[running.id] == ["tests.app.jobs.add", "default", "tiny/1", "30", "s"]
        assert rows[waiting.id] == ["tests.app.jobs.add", "default", "tiny/1", "has", "not", "begun"]
        assert {job["id"]: job["worker"] for job in jobs_command("active", "--json").document} == {
            running.id: "tiny/1",
            waiting.id: "tiny/1",
        }


def reasons(job_id: str) -> str:
    return " ".join(inspection.explain(job_id).reasons)


class TestExplain:
    def test_no_worker_listens(self, project: dict[str, Any]):
        sent = jobs.add.apply_async((1, 2), queue="mail")
        assert "No worker listens to the queue 'mail': manage.py runworker -q mail" in reasons(sent.id)

    def test_paused_and_behind_others(self, worker: TinyWorker):
        sent = [jobs.add.delay(1, 2) for _ in range(3)]
        get_broker().pause("default")
        assert reasons(sent[2].id).startswith("The queue 'default' is paused: manage.py jobs resume default")
        assert "2 jobs are before it in the queue." in reasons(sent[2].id)
        assert "One job is before it in the queue." in reasons(sent[1].id)

    def test_busy_and_quiet(self, worker: TinyWorker):
        sent = [jobs.add.delay(1, 2) for _ in range(2)]
        worker.claim()
        report(worker)
        assert "One process listens to the queue 'default', and 1 of its jobs" in reasons(sent[1].id)
        report(worker, quiet=True)
        assert "All workers that listen to 'default' are quiet" in reasons(sent[1].id)

    def test_scheduled(self, worker: TinyWorker):
        sent = jobs.add.apply_async((1, 2), countdown=3600)
        found = get_broker().find(sent.id)
        assert found is not None
        assert reasons(sent.id) == f"It is scheduled for {inspection.moment(found.moment_ms)}."

    def test_a_retry(self, worker: TinyWorker):
        sent = jobs.asks_again.delay(3600)
        worker.run()
        explanation = inspection.explain(sent.id)
        assert explanation.state == "RETRY"
        assert explanation.reasons[0].startswith("It has failed (RuntimeError), and runs again at ")

    def test_running(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 2)
        worker.claim()
        assert reasons(sent.id) == f"The process {worker.consumer.id} holds it."
        report(worker)
        assert reasons(sent.id) == "It was claimed by tiny/1, and has not begun."
        report(worker, sent.id)
        assert reasons(sent.id) == "It has been running for 30 s on tiny/1."

    def test_its_worker_is_silent(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 2)
        worker.claim()
        get_broker().heartbeat([worker.consumer], lease_ms=-5000)
        assert "Its worker has been silent since 5 s" in reasons(sent.id)

    def test_ended(self, worker: TinyWorker):
        sent = jobs.fails.delay("no luck")
        worker.run()
        explanation = inspection.explain(sent.id)
        assert (explanation.state, explanation.task, explanation.queue) == (
            "FAILURE",
            "tests.app.jobs.fails",
            "default",
        )
        assert explanation.reasons[0].startswith("It has ended at ")
        assert explanation.reasons[0].endswith(" on tiny/1.")
        assert explanation.reasons[1] == "ValueError: no luck"

    def test_dead(self, worker: TinyWorker):
        sent = jobs.add.delay(1, 2)
        get_broker().bury(worker.claim(), reason="for a test")
        assert reasons(sent.id) == "It has ended (for a test), and a worker is about to record that."

    def test_unknown(self, worker: TinyWorker, jobs_command: Run):
        unknown = new_id()
        answer = jobs_command("inspect", unknown)
        assert answer.code == 1
        assert answer.out.splitlines()[0] == f"{unknown}: UNKNOWN"
        assert jobs_command("inspect", "rubbish").code == 2

    def test_of_several_as_a_document(self, worker: TinyWorker, jobs_command: Run):
        sent = [jobs.add.delay(1, 2) for _ in range(2)]
        document = jobs_command("inspect", *(handle.id for handle in sent), "--json").document
        assert [(found["id"], found["state"]) for found in document] == [(handle.id, "PENDING") for handle in sent]


class TestUnreachable:
    @pytest.mark.parametrize("arguments", [["inspect"], ["queues"], ["pause", "default"], ["doctor"], ["prune"]])
    def test_one_sentence_and_its_exit_code(self, transactional_db: None, jobs_command: Run, arguments: list[str]):
        away = {"BROKER": "redis://127.0.0.1:1/0", "DATABASE": "default"}
        with override_settings(DJANGO_JOBS=away):
            answer = jobs_command(*arguments)
        if arguments == ["prune"]:
            assert answer.code == 0
        else:
            assert answer.code == 3
            assert answer.err.startswith("Redis at 127.0.0.1:1 cannot be reached")
            assert "Traceback" not in answer.err

    def test_wrong_settings(self, jobs_command: Run):
        with override_settings(DJANGO_JOBS={"BROKER": "radis://x"}):
            answer = jobs_command("queues")
        assert answer.code == 2
        assert "radis" in answer.err


def test_a_span_in_words():
    spans = [-1, 0, 999, 1000, 119_999, 120_000, 7_199_999, 7_200_000, 172_799_999, 172_800_000]
    assert [inspection.span(ms) for ms in spans] == [
        "0 ms", "0 ms", "999 ms", "1 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d",
    ]  # fmt: skip


def test_known_queues_are_those_of_the_settings_too(project: dict[str, Any]):
    get_broker().register(Consumer(id="c", queues=("heard",)), lease_ms=1000)
    with override_settings(DJANGO_JOBS={**project, "QUEUES": {"listed": {}}}):
        assert {"default", "listed", "heard"} <= set(known_queues(get_broker()))
