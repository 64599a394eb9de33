"""
How late beat is, and whether it misses anything: ``python -m benchmarks.beat [SCENE ...]``.

Each scene has a database of its own, PostgreSQL as it is shipped or SQLite, and ends with a ledger: every moment must
have one run and every run one job. Nothing else should run on the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.servers import SHIPPED_SETTINGS
from tests.services import private_postgres

SETTINGS = "benchmarks.apps.beat_settings"
RUNBEAT = ("django", "runbeat", "--verbosity", "0")
LONGEST = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is due how often, on which database, and who fires it."""

    title: str
    command: Sequence[str]
    per_second: int
    seconds: int
    every: int = 1
    is_sqlite: bool = False
    lead: float = 4.0


SCENES = {
    "idle": Scene(title="an idle system: one beat, one run a second", command=RUNBEAT, per_second=1, seconds=60),
    "rows": Scene(
        title="10,000 rows, one beat, 100 due each second",
        command=RUNBEAT,
        per_second=100,
        seconds=40,
        every=100,
        lead=40.0,
    ),
    "storm": Scene(
        title="PostgreSQL, five beats, one killed every 0.25 s, 200 runs a second",
        command=("tests.beat.storm", "5", "0.25"),
        per_second=200,
        seconds=30,
    ),
    "sqlite": Scene(
        title="SQLite, three beats, one killed every 0.25 s, 20 runs a second",
        command=("tests.beat.storm", "3", "0.25"),
        per_second=20,
        seconds=30,
        is_sqlite=True,
    ),
}


def cpu_seconds(pid: int) -> float:
    """Return what a process and its children have used so far, those that have ended among them."""
    times = psutil.Process(pid).cpu_times()
    living = sum(sum(child.cpu_times()[:2]) for child in psutil.Process(pid).children(recursive=True))
    return float(times.user + times.system + times.children_user + times.children_system + living)


def play(scene: Scene) -> str:
    """Play a scene in this process' project, and return what was seen."""
    from django.core.management import call_command

    from tests.beat.storm import Storm

    call_command("migrate", verbosity=0)
    storm = Storm.prepare(
        "default", per_second=scene.per_second, seconds=scene.seconds, every=scene.every, lead=scene.lead
    )
    process = subprocess.Popen([sys.executable, "-m", *scene.command])
    try:
        time.sleep(max(storm.start.timestamp() - time.time(), 0))
        used, began = cpu_seconds(process.pid), time.monotonic()
        time.sleep(scene.seconds)
        share = (cpu_seconds(process.pid) - used) / (time.monotonic() - began)
        _wait(storm.is_over)
    finally:
        process.terminate()
        process.wait(30)
    mistakes, late = storm.mistakes(), storm.lateness()
    p50, p99 = (1000 * late[min(int(len(late) * part), len(late) - 1)] for part in (0.5, 0.99))
    return (
        f"{len(late)} runs of {len(storm.expected())}, {len(mistakes)} mistakes;"
        f" late by p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {1000 * late[-1]:.0f} ms;"
        f" CPU {100 * share:.0f} % of a core"
    )


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def main(names: Sequence[str]) -> None:
    """Play scenes, each in a process and on a database of its own."""
    for name in names or SCENES:
        scene = SCENES[name]
        with tempfile.TemporaryDirectory(prefix="django-jobs-beat-") as directory:
            root = Path(directory)
            root.chmod(0o711)
            if scene.is_sqlite:
                _stage(name, str(root / "beat.sqlite3"))
                continue
            settings = [part for key, value in SHIPPED_SETTINGS.items() for part in ("-c", f"{key}={value}")]
            with private_postgres(root, *settings) as server:
                _stage(name, server.url)


def _stage(name: str, place: str) -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": SETTINGS, "BENCHMARK_DATABASE": place}
    subprocess.run([sys.executable, "-m", "benchmarks.beat", "--play", name], env=environment, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--play"]:
        import django

        django.setup()
        chosen = SCENES[sys.argv[2]]
        print(f"{chosen.title}: {play(chosen)}", flush=True)
    else:
        main(sys.argv[1:])
