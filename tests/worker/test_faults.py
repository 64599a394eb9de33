"""Kill anything: nothing is lost, and only what was running when its process died runs again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis

from django_jobs import State, operations
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Consumer, Message
from django_jobs.identifiers import new_id
from django_jobs.models import JobResult
from django_jobs.task import Task
from django_jobs.worker.feeder import PREFETCH_SECONDS
from tests.app import jobs
from tests.worker.conftest import Worker, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Worker]


def starts(ledger: Path) -> list[str]:
    return [line for line in ledger.read_text().splitlines() if line.startswith("start")]


def is_replaced(worker: Worker, keeper: int) -> bool:
    return worker.keeper() not in (None, keeper)


def has_ended(pid: int) -> bool:
    """Say whether a process has ended, though nobody may have waited for it."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def is_gone(worker: Worker, pid: int) -> bool:
    return pid not in worker.children()


def test_a_killed_child_costs_one_more_run_of_what_it_ran(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    waiting = jobs.written.enqueue_many([((str(ledger), f"job{n}"), {}) for n in range(30)])
    worker = start_worker("-c", "1")
    line = wait_for(lambda: starts(ledger))[0]
    os.kill(int(line.split()[2]), signal.SIGKILL)
    wait_for(lambda: len(starts(ledger)) == 2, what="the second run")
    gate.touch()
    assert running.get(timeout=20) == "released"
    assert [result.get(timeout=20) for result in waiting] == [f"job{n}" for n in range(30)]
    words = [entry.split()[0] for entry in ledger.read_text().splitlines()]
    assert all(words.count(f"job{n}") == 1 for n in range(30))
    assert JobResult.objects.get(id=running.id).deliveries == 1
    assert "killed by SIGKILL" in worker.output()


def test_a_killed_supervisor_takes_its_children_along_and_its_jobs_come_back(
    start_worker: Start, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    first = start_worker("-c", "1")
    wait_for(lambda: starts(ledger))
    children = first.children()
    first.process.kill()
    first.process.wait(10)
    wait_for(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children), what="the children's end")
    gate.touch()
    start_worker("-c", "1")
    assert running.get(timeout=30) == "released"
    assert len(starts(ledger)) == 2


def test_a_killed_keeper_is_replaced_before_anybody_notices(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("-c", "1")
    watcher = start_worker("-c", "1", "--name", "watcher")
    wait_for(lambda: starts(ledger))
    owner = worker if int(starts(ledger)[0].split()[2]) in worker.children() else watcher
    for _ in range(3):
        keeper = wait_for(owner.keeper)
        os.kill(keeper, signal.SIGKILL)
        wait_for(partial(is_replaced, owner, keeper))
    wait_for(lambda: get_broker().counts(["default"])[0].in_flight == 1)
    # Longer than lease and suspect time together: had the lease lapsed, the other worker would have taken the job.
    jobs.slow.delay(str(ledger), "meanwhile", 3.0).get(timeout=20)
    assert len([line for line in starts(ledger) if "meanwhile" not in line]) == 1
    gate.touch()
    assert running.get(timeout=20) == "released"


@pytest.mark.parametrize("how", ["kill", "segfault", "exit"])
def test_a_poison_job_fails_after_three_crashes_and_its_mates_all_succeed(
    start_worker: Start, ledger: Path, tmp_path: Path, how: str
) -> None:
    mates = str(tmp_path / "mates")
    before = jobs.written.enqueue_many([((mates, f"a{n}"), {}) for n in range(25)])
    poison = jobs.dies.delay(str(ledger), how)
    after = jobs.written.enqueue_many([((mates, f"b{n}"), {}) for n in range(25)])
    start_worker("-c", "1")
    for result in (*before, *after):
        result.get(timeout=60)
    wait_for(poison.ready, seconds=60)
    row = JobResult.objects.get(id=poison.id)
    assert row.state == "FAILURE"
    assert row.exception_type.endswith("WorkerLost")
    crashes = [entry for entry in map(json.loads, row.history.splitlines()) if entry.get("event") == "crashed"]
    assert len(crashes) == 3
    assert all("/1 (process " in crash["by"] for crash in crashes)
    assert len(ledger.read_text().splitlines()) == 3
    runs = Counter(line.split()[0] for line in Path(mates).read_text().splitlines())
    assert set(runs) == {f"{half}{n}" for half in "ab" for n in range(25)}
    # What had ended, but whose result was not committed yet, runs once more; after one crash the poison job runs alone.
    assert max(runs.values()) <= 2
    assert all(runs[f"b{n}"] == 1 for n in range(25))
    assert all(result.successful() for result in (*before, *after))
    assert operations.retry([poison.id]).done == 1


@pytest.mark.parametrize("task", [jobs.breaks_its_worker, jobs.breaks_its_loop])
def test_an_error_of_the_workers_own_ends_the_process_and_strands_no_job(
    start_worker: Start, ledger: Path, task: Task[[str], None]
) -> None:
    breaking = task.delay(str(ledger))
    worker = start_worker("-c", "1", "--threads", "2")
    wait_for(breaking.ready, seconds=60)
    assert JobResult.objects.get(id=breaking.id).exception_type.endswith("WorkerLost")
    assert len({line.split()[1] for line in ledger.read_text().splitlines()}) == 3
    assert "broken on purpose" in worker.output()
    assert jobs.add.delay(1, 2).get(timeout=20) == 3


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_job_that_closes_what_is_logged_to_silences_nobody_else(start_worker: Start, name: str) -> None:
    start_worker("-c", "1", "--max-jobs-per-child", "2")
    jobs.closes_its_streams.delay(name).get(timeout=30)
    assert [jobs.add.delay(n, n).get(timeout=30) for n in range(5)] == [0, 2, 4, 6, 8]


def test_a_job_that_breaks_its_process_as_it_ends_is_stopped_too(start_worker: Start, ledger: Path) -> None:
    sent = jobs.breaks_after_itself.delay(str(ledger))
    start_worker("-c", "1")
    wait_for(sent.ready, seconds=60)
    assert len(ledger.read_text().splitlines()) <= 3
    assert jobs.add.delay(1, 2).get(timeout=30) == 3


@pytest.mark.parametrize("task", [jobs.exits_beside_itself, jobs.stops_the_loop])
def test_a_job_that_ends_the_event_loop_strands_no_other(
    start_worker: Start, ledger: Path, task: Task[[str], None]
) -> None:
    start_worker("-c", "1")
    ends = task.delay(str(ledger))
    after = jobs.aslow.delay(str(ledger), "after", 0.01)
    assert after.get(timeout=60) == "after"
    wait_for(ends.ready, seconds=60)
    assert ends.failed()


def test_what_a_job_has_forked_ends_with_the_job(start_worker: Start, ledger: Path) -> None:
    start_worker("-c", "1")
    pid = jobs.forks.delay(str(ledger)).get(timeout=30)
    assert pid
    wait_for(lambda: has_ended(pid), what="the end of what the job has forked")
    assert jobs.add.delay(1, 2).get(timeout=20) == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 0), (signal.SIGQUIT, 1)])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_end_of_the_terminal_is_no_crash(
    start_worker: Start, ledger: Path, tmp_path: Path, pool: str, number: int, code: int
) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("--pool", pool)
    wait_for(ledger.read_text)
    for pid in [*worker.children(), worker.pid]:  # the terminal tells the whole group
        os.kill(pid, number)
    if number == signal.SIGHUP:
        gate.touch()
    assert worker.process.wait(20) == code
    if number == signal.SIGQUIT:
        found = get_broker().find(running.id)
        assert found is not None
        assert found.place == "ready"
    else:
        assert running.get(timeout=5) == "released"


def test_kill_children_again_and_again_and_lose_nothing(start_worker: Start, ledger: Path) -> None:
    total = 400
    jobs.slow.enqueue_many([((str(ledger), f"job{n}", 0.005), {}) for n in range(total)])
    worker = start_worker("-c", "2")
    worker.wait_ready(2)
    kills, deadline = 0, time.monotonic() + 120
    while JobResult.objects.filter(state="SUCCESS").count() < total:
        running = worker.runners()
        if kills < 8 and running and len(starts(ledger)) > (kills + 1) * 30:
            os.kill(running[0], signal.SIGKILL)
            kills += 1
            wait_for(partial(is_gone, worker, running[0]))
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert kills == 8
    ended = {line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("end")}
    assert ended == {f"job{n}" for n in range(total)}
    extra = len(starts(ledger)) - total
    # What a process has in its hands: what it claims ahead (50 ms of work) and as much that has ended and is not
    # committed, for it claims before that is. On a busy machine a commit takes long, and much of this has been run.
    ahead = int(PREFETCH_SECONDS / 0.005) + 1
    assert extra <= kills * 2 * ahead
    wait_for(lambda: get_broker().counts(["default"])[0].in_flight == 0)
    assert get_broker().counts(["default"])[0].ready == 0


def test_stop_lets_running_jobs_end_and_gives_back_the_rest(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    rest = [jobs.written.delay(str(ledger), f"job{n}") for n in range(5)]
    worker = start_worker("-c", "1")
    wait_for(lambda: starts(ledger))
    worker.process.send_signal(signal.SIGTERM)
    wait_for(lambda: get_broker().counts(["default"])[0].ready == 5)
    assert worker.process.poll() is None
    gate.touch()
    assert worker.process.wait(20) == 0
    assert running.get(timeout=5) == "released"
    assert all(result.state == State.PENDING for result in rest)


def test_a_second_signal_hands_back_what_runs(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    worker = start_worker("-c", "1")
    wait_for(lambda: starts(ledger))
    worker.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "Stopping" in worker.output())
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 1
    assert running.state == State.PENDING
    found = get_broker().find(running.id)
    assert found is not None
    gate.touch()
    start_worker("-c", "1")
    assert running.get(timeout=20) == "released"


def test_the_grace_ends(start_worker: Start, ledger: Path, tmp_path: Path) -> None:
    jobs.held.delay(str(ledger), str(tmp_path / "never"))
    worker = start_worker("-c", "1", "--grace", "0.5")
    wait_for(lambda: starts(ledger))
    assert worker.stop() == 1
    assert get_broker().counts(["default"])[0].ready == 1


@pytest.mark.parametrize("jobs_settings", ["redis"], indirect=True)
def test_a_wrong_or_missing_broker_is_one_sentence(
    jobs_settings: dict[str, Any], child_environment: Callable[..., dict[str, str]]
) -> None:
    for url, code in (("redis://127.0.0.1:1/0", 3), ("rediss:/nonsense", 2)):
        environment = child_environment(DJANGO_JOBS_TEST_SETTINGS=json.dumps({"BROKER": url}))
        command = [sys.executable, "-m", "django", "runworker", "--no-reload", "--skip-checks"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2


def test_a_message_whose_end_cannot_be_recorded_fails_and_keeps_nobody_up(start_worker: Start) -> None:
    """1e999 is JSON, and becomes an infinity that cannot be written again."""
    endless = Message(new_id(), "default", b'{"v":1,"task":"tests.app.jobs.echo","at":1,"args":[1e999]}')
    odd = Message(new_id(), "default", b'{"v":1,"task":"tests.app.jobs.echo","at":1,"options":{"no_such":1}}')
    get_broker().enqueue([endless, odd])
    last = jobs.add.delay(1, 2)
    worker = start_worker("-c", "1")
    assert last.get(timeout=30) == 3
    wait_for(lambda: get_broker().counts(["default"])[0].in_flight == 0)
    rows = {row.id: row for row in JobResult.objects.filter(id__in=[endless.id, odd.id])}
    assert {str(job_id): row.state for job_id, row in rows.items()} == {endless.id: "FAILURE", odd.id: "FAILURE"}
    assert "no record of it can be made" in JobResult.objects.get(id=endless.id).exception
    assert "no_such" in JobResult.objects.get(id=odd.id).exception
    assert "died" not in worker.output()


def test_a_claim_that_took_effect_after_its_process_had_given_it_up_comes_back(
    start_worker: Start, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    running = jobs.held.delay(str(ledger), str(gate))
    start_worker("-c", "1")
    wait_for(lambda: starts(ledger), what="a process that is busy")
    broker = get_broker()
    (name,) = {info.id for info in broker.consumers(["default"])}
    sent = jobs.written.delay(str(ledger), "one")
    # What was on its way when the connection broke, and is answered to nobody.
    wait_for(
        lambda: broker.claim(Consumer(id=name, queues=("default",)), "default", 1).jobs,
        what="a job that is not claimed",
    )
    gate.touch()
    assert (running.get(timeout=20), sent.get(timeout=30)) == ("released", "one")
    assert ledger.read_text().split().count("one") == 1


@pytest.mark.parametrize("jobs_settings", ["redis"], indirect=True)
def test_a_job_that_runs_and_is_handed_out_again_by_a_redis_that_has_forgotten_it_runs_once(
    start_worker: Start, jobs_settings: dict[str, Any], ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    sent = jobs.held.apply_async((str(ledger), str(gate)), outbox=True)
    worker = start_worker("-c", "1", "--threads", "2")
    wait_for(lambda: starts(ledger), what="the run")
    (child,) = worker.runners()
    (name,) = {info.id for info in get_broker().consumers(["default"])}
    with redis.Redis.from_url(jobs_settings["BROKER"]) as server:
        base, raw_id = f"{jobs_settings['PREFIX']}:{{default}}:", UUID(sent.id).bytes
        assert server.hdel(f"{base}inflight:{name}", raw_id) == 1
        server.zadd(f"{base}ready", {raw_id: 0})
        server.rpush(f"{base}wake", "1")
        wait_for(lambda: server.zcard(f"{base}ready") == 0, what="the second claim")
        wait_for(lambda: server.zcard(f"{base}sched") == 1, what="the claim to be given back")
    gate.touch()
    assert sent.get(timeout=20) == "released"
    wait_for(lambda: get_broker().find(sent.id, "default") is None, what="the copy to be dropped")
    assert (len(starts(ledger)), worker.runners()) == (1, [child])
