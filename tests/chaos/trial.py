"""One run of a row: servers, families, a producer, faults when their moment has come, and the verdict."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from tests.chaos import verdict as judge
from tests.chaos.eyes import DatabaseEyes, Eyes, RedisEyes, Sight
from tests.chaos.hosts import Host, Stalled, launch, send
from tests.chaos.laboratory import Laboratory, Mode, environment
from tests.chaos.ledger import GATE, Ledger
from tests.chaos.schedule import Moment, schedule
from tests.chaos.tables import Unreadable
from tests.chaos.verdict import Verdict
from tests.services import RedisServer

#: Short enough that a trial sees a lease run out, long enough that a busy machine keeps its heartbeats.
TIMES = {"HEARTBEAT": 0.5, "LEASE": 3, "SUSPECT_TIME": 1.5, "GRACE": 30}
LEASE, SUSPECT = 3.0, 1.5
#: A trial in which nothing has moved for so long has come to a halt.
STALL_SECONDS = 40.0
LOOK_SECONDS = 0.25


class Trial:
    """
    A context in which a row runs. ``start``, then faults at ``moments``, then ``finish``.

    What may be changed before ``start``: ``broker_url``, ``database_url`` (a proxy before a server), ``jobs_settings``.
    """

    def __init__(
        self,
        laboratory: Laboratory,
        mode: Mode,
        *,
        row: int,
        fault: str,
        seed: int,
        jobs: int,
        faults: int,
        redis_arguments: tuple[str, ...] = (),
    ) -> None:
        self.laboratory, self.mode, self.seed, self.jobs, self.faults = laboratory, mode, seed, jobs, faults
        self.row, self.name = row, fault
        self.directory = laboratory.new_directory()
        self.ledger = Ledger(self.directory)
        self.rows = laboratory.database(mode.database)
        self.prefix = f"c{uuid4().hex[:8]}"
        self.database_url = self.rows.url
        self.broker_url = "database://default"
        self.redis: RedisServer | None = None
        self.eyes: Eyes = DatabaseEyes(self.rows, together=not mode.atomic)
        if mode.is_redis:
            self.redis = laboratory.redis(mode.redis, *redis_arguments)
            self.broker_url = self.redis.url
            self.eyes = RedisEyes(self.redis.port, self.prefix, single_slot=mode.redis == "cluster")
        self.jobs_settings: dict[str, Any] = {"PREFIX": self.prefix, "WORKER": TIMES}
        if mode.outbox:
            self.jobs_settings["TASKS"] = {"*": {"outbox": True}}
        self.hosts: list[Host] = []
        self._everyone: list[Host] = []
        self.producers: list[subprocess.Popen[bytes]] = []
        self.hit: list[Sight] = []
        self.applied: list[str] = []
        self.recovery: list[float] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.begun = time.monotonic()
        self._looked = 0.0
        self._named = 0
        #: How many jobs beyond the moment of a fault may be sent before it.
        self._margin = max(20, jobs // (4 * (faults + 1)))
        self.moments_planned = schedule(row, mode.name, seed=seed, jobs=jobs, faults=faults)

    # Life

    def __enter__(self) -> Self:
        self.say(f"{self.name}, {self.jobs} jobs; the schedule of seed {self.seed}:")
        for moment in self.moments_planned:
            self.say(f"  {moment}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for producer in self.producers:
            producer.kill()
            producer.wait()
        for host in self._everyone:
            host.destroy()
        if error is not None:
            self.show_logs()

    def say(self, text: str) -> None:
        elapsed = time.monotonic() - self.begun
        print(f"[{elapsed:6.2f}] row {self.row} {self.mode.name}: {text}", flush=True)

    def show_logs(self) -> None:
        for log in sorted(self.directory.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}", flush=True)

    def environment(self) -> dict[str, str]:
        jobs = {"BROKER": self.broker_url, **self.jobs_settings}
        return environment(json.dumps({"database": self.database_url, "jobs": jobs}), self.directory)

    def start_old(self) -> Host:
        """Start a worker of the release before."""
        return self.add_host(environment=self.environment() | {"CHAOS_RELEASE": "old"})

    def start(self, *, hosts: int = 2, concurrency: int = 2, flags: tuple[str, ...] = ()) -> None:
        for _ in range(hosts):
            self.add_host(concurrency, *flags)

    def add_host(self, concurrency: int = 2, *flags: str, environment: dict[str, str] | None = None) -> Host:
        self._named += 1
        name = f"host{self._named}-{self.prefix}"
        host = Host(name, environment or self.environment(), self.directory, "-c", str(concurrency), *flags)
        self.hosts.append(host)
        self._everyone.append(host)
        return host

    def produce(
        self,
        *,
        jobs: int | None = None,
        task: str = "",
        backlog: int | None = None,
        arguments: list[Any] | None = None,
        **options: Any,
    ) -> None:
        """Send jobs from a process of its own, by default as many as the trial has, with a quarter of them waiting."""
        count = self.jobs if jobs is None else jobs
        waiting = max(50, count // 4) if backlog is None else backlog
        self.open_gate(self.moments_planned[0].after + self._margin if self.moments_planned else count)
        task = task or ("count" if self.mode.atomic else "work")
        flags = [str(self.directory), f"--jobs={count}", f"--seed={self.seed}", f"--backlog={waiting}"]
        flags += [f"--task={task}", f"--options={json.dumps(options)}", f"--arguments={json.dumps(arguments)}"]
        if self.mode.outbox or self.mode.atomic or not self.mode.is_redis:
            flags.append("--in-transaction")
        log = self.directory / f"producer{len(self.producers)}.log"
        self.producers.append(launch("tests.chaos.produce", *flags, environment=self.environment(), log=log))

    # Waiting

    def wait_for(self, condition: Callable[[], object], what: str, *, stall: float = STALL_SECONDS) -> None:
        """
        Wait for a condition, looking at the broker all the while. Raises Stalled when nothing has moved for ``stall``
        seconds: a slow machine is waited for.
        """
        seen, since = self._standing(), time.monotonic()
        while not condition():
            time.sleep(0.01)
            dead = [host.name for host in self.hosts if not host.is_running]
            if dead:
                raise Stalled(f"{dead[0]} has ended by itself while it was needed for {what}")
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self.look()
                standing = self._standing()
                if standing != seen:
                    seen, since = standing, time.monotonic()
            if time.monotonic() - since > stall:
                raise Stalled(f"nothing has moved for {stall:.0f} s while waiting for {what}; {self._standing()}")

    def _standing(self) -> tuple[int, int, int]:
        ended = -1
        with suppress(Unreadable):
            ended = self.rows.ended()
        return self.ledger.promised(), self.ledger.started(), ended

    def wait_started(self, count: int) -> None:
        self.wait_for(lambda: self.ledger.started() >= count, f"{count} runs")

    def moments(self) -> Iterator[Moment]:
        """Yield each moment of the schedule when it has come. Jobs go on being sent, so that each fault meets some."""
        for moment in self.moments_planned:
            if self.hosts:
                self.wait_for(self.is_complete, "the workers to be there")
            self.open_gate(moment.after + self._margin)
            self.wait_started(moment.after)
            yield moment

    def open_gate(self, jobs: int) -> None:
        """Let the producers send so many jobs in all."""
        following = self.directory / "gate.new"
        following.write_text(str(jobs))
        following.replace(self.directory / GATE)

    # Faults

    def look(self) -> Sight | None:
        """Look at the broker, and note where an id is not in exactly one place. None: it is away."""
        self._looked = time.monotonic()
        try:
            sight = self.eyes.look()
        except Unreadable:
            return None
        for violation in sight.violations:
            text = f"I1: {violation}"
            if text not in self.problems and len(self.problems) < 20:
                self.problems.append(text)
        return sight

    @contextmanager
    def fault(self, what: str) -> Iterator[Sight | None]:
        """Apply a fault inside the block; who held what is noted right before it, and places are checked after it."""
        sight = self.look()
        if sight is not None:
            self.hit.append(sight)
        self.applied.append(what)
        self.say(f"{what} ({self.ledger.started()} runs, {len(sight.in_flight) if sight else '?'} in flight)")
        yield sight
        self.look()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, looking at the broker."""
        until = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() > until, "the time to pass", stall=seconds + STALL_SECONDS)

    def host(self, moment: Moment) -> Host:
        """Return the worker that a moment chooses, once all of them run and are known to the broker."""
        self.wait_for(self.is_complete, "the workers to be there")
        return self.hosts[moment.host % len(self.hosts)]

    def is_complete(self) -> bool:
        """Say whether every worker has its processes, and each of these its lease."""
        sight = self.look()
        runners = [len(host.runners()) for host in self.hosts]
        return sight is not None and all(runners) and len(sight.consumers) >= sum(runners)

    def candidate(self, moment: Moment) -> int:
        """Return the child that a moment chooses."""
        runners = self.host(moment).runners()
        return runners[moment.child % len(runners)]

    def next_run(self, since: float) -> float:
        """Wait until a job starts after this moment (monotonic), and return how many seconds that took."""

        self.open_gate(self.ledger.promised() + self._margin)

        def runs() -> list[float]:
            return [run.at for run in self.ledger.executions() if run.at > since]

        self.wait_for(runs, "a job to start after a fault")
        return min(runs()) - since

    # The end

    def finish(
        self,
        *,
        may_be_lost: set[str] | None = None,
        extra_runs: Counter[str] | None = None,
        no_run_twice: bool = False,
        expected: dict[str, str] | None = None,
        stop: bool = True,
    ) -> Verdict:
        """
        Let everything end, and judge.

        ``may_be_lost``: what this mode does not promise to keep. ``extra_runs``: runs that the row explains besides
        those of dead processes. ``no_run_twice``: the fault kills nobody, so nothing explains a second run.
        """
        excused = may_be_lost or set()
        self.open_gate(sys.maxsize)
        self._wait_for_ends(excused)
        survivors = self.wait_for_quiet()
        if stop:
            self.stop_hosts()
        results = self.rows.results()
        tried, acked, runs = self.ledger.tried(), self.ledger.acked(), self.ledger.by_job()
        allowed = Counter[str]() if no_run_twice else judge.allowance(self.hit, survivors)
        allowed.update(extra_runs or {})
        lost, problems = judge.check_lost(acked, results, excused)
        twice, unexplained = judge.check_runs(runs, results, allowed)
        problems += [*unexplained, *judge.check_strangers(tried, results)]
        problems += judge.check_states(results, expected or {})
        problems += [f"an end was written over: {row}" for row in self.rows.overwritten()[:5]]
        if self.mode.atomic:
            problems += judge.check_effects(results, self.rows.counters())
        found = Verdict(
            row=self.row,
            fault=self.name,
            mode=self.mode.name,
            seed=self.seed,
            jobs=len(acked),
            faults=len(self.applied),
            lost=len(lost),
            lost_allowed=len(excused & acked),
            twice=twice,
            bound=sum(allowed.values()),
            recovery=self.recovery,
            seconds=time.monotonic() - self.begun,
            problems=[*self.problems, *problems],
            notes=self.notes,
        )
        self.say(str(found))
        if not found.ok:
            self.show_logs()
        return found

    def _wait_for_ends(self, excused: set[str]) -> None:
        def is_over() -> bool:
            if any(producer.poll() is None for producer in self.producers):
                return False
            if self.rows.ended() < self.ledger.promised() - len(excused):
                return False
            results = self.rows.results()
            return all(job in results and results[job].state in judge.ENDED for job in self.ledger.acked() - excused)

        def is_over_now() -> bool:
            with suppress(Unreadable):
                return is_over()
            return False

        try:
            self.wait_for(is_over_now, "all jobs to end")
        except Stalled as error:
            self.problems.append(str(error))
        for producer in self.producers:
            if producer.poll():
                self.problems.append(f"the producer ended with {producer.returncode}")

    def wait_for_quiet(self) -> frozenset[str]:
        """Wait until nothing is left but the leases of those who live; return their names."""
        sight: Sight | None = None

        def left() -> list[str]:
            nonlocal sight
            sight = self.look()
            if sight is None:
                return ["the broker is away"]
            alive = sum(len(host.runners()) for host in self.hosts if host.is_running)
            ghosts = [f"{len(sight.consumers)} leases for {alive} processes"] if len(sight.consumers) > alive else []
            return [*sight.left(), *ghosts]

        deadline = time.monotonic() + STALL_SECONDS
        while (remains := left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        if remains:
            self.problems.append(f"left in the end: {', '.join(remains)}")
        return sight.consumers if sight else frozenset()

    def thaw(self) -> None:
        """Let everything run that a fault has stopped."""
        for host in self.hosts:
            send([host.pid, *host.family()], signal.SIGCONT)
        self.laboratory.restore()

    def stop_hosts(self) -> None:
        """End every family in the orderly way; nothing may be left of their leases."""
        running = [host for host in self.hosts if host.is_running]
        for host in running:  # one that has no handlers yet would end as anything does that is killed
            self.wait_for(host.runners, "a worker to be ready to be stopped")
        for host in running:
            host.process.send_signal(signal.SIGTERM)
        for host in running:
            try:
                code = host.wait()
            except Stalled as error:
                self.problems.append(str(error))
            else:
                self.problems += [f"{host.name} ended with {code}"] if code else []
        sight = self.look()
        if sight and (sight.consumers or sight.left()):
            self.problems.append(f"left after the stop: {len(sight.consumers)} leases, {sight.left()}")
