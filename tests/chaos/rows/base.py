"""What a row is, and how it is declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from django_jobs.options import OPTION_NAMES
from tests.chaos.hosts import Stalled
from tests.chaos.laboratory import MODES, Laboratory, Missing
from tests.chaos.trial import Trial
from tests.chaos.verdict import Verdict

Body = Callable[[Trial], Verdict]

REDIS = ("redis", "redis+outbox")
EVERY_REDIS = (*REDIS, "redis62", "cluster")
DATABASES = ("postgres", "sqlite", "mariadb")
EVERYWHERE = (*EVERY_REDIS, *DATABASES)
#: Effects in the database must be there exactly once, whatever happens.
ATOMIC = ("redis+atomic", "postgres+atomic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of fault."""

    number: int
    fault: str
    body: Body
    modes: Sequence[str]
    #: What the bounded run does, and in which modes it does it.
    jobs: int
    faults: int
    #: A longer run has more faults in proportion to its jobs, but no more than this.
    most: int
    brief: Sequence[str]
    redis_arguments: tuple[str, ...]
    #: Options and modules of the product that it needs.
    needs: Sequence[str]
    #: Why it cannot pass yet; "": it must.
    broken: str

    @property
    def label(self) -> str:
        return f"{self.number}-{self.body.__name__}"

    def missing(self, mode: str) -> str | None:
        """Say what the product does not have yet of what this row needs in this mode; None: it can run."""
        wanted = [*self.needs, *(["outbox"] if MODES[mode].outbox else []), *(["atomic"] if MODES[mode].atomic else [])]
        lacking = [name for name in wanted if not has(name)]
        return f"NOT TESTED: row {self.number} ({self.fault}) needs {', '.join(lacking)}" if lacking else None

    def faults_for(self, jobs: int) -> int:
        """Return how many faults go with so many jobs."""
        return min(max(self.faults, self.faults * jobs // self.jobs), self.most)

    def run(
        self, laboratory: Laboratory, mode: str, *, seed: int, jobs: int | None = None, faults: int | None = None
    ) -> Verdict:
        """Run it once. Raises Missing when a server or a part of the product is not there."""
        reason = self.missing(mode)
        if reason:
            raise Missing(reason)
        with Trial(
            laboratory,
            MODES[mode],
            row=self.number,
            fault=self.fault,
            seed=seed,
            jobs=jobs or self.jobs,
            faults=self.faults_for(jobs or self.jobs) if faults is None else faults,
            redis_arguments=self.redis_arguments,
        ) as trial:
            try:
                return self.body(trial)
            except Stalled as error:
                trial.problems.append(str(error))
                trial.thaw()
                return trial.finish()


def has(name: str) -> bool:
    """Say whether the product has an option of @job, or a module (with a dot in front)."""
    return find_spec(f"django_jobs{name}") is not None if name.startswith(".") else name in OPTION_NAMES


ROWS: list[Row] = []


def row(
    number: int,
    fault: str,
    *,
    modes: Sequence[str],
    jobs: int = 400,
    faults: int = 3,
    most: int = 20,
    brief: Sequence[str] | None = None,
    redis_arguments: tuple[str, ...] = (),
    needs: Sequence[str] = (),
    broken: str = "",
) -> Callable[[Body], Body]:
    """Declare a row. ``brief``: the modes of the bounded run; by default plain Redis and PostgreSQL of them."""

    def declare(body: Body) -> Body:
        usual = [mode for mode in modes if mode in ("redis", "postgres")]
        ROWS.append(
            Row(
                number=number,
                fault=fault,
                body=body,
                modes=modes,
                jobs=jobs,
                faults=faults,
                most=most,
                brief=usual if brief is None else brief,
                redis_arguments=redis_arguments,
                needs=needs,
                broken=broken,
            )
        )
        ROWS.sort(key=lambda made: made.number)
        return body

    return declare
