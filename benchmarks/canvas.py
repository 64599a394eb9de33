"""
What a canvas costs: ``python -m benchmarks.canvas [redis] [database]``.

On a Redis and a PostgreSQL of its own, as they are shipped, with one worker of one process: plain jobs with results,
such jobs in the outbox (where members are, too), and members of a group and of a chord, in turn on the same worker; a
chord of 10,000; a chain of 1,000; and how long messages are. Nothing else should run on the machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import Worker, wait_until
from benchmarks.servers import SHIPPED_SETTINGS
from tests.services import private_postgres, private_redis

SETTINGS = "benchmarks.apps.canvas_settings"
MEMBERS = 2000
ROUNDS = 5
WIDE = 10_000
LINKS = 1000
LONGEST = 300.0
#: Served by nobody: what is sent to it can be looked at.
SHELF = "shelf"


def main(brokers: Sequence[str]) -> None:
    """Measure each broker in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="django-jobs-canvas-") as directory:
        root = Path(directory)
        root.chmod(0o711)
        settings = [part for key, value in SHIPPED_SETTINGS.items() for part in ("-c", f"{key}={value}")]
        with private_postgres(root, *settings) as postgres, private_redis(root) as redis:
            for broker in brokers or ("redis", "database"):
                environment = os.environ | {
                    "DJANGO_SETTINGS_MODULE": SETTINGS,
                    "BENCHMARK_DATABASE": postgres.url,
                    "BENCHMARK_BROKER": redis.url if broker == "redis" else "database://default",
                }
                command = [sys.executable, "-m", "benchmarks.canvas", "--measure", broker, str(root)]
                subprocess.run(command, env=environment, check=True)


class Bench:
    """One broker, one worker."""

    def __init__(self, broker: str, root: Path) -> None:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        self.broker = broker
        self.log = root / f"{broker}.log"

    def say(self, text: str) -> None:
        print(f"{self.broker:>8}: {text}", flush=True)

    def run(self) -> None:
        """Measure everything."""
        self.sizes()
        # Long enough a lease for a machine on which something else runs after all.
        command = [sys.executable, "-m", "django", "runworker", "--no-reload", "--loglevel", "ERROR", "-c", "1"]
        with Worker([*command, "--queues", "default"], environment=os.environ, log=self.log) as worker:
            self.worker = worker
            self.members()
            self.barrier()
            self.links()

    def members(self) -> None:
        """Compare what a member costs with what a job costs."""
        from benchmarks.apps.canvases.jobs import number, safe_number, total
        from django_jobs import chord, group

        kinds: dict[str, Callable[[], Any]] = {
            "job": lambda: number.enqueue_many([((index,), {}) for index in range(MEMBERS)]),
            "job of the outbox": lambda: safe_number.enqueue_many([((index,), {}) for index in range(MEMBERS)]),
            "member of a group": lambda: group(number.s(index) for index in range(MEMBERS)).delay(),
            "member of a chord": lambda: chord([number.s(index) for index in range(MEMBERS)], total.s()).delay(),
        }
        seen: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
        self.drain(kinds["job"])  # everybody is warm
        for _ in range(ROUNDS):
            for kind, send in kinds.items():
                seen[kind].append(self.drain(send))
        for position, what in enumerate(("sent", "run and recorded", "CPU of the worker")):
            micros = {kind: [1e6 * one[position] / MEMBERS for one in found] for kind, found in seen.items()}
            costs = ", ".join(f"{kind} {statistics.median(found):.0f}" for kind, found in micros.items())
            ratios = [
                statistics.median(own / job for own, job in zip(micros[kind], micros["job"], strict=True))
                for kind in list(kinds)[1:]
            ]
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            self.say(f"{what}, µs each: {costs}; ratios {told}")

    def drain(self, send: Callable[[], Any]) -> tuple[float, float, float]:
        """Send jobs into a queue that waits, and let it go. Return seconds: of sending, of running, of CPU."""
        from django_jobs import operations, relay
        from django_jobs.models import JobResult

        JobResult.objects.all()._raw_delete("default")
        operations.pause("default")
        began = time.monotonic()
        send()
        sent = time.monotonic() - began
        relay.finish(LONGEST)
        cpu, began = self.worker.cpu_seconds(), time.monotonic()
        operations.resume("default")
        self.wait(lambda: JobResult.objects.filter(state="SUCCESS").count() >= MEMBERS, f"{MEMBERS} results")
        ran = time.monotonic() - began
        self.settle_down()
        return sent, ran, self.worker.cpu_seconds() - cpu

    def settle_down(self) -> None:
        """Wait until everything has ended."""
        from django_jobs.brokers import get_broker
        from django_jobs.models import Workflow

        def is_calm() -> bool:
            (counts,) = get_broker().counts(["default"])
            left = counts.ready + counts.scheduled + counts.in_flight
            return not left and not Workflow.objects.filter(finished_at=None).exists()

        self.wait(is_calm, "the end of everything")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        def met() -> bool:
            self.worker.check_alive()
            return condition()

        wait_until(met, seconds=LONGEST, what=what, every=0.02)

    def barrier(self) -> None:
        """Measure what lies between the end of the last member and the start of the body."""
        from benchmarks.apps.canvases.jobs import number, total
        from django_jobs import chord
        from django_jobs.models import JobResult

        pauses: list[float] = []
        for _ in range(3):
            JobResult.objects.all()._raw_delete("default")
            handle = chord([number.s(index) for index in range(WIDE)], total.s()).delay()
            assert handle.get(timeout=LONGEST) == sum(range(WIDE))
            self.settle_down()
            body = JobResult.objects.get(pk=handle.id)
            last = JobResult.objects.exclude(pk=handle.id).order_by("-finished_at")[0]
            assert body.started_at is not None
            assert last.finished_at is not None
            pauses.append(1000 * (body.started_at - last.finished_at).total_seconds())
        self.say(f"a chord of {WIDE:,}, from the last member's end to the body's start: {_list(pauses)} ms")

    def links(self) -> None:
        """Measure a long chain."""
        from benchmarks.apps.canvases.jobs import add_one
        from django_jobs import chain

        sending, running = [], []
        for _ in range(3):
            began = time.monotonic()
            handle = chain([add_one.s(0), *(add_one.s() for _ in range(LINKS - 1))]).delay()
            sent = time.monotonic()
            assert handle is not None
            assert handle.get(timeout=LONGEST) == LINKS
            sending.append(1000 * (sent - began))
            running.append(1000 * (time.monotonic() - sent) / LINKS)
            self.settle_down()
        self.say(f"a chain of {LINKS:,}: {_list(sending)} ms to send it, {_list(running)} ms a link")

    def sizes(self) -> None:
        """Say how long messages are, in shallow and deep canvases, narrow and wide ones."""
        from benchmarks.apps.canvases.jobs import number
        from django_jobs import chain, group, relay
        from django_jobs.brokers import get_broker
        from django_jobs.models import Workflow, WorkflowBarrier, WorkflowStep
        from django_jobs.models.outbox import OutboxJob
        from django_jobs.states import Place

        def deep(depth: int) -> Any:
            one = number.si(1).set(queue=SHELF)
            return one if not depth else chain(group(deep(depth - 1), number.si(1).set(queue=SHELF)), number.si(1))

        def wide(width: int) -> Any:
            return group(number.si(1).set(queue=SHELF) for _ in range(width))

        found = {}
        for name, canvas in {
            "depth 1": deep(1),
            "depth 5": deep(5),
            "width 10": wide(10),
            "width 10,000": wide(WIDE),
        }.items():
            canvas.delay()
            relay.finish(LONGEST)
            waiting = get_broker().peek(SHELF, Place.READY, limit=1)
            found[name] = len(waiting[0].body)
            get_broker().purge(SHELF, limit=2 * WIDE)
            for model in (Workflow, WorkflowStep, WorkflowBarrier, OutboxJob):
                model.objects.all()._raw_delete("default")
        self.say("bytes of a member's message: " + ", ".join(f"{size} at {name}" for name, size in found.items()))


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in values)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        import django

        django.setup()
        Bench(sys.argv[2], Path(sys.argv[3])).run()
    else:
        main(sys.argv[1:])
