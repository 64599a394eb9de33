"""What a trial has shown, computed from what was written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.eyes import Sight
from tests.chaos.ledger import Execution
from tests.chaos.tables import Result

ENDED = ("SUCCESS", "FAILURE", "REVOKED")


@dataclass(slots=True, kw_only=True)
class Verdict:
    """One trial, counted."""

    row: int
    fault: str
    mode: str
    seed: int
    jobs: int
    faults: int
    #: Acknowledged and never ended, and how many of them the row says this mode may lose.
    lost: int
    lost_allowed: int = 0
    #: Jobs that ran more than once, and how many more runs the faults explain.
    twice: int = 0
    bound: int = 0
    #: Seconds from a fault until work went on, one for each fault where that could be seen.
    recovery: list[float] = field(default_factory=list)
    seconds: float = 0.0
    #: What was not as it must be, in words.
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        recovery = f", recovery {max(self.recovery):.2f} s at most" if self.recovery else ""
        return (
            f"row {self.row} {self.mode} seed {self.seed}: {self.jobs} jobs, {self.faults} faults, lost {self.lost}"
            f" (allowed {self.lost_allowed}), twice {self.twice} (bound {self.bound}){recovery}, {self.seconds:.1f} s"
        )

    def require(self) -> None:
        """Raise AssertionError when something was not as it must be."""
        assert self.ok, "\n".join([str(self), *self.problems])


def allowance(sights: Sequence[Sight], survivors: Collection[str]) -> Counter[str]:
    """
    Return how many more times each job may have run: once for each dead process that held it when it was last seen.

    ``sights``: one from before each fault, in order. ``survivors``: the consumers that are alive in the end.
    """
    last: dict[str, frozenset[str]] = {}
    for sight in sights:
        for consumer in sight.consumers | sight.flights.keys():
            last[consumer] = sight.flights.get(consumer, frozenset())
    return Counter(job for consumer, jobs in last.items() if consumer not in survivors for job in jobs)


def check_lost(
    acked: Collection[str], results: Mapping[str, Result], may_be_lost: Collection[str]
) -> tuple[set[str], list[str]]:
    """Return what was promised and has not ended, and the problems with that."""
    lost = {job for job in acked if job not in results or results[job].state not in ENDED}
    unexplained = lost - set(may_be_lost)
    return lost, [f"{len(unexplained)} jobs are lost: {sorted(unexplained)[:3]}"] if unexplained else []


def check_strangers(tried: Collection[str], results: Mapping[str, Result]) -> list[str]:
    """Nothing may have a result that nobody has sent."""
    strangers = set(results) - set(tried)
    return [f"{len(strangers)} results of jobs that nobody sent: {sorted(strangers)[:3]}"] if strangers else []


def check_runs(
    runs: Mapping[str, Sequence[Execution]], results: Mapping[str, Result], allowed: Mapping[str, int]
) -> tuple[int, list[str]]:
    """Return how many jobs ran more than once, and the problems: more runs than explained, or an end without a run."""
    again = {job: len(found) - 1 for job, found in runs.items() if len(found) > 1}
    problems = [
        f"{job} ran {extra + 1} times, {allowed.get(job, 0) + 1} are explained: {runs[job]}"
        for job, extra in again.items()
        if extra > allowed.get(job, 0)
    ]
    invented = [job for job, row in results.items() if row.state == "SUCCESS" and job not in runs]
    if invented:
        problems.append(f"{len(invented)} jobs have succeeded that never ran: {invented[:3]}")
    return len(again), problems[:10]


def check_states(results: Mapping[str, Result], expected: Mapping[str, str]) -> list[str]:
    """Every job ends as it should: in SUCCESS, unless the row expects something else of it."""
    wrong = {job: row for job, row in results.items() if row.state != expected.get(job, "SUCCESS")}
    return [f"{job} is {row.state} {row.exception_type}" for job, row in list(wrong.items())[:5]]


def check_effects(results: Mapping[str, Result], effects: Mapping[str, int]) -> list[str]:
    """What a job has written in the transaction of its result is there exactly once."""
    wrong = {job: effects.get(job, 0) for job, row in results.items() if row.state == "SUCCESS"}
    return [f"the effect of {job} is there {count} times" for job, count in wrong.items() if count != 1][:5]
