"""The servers that other tests rely on to be killed, to come back, and never to stay behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.services import RedisServer, private_postgres, private_redis, take_own_redis_databases
from tests.services.family import DIRECTORY_PREFIX, family, remove_leftovers
from tests.services.parallel import side_by_side

ROOT = Path(__file__).resolve().parent.parent


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def test_redis_comes_back_on_its_port_with_what_it_had_saved(tmp_path: Path):
    with private_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        assert server.call("SET", "kept", "1") == "+OK"
        url = server.url
        server.kill()
        with pytest.raises(ConnectionRefusedError):
            server.call("PING")
        server.start()
        assert server.url == url
        assert server.call("STRLEN", "kept") == ":1"


def test_a_paused_redis_holds_connections_and_answers_after_resume(tmp_path: Path):
    with private_redis(tmp_path) as server:
        server.pause()
        try:
            wait_for(lambda: state_of(server) == "T")
        finally:
            server.resume()
        assert server.call("PING") == "+PONG"


def state_of(server: RedisServer) -> str:
    assert server.process is not None
    return Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_postgres_comes_back_on_its_port_with_what_it_had_committed(reachable_path: Path):
    with private_postgres(reachable_path, "-c", "fsync=on", "-c", "synchronous_commit=on") as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux ends a server together with its parent")
def test_a_server_dies_with_a_parent_that_is_killed(tmp_path: Path):
    program = (
        "import sys, time; from pathlib import Path; from tests.services import private_redis;"
        f"server = private_redis(Path({str(tmp_path)!r})).start();"
        "print(server.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server_pid = int(parent.stdout.readline())
        os.kill(server_pid, 0)
        parent.kill()
    wait_for(lambda: not Path(f"/proc/{server_pid}").exists())


def test_a_run_that_is_terminated_stops_its_servers_and_removes_its_directory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TEST_REDIS_URL", raising=False)
    command = [sys.executable, "-m", "tests.services", "--only", "redis7"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        line = run.stdout.readline()
        if "TEST_REDIS_URL" not in line:
            run.terminate()
            pytest.skip(f"NOT TESTED: {line}")
        port = int(line.rsplit(":", 1)[1].split("/")[0])
        server = RedisServer(Path("unused"), port, Path("unused"))
        assert server.call("PING") == "+PONG"
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 130
    with pytest.raises(ConnectionRefusedError):
        server.call("PING")
    assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob(f"{DIRECTORY_PREFIX}{run.pid}-*"))


def test_what_a_killed_run_left_in_the_temporary_directory_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead, alive = tmp_path / f"{DIRECTORY_PREFIX}{ended.pid}-x", tmp_path / f"{DIRECTORY_PREFIX}{os.getpid()}-x"
    dead.mkdir()
    alive.mkdir()
    remove_leftovers()
    assert not dead.exists()
    assert alive.exists()


def test_a_server_of_the_environment_is_used_and_none_is_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_REDIS_URL", "redis://somewhere:6379/0")
    with family(["redis7"]) as servers:
        assert not servers.servers
        assert not servers.missing


def test_a_server_that_cannot_be_had_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TEST_MARIADB_URL", raising=False)
    monkeypatch.setattr("tests.services.binaries.find", lambda *names: None)
    with family(["mariadb"]) as servers:
        assert not servers.servers
        assert "install mariadb-server" in servers.missing["mariadb"]
        assert "install mariadb-server" in servers.environment["DJANGO_JOBS_TEST_MISSING_MARIADB"]


@pytest.mark.parametrize(
    ("arguments", "parallel"),
    [
        ([], True),
        (["-q", "--color=yes", "-k", "unknown"], True),
        (["tests/core"], True),
        (["tests/test_docs.py", "tests/test_services.py"], True),
        (["tests/test_docs.py", "-x"], False),
        (["tests/test_docs.py::test_nothing"], False),
        (["-n", "0"], False),
        (["-n2", "tests/core"], False),
        (["-p", "no:xdist"], False),
        (["tests/core", "--pdb"], False),
        (["-sq", "tests/core"], False),
    ],
)
def test_much_is_run_side_by_side(arguments: list[str], parallel: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert bool(side_by_side(arguments)) is parallel


def test_processes_side_by_side_have_databases_of_their_own_on_redis(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_REDIS_URL", "redis://user:secret@somewhere:6379/0?timeout=5")
    monkeypatch.delenv("TEST_REDIS62_URL", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    take_own_redis_databases()
    assert os.environ["TEST_REDIS_URL"] == "redis://user:secret@somewhere:6379/0?timeout=5"
    for worker, number in (("gw0", 1), ("gw2", 3), ("gw2", 3)):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        take_own_redis_databases()
        assert os.environ["TEST_REDIS_URL"] == f"redis://user:secret@somewhere:6379/{number}?timeout=5"


@pytest.mark.parametrize("redis_url", ["cluster"], indirect=True)
def test_the_cluster_refuses_keys_of_two_slots_in_one_command(redis_url: str):
    port = int(redis_url.rsplit(":", 1)[1])
    server = RedisServer(Path("unused"), port, Path("unused"))
    assert server.call("MGET", "a", "b").startswith("-CROSSSLOT")
    assert server.call("MGET", "{a}1", "{a}2") == "*2"
