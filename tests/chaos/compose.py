"""
The producer of canvases, and the reader who compares what has become of them with what they mean.

Each canvas has a seed, from which both draw it, and a ledger of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import django
from django.db import connections

from tests.chaos.ledger import ACKED, GATE, Ledger, Notebook

#: Before a canvas is sent: its seed. After it: its seed and the id of its handle.
COMPOSED = "composed"
#: Canvases of one seed of a trial.
ROOM = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--canvases", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backlog", type=int, default=20, help="how many may be under way before sending pauses")
    parser.add_argument("--compare", action="store_true")
    given = parser.parse_args()
    django.setup()
    if given.compare:
        print(json.dumps(compare(given.directory)))
    else:
        Composer(given).run()


class Composer:
    """Sends canvases until enough were promised, and goes on after every error."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self._acked = Notebook(given.directory / ACKED)
        self._composed = Notebook(given.directory / COMPOSED)
        self._ledger = Ledger(given.directory)

    def run(self) -> None:
        from tests.workflow.actors import WAYS
        from tests.workflow.cases import Case

        promised, seed = 0, self._given.seed * ROOM
        while promised < self._given.canvases:
            if promised >= self._gate() or self._is_crowded():
                time.sleep(0.01)
                continue
            seed += 1
            case = Case(seed, ledger_of(self._given.directory, seed), ways=WAYS)
            if case.is_nothing or case.is_one_task:
                continue  # a job alone is promised less where the outbox is not asked for
            self._composed.write(json.dumps({"seed": seed}))
            try:
                handle = case.canvas.delay()
            except Exception as error:
                print(f"{type(error).__name__}: {error}", flush=True)
                connections.close_all()
                time.sleep(0.05)
            else:
                self._composed.write(json.dumps({"seed": seed, "id": handle.id}))
                self._acked.write(handle.id)
                promised += 1

    def _gate(self) -> int:
        return int((self._given.directory / GATE).read_text())

    def _is_crowded(self) -> bool:
        from django_jobs.models import Workflow

        try:
            return bool(Workflow.objects.filter(finished_at=None).count() >= self._given.backlog)
        except Exception:
            connections.close_all()
            return True


def ledger_of(directory: Path, seed: int) -> Path:
    return directory / f"canvas-{seed}"


def compare(directory: Path) -> dict[str, Any]:
    """Return what is not as it must be, and by id how many more times a task has called than once."""
    from django_jobs.async_result import AsyncResult
    from tests.workflow.actors import WAYS
    from tests.workflow.cases import Case, differences

    problems: list[str] = []
    again: Counter[str] = Counter()
    handles: dict[int, str | None] = {}
    for line in (directory / COMPOSED).read_text().splitlines():
        entry = json.loads(line)
        handles[entry["seed"]] = entry.get("id")
    for seed, handle_id in handles.items():
        case = Case(seed, ledger_of(directory, seed), ways=WAYS)
        entries = case.ledger.entries()
        if handle_id is None and not entries:
            continue  # nobody knows whether it was sent; it seems that it was not
        again.update(entry["id"] for entry in entries)
        first = {entry["id"]: entry for entry in entries}.values()
        calls = Counter(entry["call"] for entry in first if "call" in entry)
        told = Counter(entry["told"] for entry in first if "told" in entry)
        found = [*differences("calls", calls, case.calls), *differences("errors told", told, case.told)]
        if handle_id is not None:
            found += case.value_problems(AsyncResult(handle_id))
        problems += [f"canvas {seed}: {one}" for one in found]
    return {"problems": problems, "again": {job: count - 1 for job, count in again.items() if count > 1}}


if __name__ == "__main__":
    main()
