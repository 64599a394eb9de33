"""The gallery as people use it: real HTTP, a real worker, real photographs, on each broker; and the demo around it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from testproject.demo.client import Client, HTTPStatusError
from testproject.demo.photographs import PhotographsError, photographs
from testproject.demo.progress import Progress, jobs
from testproject.demo.site import USER, Site
from testproject.demo.verify import verify
from tests.services import named_redis, why_missing
from tests.services.process import free_port

ROOT = Path(__file__).resolve().parents[2]
JOBS_PER_PHOTOGRAPH = 5
DEADLINE = 90.0

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no other test's server, or connection, take the port between its choice and the start of the site."""
    monkeypatch.setattr("testproject.demo.site.free_port", lambda preferred=None: free_port())


@pytest.fixture(scope="module")
def pictures() -> list[Path]:
    try:
        return photographs()
    except PhotographsError as error:
        pytest.skip(f"NOT TESTED with real photographs: {error}")


def redis_url() -> str:
    url = named_redis().get("redis7") or named_redis().get("redis62")
    if url is None:
        pytest.skip(why_missing("redis7"))
    return url


@pytest.fixture
def postgres_database() -> Iterator[str]:
    """The URL of a new database on PostgreSQL."""
    url = os.environ.get("TEST_POSTGRES_URL")
    if not url:
        pytest.skip(why_missing("postgres"))
    name = f"test_gallery_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """The site on each broker, not started yet."""
    if request.param == "redis":
        return Site(tmp_path, broker=redis_url())
    if request.param == "postgres":
        return Site(tmp_path, database=request.getfixturevalue("postgres_database"))
    return Site(tmp_path)


def logged_in(site: Site) -> Client:
    client = Client(site.url)
    client.login(USER, site.password)
    return client


def wait_for(site: Site, client: Client, condition: Callable[[Progress], bool]) -> dict[str, Any]:
    """Return the status of the site as soon as its progress satisfies the condition."""
    deadline = time.monotonic() + DEADLINE
    while True:
        site.check()
        status = client.status()
        if condition(Progress.of(status)):
            return status
        if time.monotonic() > deadline:
            unfinished = [f"{name}: {job}" for name, job in jobs(status) if not job["ended"]]
            log = site.processes[-1].tail(40)
            pytest.fail(f"After {DEADLINE:.0f} s {Progress.of(status)}\n" + "\n".join([*unfinished, log]))
        time.sleep(0.1)


def wait_until_done(site: Site, client: Client) -> dict[str, Any]:
    return wait_for(site, client, lambda progress: progress.complete)


def processes_of(directory: Path) -> dict[int, str]:
    """Return pid and command of every process started for this directory, however deep: they inherit the variable."""
    mark = f"GALLERY_DATA={directory}".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def test_photographs_become_thumbnails_reports_and_mails(site: Site, pictures: list[Path]):
    with site:
        client = logged_in(site)
        for picture in pictures:
            client.upload(picture)
        first = Progress.of(client.status())
        assert first.total == JOBS_PER_PHOTOGRAPH * len(pictures)
        client.post("/reports/export/", {}, form="/reports/")
        client.post("/reports/visits/", {}, form="/reports/")
        status = wait_until_done(site, client)
        findings = verify(site, client, pictures)
        assert findings.wrong == []
        assert Progress.of(status).states == {"SUCCESS": first.total + 2}
        for page in ("/", "/photos/1/", "/reports/"):
            assert b"data-unfinished" not in client.get(page)
        assert b"QV-R51" in client.get("/photos/1/")
        admin = client.get("/admin/django_jobs/jobresult/").decode()
        assert "gallery.jobs.make_thumbnail" in admin
        assert set(site.stop().values()) <= {0, -signal.SIGTERM}
    assert processes_of(site.directory) == {}


def test_pages_show_work_that_waits_for_a_worker(site: Site, pictures: list[Path]):
    site.workers = 0
    with site:
        client = logged_in(site)
        client.upload(pictures[0], title="Waiting <b>here</b>")
        page = client.get("/?part=1").decode()
        assert "data-unfinished" in page
        assert "Waiting &lt;b&gt;here&lt;/b&gt;" in page
        assert {
            job["state"] for photo in client.status()["photos"] for job in (photo["exif_job"], photo["notice_job"])
        } == {"PENDING"}
        site.start_worker()
        wait_until_done(site, client)
        assert "data-unfinished" not in client.get("/?part=1").decode()


def test_a_worker_that_is_killed_loses_nothing(site: Site, pictures: list[Path]):
    with site:
        client = logged_in(site)
        for picture in pictures[:4]:
            client.upload(picture)
        worker = site.processes.pop()
        wait_for(site, client, lambda progress: progress.ended > 0)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.end(20)
        assert not Progress.of(client.status()).complete
        site.start_worker()
        status = wait_until_done(site, client)
        assert set(Progress.of(status).states) == {"SUCCESS"}
        for photo in status["photos"]:
            assert all(thumbnail["url"] for thumbnail in photo["thumbnails"])
            assert photo["notice_sent"]


def test_an_export_shows_how_far_it_is(tmp_path: Path, pictures: list[Path]):
    with Site(tmp_path) as site:
        client = logged_in(site)
        for picture in 3 * pictures:
            client.upload(picture)
        shown: list[int] = []
        deadline = time.monotonic() + DEADLINE
        while not shown:  # one may be over before anybody has looked
            assert time.monotonic() < deadline
            client.post("/reports/export/", {}, form="/reports/")
            seen = []
            while not (export := client.status()["exports"][0]["job"])["ended"]:
                site.check()
                assert time.monotonic() < deadline, export
                seen.append((export["done"], export["total"]))
            assert export["state"] == "SUCCESS"
            shown = [done for done, total in seen if total == 3 * len(pictures)]
        assert shown == sorted(shown)


def test_what_is_no_photograph_is_refused_and_sends_no_job(tmp_path: Path):
    fake = tmp_path / "fake.jpg"
    fake.write_text("no picture")
    with Site(tmp_path / "site") as site:
        with pytest.raises(HTTPStatusError, match="403"):
            Client(site.url).post("/reports/export/", {}, form="/status.json")
        client = logged_in(site)
        with pytest.raises(HTTPStatusError, match="valid image"):
            client.upload(fake)
        assert client.status() == {"photos": [], "exports": [], "visits": []}


def demo(*arguments: str) -> subprocess.Popen[str]:
    # Two of them that choose the same port at the same moment would talk to each other's site.
    command = [sys.executable, "-m", "testproject.demo", "--port", str(free_port()), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("broker", ["database", "redis"])
def test_the_demo_processes_everything_once(broker: str, pictures: list[Path]):
    arguments = ["--once"] if broker == "database" else ["--once", "--broker", redis_url()]
    with demo(*arguments) as process:
        output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    assert f"{len(pictures)} photographs, {3 * len(pictures)} thumbnails" in output


def test_the_demo_says_what_is_wrong(tmp_path: Path):
    with demo("--once", "--broker", "redis://127.0.0.1:1/0") as process:
        output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "No Redis answers at redis://127.0.0.1:1/0" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_cleanly(number: signal.Signals, pictures: list[Path]):
    with demo() as process:
        assert process.stdout is not None
        output = []
        for line in process.stdout:
            output.append(line)
            if "The site stays up" in line:
                break
        logs = next((line.split()[1] for line in output if line.split()[:1] == ["logs"]), "")
        directory = Path(logs).parent
        assert len(processes_of(directory)) >= 3, "".join(output)
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(30) == 0, rest
    assert processes_of(directory) == {}
    assert not directory.exists()


def test_the_tests_of_the_site_itself_pass(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT / "testproject",
        env=os.environ | {"GALLERY_DATA": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
