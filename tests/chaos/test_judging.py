"""The judge itself: each kind of breach, made by hand, must be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from django_jobs.brokers.base import Consumer, Message
from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.identifiers import new_id
from tests.chaos import verdict as judge
from tests.chaos.eyes import DatabaseEyes, RedisEyes, Sight
from tests.chaos.laboratory import Laboratory
from tests.chaos.ledger import LINE, RUNS, Execution, Ledger, line_of
from tests.chaos.schedule import schedule
from tests.chaos.tables import Result, Rows

pytestmark = pytest.mark.chaos


def result(state: str = "SUCCESS") -> Result:
    return Result(task="t", state=state, result="1", fence=0, exception_type="", deliveries=0)


def sight(flights: dict[str, set[str]], *others: str) -> Sight:
    held = {name: frozenset(ids) for name, ids in flights.items()}
    return Sight(
        counts={},
        consumers=frozenset([*flights, *others]),
        silent=frozenset(),
        flights=held,
        known=frozenset(),
        violations=(),
    )


class TestTheLedger:
    def test_a_line_is_as_long_as_every_other(self, tmp_path: Path):
        ledger = Ledger(tmp_path)
        with (tmp_path / RUNS).open("ab") as file:
            for pid, at in ((1, 0.5), (4_000_000, 1e8)):
                line = line_of(new_id(), pid, at)
                assert len(line) == LINE
                file.write(line)
        assert ledger.started() == 2
        assert [run.pid for run in ledger.executions()] == [1, 4_000_000]


class TestTheJudge:
    def test_what_was_promised_and_has_no_end_is_lost(self):
        results = {"a": result(), "b": result("RETRY")}
        assert judge.check_lost({"a", "b", "c"}, results, ()) == (
            {"b", "c"},
            ["2 jobs are lost: ['b', 'c']"],
        )
        assert judge.check_lost({"a", "c"}, results, {"c"}) == ({"c"}, [])

    def test_a_second_run_that_nothing_explains(self):
        runs = {"a": [Execution("a", 1, 0.0), Execution("a", 2, 1.0)], "b": [Execution("b", 1, 0.0)]}
        results = {"a": result(), "b": result()}
        twice, problems = judge.check_runs(runs, results, {})
        assert twice == 1
        assert len(problems) == 1
        assert judge.check_runs(runs, results, {"a": 1}) == (1, [])

    def test_a_success_without_a_run(self):
        assert judge.check_runs({}, {"a": result()}, {})[1] == ["1 jobs have succeeded that never ran: ['a']"]

    def test_only_the_dead_explain_a_second_run_and_only_of_what_they_held_last(self):
        sights = [sight({"one": {"a"}, "two": {"b"}}), sight({"one": {"c"}, "two": {"d"}}, "three"), sight({}, "three")]
        assert judge.allowance(sights, {"three"}) == Counter(c=1, d=1)
        assert judge.allowance(sights, {"one", "three"}) == Counter(d=1)

    def test_an_end_that_nobody_expected(self):
        assert judge.check_states({"a": result("FAILURE")}, {}) == ["a is FAILURE "]
        assert judge.check_states({"a": result("FAILURE")}, {"a": "FAILURE"}) == []
        assert judge.check_strangers({"a"}, {"b": result()}) == ["1 results of jobs that nobody sent: ['b']"]

    def test_an_effect_that_is_not_there_exactly_once(self):
        results = {"a": result(), "b": result(), "c": result("FAILURE"), "d": result()}
        assert judge.check_effects(results, {"a": 1, "b": 2}) == [
            "the effect of b is there 2 times",
            "the effect of d is there 0 times",
        ]

    def test_a_seed_is_a_schedule(self):
        same = [schedule(2, "redis", seed=5, jobs=1000, faults=9) for _ in range(2)]
        assert same[0] == same[1] != schedule(2, "redis", seed=6, jobs=1000, faults=9)
        assert [moment.after for moment in same[0]] == sorted(moment.after for moment in same[0])


class TestLookingAtRedis:
    @pytest.fixture
    def eyes(self, laboratory: Laboratory) -> Iterator[tuple[RedisBroker, RedisEyes]]:
        server = laboratory.redis("redis7")
        prefix = f"t{uuid4().hex[:8]}"
        broker = RedisBroker(server.url, prefix=prefix)
        yield broker, RedisEyes(server.port, prefix)
        broker.close()

    def test_an_id_in_exactly_one_place(self, eyes: tuple[RedisBroker, RedisEyes]):
        broker, look = eyes
        broker.enqueue([Message(id=new_id(), queue="default", body=b"x") for _ in range(5)])
        broker.enqueue([Message(id=new_id(), queue="default", body=b"x", eta_ms=10**13)])
        consumer = Consumer(id="me", queues=("default",))
        broker.register(consumer, lease_ms=60_000)
        held = broker.claim(consumer, "default", 2).jobs
        seen = look.look()
        assert seen.violations == ()
        assert (seen.counts["ready"], seen.counts["sched"], set(seen.consumers)) == (3, 1, {"me"})
        assert seen.flights == {"me": {job.id for job in held}}
        assert seen.left() == ["3 in ready", "1 in sched", "2 in flight"]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("HSET", "inflight:ghost", b"i" * 16, "1"), "holds jobs without a lease"),
            (("ZADD", "sched", "1", b"Z" + b"i" * 16), "is in ready and in sched"),
            (("HDEL", "jobs", b"i" * 16), "is in ready and has no message"),
            (("ZREM", "ready", b"i" * 16), "has a message and is nowhere"),
            (("HSET", "redeliv", b"j" * 16, "1:1"), "is in redeliv and has no message"),
            (("SADD", "revoked", b"i" * 16), "is revoked and not in flight"),
        ],
    )
    def test_every_breach_is_seen(self, eyes: tuple[RedisBroker, RedisEyes], words: tuple[str, ...], says: str):
        broker, look = eyes
        broker.enqueue([Message(id="69696969-6969-6969-6969-696969696969", queue="default", body=b"x")])
        assert look.look().violations == ()
        verb, key, *rest = words
        look.ask(verb, look.base + key, *rest)
        assert any(says in violation for violation in look.look().violations)


def insert(rows: Rows, table: str, **values: object) -> None:
    """Add a row; what is not said is empty, and false or 0 where it cannot be null."""
    filled = {name: "NULL" if may_be_null else nothing for name, may_be_null, nothing in columns_of(rows, table)}
    filled |= {name: f"'{value}'" if isinstance(value, str) else str(value) for name, value in values.items()}
    rows.ask(f"INSERT INTO {table} ({', '.join(filled)}) VALUES ({', '.join(filled.values())})")


def columns_of(rows: Rows, table: str) -> list[tuple[str, bool, str]]:
    """Return name, whether it may be null, and what stands for nothing, of each column."""
    if rows.vendor == "sqlite":
        found = [(row[1], not row[3], row[2]) for row in rows.ask(f"PRAGMA table_info({table})")]
    else:
        wanted = "column_name, is_nullable = 'YES', data_type"
        found = list(rows.ask(f"SELECT {wanted} FROM information_schema.columns WHERE table_name = '{table}'"))
    return [(name, bool(null), nothing_of(str(kind).lower(), rows)) for name, null, kind in found]


def nothing_of(kind: str, rows: Rows) -> str:
    if kind.startswith("bool"):
        return "false" if rows.vendor == "postgresql" else "0"
    return "0" if "int" in kind else "''"


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
class TestLookingAtADatabase:
    @pytest.fixture
    def rows(self, laboratory: Laboratory, kind: str) -> Rows:
        return laboratory.database(kind)

    def queued(self, rows: Rows, *, state: int, holder: str = "") -> None:
        insert(rows, "django_jobs_queuedjob", id=uuid4().hex, queue="default", state=state, consumer=holder)

    def test_what_is_right_is_not_complained_about(self, rows: Rows, kind: str):
        self.queued(rows, state=0)
        seen = DatabaseEyes(rows).look()
        assert (seen.violations, seen.counts["ready"]) == ((), 1)

    @pytest.mark.parametrize(
        ("state", "holder", "says"),
        [(2, "ghost", "is held without a lease"), (0, "me", "has a holder and is not in flight"), (2, "", "reverse")],
    )
    def test_every_breach_is_seen(self, rows: Rows, kind: str, state: int, holder: str, says: str):
        self.queued(rows, state=state, holder=holder)
        assert any(says in violation for violation in DatabaseEyes(rows).look().violations)

    def test_an_end_that_is_written_over_is_noted_by_the_database(self, rows: Rows, kind: str):
        for state in ("SUCCESS", "RETRY"):
            moment = "2026-01-01 00:00:00"
            insert(rows, "django_jobs_jobresult", id=uuid4().hex, task="t", state=state, enqueued_at=moment)
        rows.ask("UPDATE django_jobs_jobresult SET history = 'pruned'")
        assert rows.overwritten() == []
        rows.ask("UPDATE django_jobs_jobresult SET state = 'FAILURE'")
        assert [row[1:] for row in rows.overwritten()] == [("SUCCESS", "FAILURE")]

    def test_what_a_workflow_does_a_second_time_is_noted_by_the_database(self, rows: Rows, kind: str):
        job_id = uuid4().hex
        insert(rows, "django_jobs_workflowstep", id=job_id, workflow_id=job_id, task="t")
        insert(rows, "django_jobs_workflowbarrier", id=job_id, workflow_id=job_id, size=1)
        for table, column in (("workflowstep", "opened"), ("workflowbarrier", "resolved")):
            for moment in (1, 1, 2):
                rows.ask(f"UPDATE django_jobs_{table} SET {column} = {moment}")
        assert [row[1] for row in rows.overwritten()] == ["opened", "resolved"]
