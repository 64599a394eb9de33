"""call, retry, revoke, tell: what is done to jobs and workers, by ids and by filters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError

from django_jobs import AsyncResult, State, clock
from django_jobs.brokers import get_broker
from django_jobs.identifiers import new_id
from django_jobs.management.jobs import choosing
from django_jobs.states import Place
from tests.app import jobs
from tests.handles.conftest import TinyWorker

Run = Callable[..., Any]


class TestCall:
    def test_a_job_is_sent(self, worker: TinyWorker, jobs_command: Run):
        answer = jobs_command("call", "tests.app.jobs.add", "[1, 2]")
        assert answer.code == 0
        worker.run()
        assert AsyncResult[int](answer.out.strip()).get(timeout=5) == 3

    def test_with_options(self, worker: TinyWorker, jobs_command: Run):
        answer = jobs_command(
            "call", "tests.app.jobs.echo", "--kwargs", '{"value": [1, "ä"]}', "--queue=mail", "--priority=7", "--json"
        )
        found = get_broker().find(answer.document["id"])
        assert found is not None
        assert (found.queue, found.priority) == ("mail", 7)
        later = jobs_command("call", "tests.app.jobs.echo", "[1]", "--countdown=60", "--json").document["id"]
        assert [found.id for found in get_broker().peek("default", Place.SCHEDULED)] == [later]

    def test_waiting_for_its_end(self, worker: TinyWorker, jobs_command: Run, aside: Callable[..., Any]):
        aside(worker.run_soon)
        answer = jobs_command("call", "tests.app.jobs.add", "[1, 2]", "--wait=10")
        assert (answer.code, answer.out.split()[1:]) == (0, ["SUCCESS:", "3"])
        aside(worker.run_soon)
        answer = jobs_command("call", "tests.app.jobs.fails", "--wait=10", "--json")
        assert (answer.code, answer.document["state"]) == (1, "FAILURE")
        assert answer.document["error"] == "ValueError: no luck"

    def test_the_result_is_a_value_for_programs(self, worker: TinyWorker, jobs_command: Run, aside: Callable[..., Any]):
        aside(worker.run_soon)
        answer = jobs_command("call", "tests.app.jobs.echo", '[{"a": [1]}]', "--wait=10", "--json")
        assert answer.document["result"] == {"a": [1]}

    def test_an_error_is_a_document_too(self, worker: TinyWorker, jobs_command: Run):
        answer = jobs_command("call", "tests.app.jobs.ad", "--json")
        assert answer.code == 2
        assert "Did you mean 'tests.app.jobs.add'?" in answer.document["error"]
        assert "--remote" in answer.document["error"]
        assert "--remote" in answer.err

    def test_waiting_in_vain_says_why(self, worker: TinyWorker, jobs_command: Run):
        answer = jobs_command("call", "tests.app.jobs.add", "[1, 2]", "--queue=nobody", "--wait=0.1")
        assert answer.code == 1
        assert "no worker listens there" in answer.out

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["tests.app.jobs.ad"], "Did you mean 'tests.app.jobs.add'?"),
            (["tests.app.jobs.add", "[1"], "'[1' is no JSON"),
            (["tests.app.jobs.add", '{"a": 1}'], "a list, such as"),
            (["tests.app.jobs.add", "--kwargs", "[1]"], "an object, such as"),
            (["tests.app.jobs.add", "[1]"], "missing a required argument"),
            (["tests.app.jobs.add", "[1, 2]", "--priority=1000"], "priority"),
        ],
    )
    def test_wrong_use(self, worker: TinyWorker, jobs_command: Run, arguments: list[str], expected: str):
        answer = jobs_command("call", *arguments)
        assert answer.code == 2
        assert expected in answer.err

    def test_a_task_that_only_workers_know(self, worker: TinyWorker, jobs_command: Run):
        assert jobs_command("call", "elsewhere.f", "--remote").code == 0
        assert get_broker().counts(["default"])[0].ready == 1


@pytest.fixture
def failed(worker: TinyWorker) -> list[str]:
    sent = [jobs.fails.delay(str(number)) for number in range(3)]
    worker.run(3)
    return [handle.id for handle in sent]


def states(ids: list[str]) -> list[str]:
    return [AsyncResult[Any](job_id).state for job_id in ids]


class TestRetry:
    def test_by_ids(self, worker: TinyWorker, failed: list[str], jobs_command: Run):
        answer = jobs_command("retry", *failed[:2])
        assert (answer.code, answer.out) == (0, "2 jobs sent again.\n")
        assert states(failed) == ["PENDING", "PENDING", "FAILURE"]
        answer = jobs_command("retry", failed[0], new_id(), "--json")
        assert (answer.code, answer.document) == (1, {"matched": 2, "sent": 0, "skipped": 2, "workflows": {}})

    def test_by_task_and_state(self, worker: TinyWorker, failed: list[str], jobs_command: Run):
        other = jobs.raises.delay("reject")
        worker.run()
        assert jobs_command("retry", "--task", "tests.*.fails", "--yes").out == "3 jobs sent again.\n"
        assert states([*failed, other.id]) == ["PENDING"] * 3 + ["FAILURE"]
        assert jobs_command("retry", "--task", "tests.*.fails", "--yes").out == "0 jobs sent again.\n"
        assert jobs_command("retry", "--state", "failure", "--yes", "--json").document["sent"] == 1

    def test_by_age(self, worker: TinyWorker, failed: list[str], jobs_command: Run, monkeypatch: pytest.MonkeyPatch):
        now_ms = clock.now_ms() + 2 * 3_600_000
        with monkeypatch.context() as patched:
            patched.setattr("django_jobs.clock.now_ms", lambda: now_ms)
            assert jobs_command("retry", "--since", "1h", "--yes", "--json").document["matched"] == 0
        assert jobs_command("retry", "--since", "1h", "--yes", "--json").document["matched"] == 3

    def test_page_by_page_with_a_bound(
        self, worker: TinyWorker, failed: list[str], jobs_command: Run, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(choosing, "PAGE", 2)
        refused = jobs_command("retry", "--queue", "default", "--limit=2")
        assert refused.code == 2
        assert refused.err.startswith("Send 2 jobs (the first 2; run it again for the rest) again?")
        assert jobs_command("retry", "--queue", "default", "--limit=2", "-y", "--json").document["sent"] == 2
        assert jobs_command("retry", "--queue", "default", "-y", "--json").document["sent"] == 1

    def test_asked_and_answered(
        self, worker: TinyWorker, failed: list[str], jobs_command: Run, monkeypatch: pytest.MonkeyPatch
    ):
        for answer, code, state in (("n", 1, "FAILURE"), ("", 1, "FAILURE"), ("y", 0, "PENDING")):
            monkeypatch.setattr("sys.stdin", Terminal(answer))
            done = jobs_command("retry", "--task", "*")
            assert (done.code, states(failed)) == (code, [state] * 3)
            assert done.err.startswith("Send 3 jobs again? [y/N] ")

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ([], "Name jobs by their ids, or by --task"),
            (["rubbish"], "rubbish"),
            ([new_id(), "--task=a"], "Name jobs by their ids, or by --task"),
            (["--state=SUCCESS"], "--state SUCCESS is not possible here. Expected: FAILURE, REVOKED."),
            (["--since=yesterday"], "'yesterday' is no age."),
            (["--task=a", "--limit=0"], "'0' is no number above 0"),
        ],
    )
    def test_wrong_use(self, worker: TinyWorker, jobs_command: Run, arguments: list[str], expected: str):
        answer = jobs_command("retry", *arguments)
        assert answer.code in (1, 2)
        assert expected in answer.err


class Terminal:
    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._answer + "\n"


class TestRevoke:
    def test_by_ids(self, worker: TinyWorker, failed: list[str], jobs_command: Run):
        ready, later = jobs.add.delay(1, 2), jobs.add.apply_async((1, 2), countdown=60)
        running = jobs.add.apply_async((1, 2), priority=9)
        worker.claim()
        asked = [ready.id, later.id, running.id, failed[0], new_id()]
        answer = jobs_command("revoke", "--yes", *asked)
        assert answer.code == 1
        assert answer.out.splitlines() == [
            "2 jobs revoked.",
            "1 job running: their workers are told with the next heartbeat.",
            "1 job had ended already.",
            "1 job not known.",
        ]
        assert states(asked[:2]) == ["REVOKED", "REVOKED"]
        (beat,) = get_broker().heartbeat([worker.consumer], lease_ms=60_000)
        assert (beat.revoked, beat.terminated) == ((running.id,), ())

    def test_terminate(self, worker: TinyWorker, jobs_command: Run):
        running = jobs.add.delay(1, 2)
        worker.claim()
        answer = jobs_command("revoke", "--terminate", "--yes", "--json", running.id)
        assert (answer.code, answer.document["states"]) == (0, {running.id: "STARTED"})
        (beat,) = get_broker().heartbeat([worker.consumer], lease_ms=60_000)
        assert beat.terminated == (running.id,)

    def test_by_filter(self, worker: TinyWorker, jobs_command: Run, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(choosing, "PAGE", 2)
        added = [jobs.add.delay(number, 2) for number in range(5)]
        later = jobs.add.apply_async((1, 2), countdown=60)
        mail = jobs.add.apply_async((1, 2), queue="mail")
        other = jobs.echo.delay(1)
        assert jobs_command("revoke", "--task", "*.add", "--queue=default", "--state=pending").code == 2
        answer = jobs_command("revoke", "--task", "*.add", "--queue=default", "--state=pending", "--yes")
        assert answer.out == "5 jobs revoked.\n"
        assert states([handle.id for handle in added]) == [State.REVOKED] * 5
        assert states([later.id, mail.id, other.id]) == ["SCHEDULED", "PENDING", "PENDING"]
        assert jobs_command("revoke", "--task", "*.add", "--yes").out == "2 jobs revoked.\n"
        assert jobs_command("revoke", "--since=1h", "--yes").out == "1 job revoked.\n"

    def test_those_that_run(self, worker: TinyWorker, jobs_command: Run):
        jobs.add.delay(1, 2)
        worker.claim()
        answer = jobs_command("revoke", "--state=STARTED", "--queue=default", "--yes", "--json")
        assert list(answer.document["states"].values()) == ["STARTED"]


class TestTell:
    @pytest.fixture
    def workers(self, project: dict[str, Any]) -> list[str]:
        names = ["web-1", "web-2", "mail"]
        for name in names:
            get_broker().report(name, json.dumps({"name": name}).encode(), ttl_ms=60_000)
        return names

    def heard(self, name: str) -> list[Any]:
        info = json.dumps({"name": name}).encode()
        return [json.loads(text) for text in get_broker().report(name, info, ttl_ms=60_000)]

    def test_by_name_and_glob(self, workers: list[str], jobs_command: Run):
        assert jobs_command("tell", "mail", "dump").out == "mail: told to dump.\n"
        assert jobs_command("tell", "web-*", "stop").code == 2
        assert jobs_command("tell", "web-*", "stop", "--yes", "--json").document == {"told": ["web-1", "web-2"]}
        assert [self.heard(name) for name in workers] == [[{"do": "stop"}], [{"do": "stop"}], [{"do": "dump"}]]

    def test_nobody_is_there(self, workers: list[str], jobs_command: Run):
        answer = jobs_command("tell", "nobody", "dump")
        assert (answer.code, answer.err) == (1, "No worker 'nobody' is heard of.")

    def test_something_else(self, workers: list[str], jobs_command: Run):
        assert "invalid choice: 'dance'" in jobs_command("tell", "mail", "dance").err


@pytest.mark.parametrize(
    ("text", "ms"), [("90s", 90_000), ("1.5m", 90_000), ("1h", 3_600_000), ("2d", 172_800_000), ("1w", 604_800_000)]
)
def test_an_age(text: str, ms: int):
    assert choosing.duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1 h", "1y"])
def test_what_is_no_age(text: str):
    with pytest.raises(CommandError, match="is no age"):
        choosing.duration_ms(text)
