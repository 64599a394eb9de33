"""The command line of the demo: ``script/demo [--broker URL] [--once]``."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from .client import Client, HTTPStatusError
from .photographs import PhotographsError, photographs
from .process import SiteError
from .progress import Progress
from .site import DATABASE_BROKER, USER, Site
from .verify import verify

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
ONCE_TIMEOUT = 120.0


class Stopped(BaseException):
    """Ctrl-C, or TERM."""


def stop(signum: int, frame: FrameType | None) -> None:
    """Unwind everything, once."""
    raise Stopped


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="script/demo",
        description="Run the photo gallery with a worker, and feed it real photographs.",
    )
    parser.add_argument(
        "--broker", default=DATABASE_BROKER, metavar="URL", help="where jobs wait (default %(default)s)"
    )
    parser.add_argument(
        "--database", default="", metavar="URL", help="postgresql:// or mysql:// (default: a new SQLite file)"
    )
    parser.add_argument("--photos", type=Path, metavar="DIRECTORY", help="photographs of your own")
    parser.add_argument("--port", type=int, default=8000, help="where the site listens, if nobody does yet (8000)")
    parser.add_argument("--once", action="store_true", help="process everything, check it, and end")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the demo and return its exit code: 0, also after Ctrl-C; 1 when something is wrong, which is then said."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        with directory() as path:
            site = Site(path, broker=options.broker, database=options.database, preferred_port=options.port)
            return run(site, options)
    except Stopped:
        say("Stopped; nothing is left running.")
        return 130 if options.once else 0
    except (SiteError, HTTPStatusError, PhotographsError) as error:
        print(f"The demo has failed. {error}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A new directory for one run, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="django-jobs-demo-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run(site: Site, options: argparse.Namespace) -> int:
    """Start the site, feed it, and stay, or with ``--once`` check what became of it."""
    started = time.monotonic()
    say(f"Making a database and starting the site (broker {options.broker}) ...")
    with ThreadPoolExecutor(max_workers=1) as pool:
        pictures = pool.submit(find_photographs, options.photos)  # may download, while the database is being made
        with site:
            announce(site)
            client = Client(site.url)
            client.login(USER, site.password)
            feed(client, pictures.result())
            watch(site, client, ONCE_TIMEOUT if options.once else None)
            if not options.once:
                say("Everything is done. The site stays up; Ctrl-C ends it.")
                stay(site)
            return conclude(site, client, pictures.result(), started)


def find_photographs(given: Path | None) -> list[Path]:
    """Return the photographs to upload."""
    if given is None:
        return photographs()
    found = sorted(path for path in given.glob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise PhotographsError(f"There is no photograph ({', '.join(PICTURES)}) in {given}.")
    return found


def announce(site: Site) -> None:
    """Print where to look."""
    say(
        f"\n  gallery   {site.url}/"
        f"\n  admin     {site.url}/admin/django_jobs/jobresult/"
        f"\n  login     {USER} / {site.password}"
        f"\n  logs      {site.directory}/*.log\n"
    )


def feed(client: Client, pictures: Sequence[Path]) -> None:
    """Upload the photographs, then ask for both reports."""
    for picture in pictures:
        say(f"uploading {picture.name}")
        client.upload(picture)
    client.post("/reports/export/", {}, form="/reports/")
    client.post("/reports/visits/", {}, form="/reports/")


def watch(site: Site, client: Client, timeout: float | None) -> None:
    """Print how far the jobs are, until all have ended; raises SiteError when a timeout is given and they have not."""
    deadline = time.monotonic() + timeout if timeout else None
    shown = ""
    while True:
        site.check()
        progress = Progress.of(client.status())
        if str(progress) != shown:
            shown = str(progress)
            say(shown)
        if progress.complete:
            return
        if deadline and time.monotonic() > deadline:
            raise SiteError(
                f"After {timeout:.0f} s only {progress}. The end of the worker's log:\n{site.processes[-1].tail()}"
            )
        time.sleep(0.25)


def stay(site: Site) -> None:
    """Watch over the processes until a signal comes."""
    while True:
        site.check()
        time.sleep(0.5)


def conclude(site: Site, client: Client, pictures: Sequence[Path], started: float) -> int:
    """Check what was made, print it, and return the exit code."""
    findings = verify(site, client, pictures)
    codes = site.stop()
    findings.expect(codes["worker"] == 0, f"the worker ended with exit code {codes['worker']}, not 0")
    say(f"\nDone in {time.monotonic() - started:.1f} s, and checked:")
    for line in findings.done:
        say(f"  {line}")
    for line in findings.wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if findings.wrong else 0


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
