"""One walk through locked workflows: from ends to the jobs, records and reports that follow from them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from django_jobs import bounds, clock, dispatch
from django_jobs.canvas.opening import Arrival, ErrorCall, Following, Opened, begin, follow, report
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import UNREADABLE, Join, KeptErrback, Plan, Step
from django_jobs.canvas.signature import Signature
from django_jobs.envelope import FAILURE_OF, Job
from django_jobs.execution import error_of
from django_jobs.outcome import Error
from django_jobs.results.base import BaseStore, Record
from django_jobs.results.workflows import BaseWorkflows, Head, KeptStep
from django_jobs.states import State
from django_jobs.workflow import jobs as making
from django_jobs.workflow.book import StoredBook
from django_jobs.workflow.error_calls import ErrorCalls
from django_jobs.workflow.passing import is_away, through_middleware

logger = logging.getLogger("django_jobs")


class Advance:
    """
    Takes ends, and says with ``finish`` what follows from all of them.

    Inside a transaction of the store, under the locks of the workflows.
    """

    def __init__(self, store: BaseStore, workflows: BaseWorkflows, heads: Mapping[str, Head]) -> None:
        self._store = store
        self._workflows = workflows = workflows.locked()
        self._heads = dict(heads)
        self.book = StoredBook(workflows)
        self._records: list[Record] = []
        self._never_ran: set[str] = set()
        #: What middleware has added to the headers of the first job that is sent.
        self.added_headers: Mapping[str, str] = {}
        self._error_calls = ErrorCalls(store, workflows)
        #: Steps that are to start.
        self._opened: list[Opened] = []
        #: Steps that have ended on the way: (step, did it fail, is that told to error callbacks?).
        self._ends: deque[tuple[KeptStep | Step, bool, bool]] = deque()

    def load(self, step_ids: Sequence[str], *, trusting: bool = False) -> None:
        """Read what is needed when these steps have ended; ``trusting``: see ``StoredBook.load``."""
        self.book.load(step_ids, trusting=trusting)

    def head(self, workflow_id: str) -> Head:
        """Return a workflow."""
        return self._heads[workflow_id]

    def step_ended(self, step_id: str, *, failed: bool, generation: int | None = None, quiet: bool = False) -> None:
        """
        Say that a step has ended, for good, and that this is recorded. ``generation``: of its job, if that is at hand;
        ``quiet``: it was followed before, and told to error callbacks.
        """
        step = self.book.find(step_id)
        if step is not None and step.workflow_id in self._heads:
            if generation is not None:
                self._error_calls.ended(step_id, generation)
            self._ends.append((step, failed, quiet))

    def begin(self, made: Plan, *, source: str | None = None) -> None:
        """Start a plan that is kept. ``source``: what its first steps get before their own arguments."""
        self.book.add(made)
        self.book.workflow_id = made.workflow_id
        self.book.changes.count(made.workflow_id)  # of a group of nothing that was all
        following = begin(self.book, made)
        if source is not None:
            roots = set(made.roots)
            following.opened = [Opened(one.step, source) if one.step in roots else one for one in following.opened]
        self._take(following, made.workflow_id)

    def add(self, made: Plan) -> None:
        """Keep a plan that becomes part of a workflow, and count its steps."""
        self._workflows.extend(made)
        self.book.changes.count(made.workflow_id, remaining=len(made.steps))

    def open(self, step_ids: Iterable[str], source: str) -> None:
        """Start steps with the value of another."""
        self._opened += [Opened(one, source) for one in sorted(step_ids)]

    def report(self, workflow_id: str, join: Join, source: str) -> None:
        """Report the value of a step or barrier to a barrier that was opened again."""
        self.book.workflow_id = workflow_id
        self._take(report(self.book, join.barrier, [Arrival(join.index, source)]), workflow_id)

    def replace(self, record: Record, made: Plan, headers: Mapping[str, str]) -> None:
        """
        Start a plan in the place of a step that has made room for it, or of a job that stands alone.

        ``headers``: of that job, which become those of the workflow.
        """
        step = self.book.find(record.id)
        if step is None:
            root_id = record.root_id or record.id
            self._heads[made.workflow_id] = Head(
                made.workflow_id, 0, root_id=root_id, parent_id=record.id, headers=headers
            )  # fmt: skip
            self._workflows.create(
                made, name=f"in place of {record.task}", root_id=root_id, parent_id=record.id, now_ms=clock.now_ms()
            )
            if headers:
                self._workflows.add_headers(made.workflow_id, headers)
        else:
            self.book.changes.count(step.workflow_id, remaining=-1)
            self.book.changes.moved.append(step.id)
            self.add(made)
        self.begin(made)

    def finish(self, *, is_sending: bool = False) -> None:
        """Write and send all that follows. ``is_sending``: somebody sends it, who is told what middleware raises."""
        to_send: list[Job] = []
        while self._ends or self._opened:
            self._report_values()
            while self._ends:
                self._follow(*self._ends.popleft())
            jobs = self._make_jobs()
            passed, errors = through_middleware(self._store, jobs, raises=is_sending)
            self._note_headers(jobs, passed)
            to_send += passed
            for job in _without(jobs, passed):
                error = errors.get(job.id)
                state = State.REVOKED if error is None else State.FAILURE
                self._end_unsent(self.book.step(job.id), error or making.was_dropped(), state, job)
            self._write_records()
        self._workflows.note(self.book.changes, clock.now_ms())
        dispatch.send_following(to_send)

    def _note_headers(self, jobs: Sequence[Job], passed: Sequence[Job]) -> None:
        """Note what middleware has added to the first job that it has let pass."""
        if not self.added_headers and passed and passed is not jobs:
            before = next((job.headers for job in jobs if job.id == passed[0].id), {})
            self.added_headers = {name: value for name, value in passed[0].headers.items() if before.get(name) != value}

    def _report_values(self) -> None:
        """Take the members that have ended well together: of a large canvas that is most of what ends."""
        arrived: dict[tuple[str, str], list[Arrival]] = {}
        others: deque[tuple[KeptStep | Step, bool, bool]] = deque()
        for end in self._ends:
            step, failed, _ = end
            place = step.continuation
            if failed or step.callbacks or not isinstance(place, Join):
                others.append(end)
            else:
                arrived.setdefault((step.workflow_id, place.barrier), []).append(Arrival(place.index, step.id))
        self._ends = others
        self.book.is_failing = False
        for (workflow_id, barrier_id), members in arrived.items():
            self.book.workflow_id = workflow_id
            self.book.changes.count(workflow_id, remaining=-len(members))
            with _as_far_as_known(f"the step {members[-1].source}"):
                self._take(report(self.book, barrier_id, members), workflow_id)

    def _follow(self, step: KeptStep | Step, failed: bool, quiet: bool) -> None:
        self.book.workflow_id, self.book.is_failing = step.workflow_id, failed
        self.book.changes.count(step.workflow_id, remaining=-1, failed=int(failed))
        is_old, quiet = quiet, quiet or self._heads[step.workflow_id].is_revoked
        with _as_far_as_known(f"the step {step.id}"):
            self._take(follow(self.book, step, failed=failed, quiet=quiet, is_old=is_old), step.workflow_id)

    def _take(self, following: Following, workflow_id: str) -> None:
        for one in following.opened:
            self.book.step(one.step)
        self._opened += following.opened
        head = self._heads[workflow_id]
        for ended in bounds.speaking(following.ended):
            step, cause = self.book.step(ended.step), self.book.step(ended.cause)
            error = making.never_ran(making.task_of(cause), cause.id)
            self._records.append(making.record_of_unsent(step, head, error, state=State.REVOKED))
            self._never_ran.add(step.id)
            self.book.changes.ended.append((step.id, cause.id))
            self.book.changes.count(workflow_id, remaining=-1)
        for call in following.errors:
            self._call(call, workflow_id)

    def _call(self, call: ErrorCall, workflow_id: str) -> None:
        """
        Start an error callback, once for each failure: a canvas of its own in the same workflow, which nothing waits
        for.
        """
        call_id = self._error_calls.id_of(call)
        if call_id is None:
            return
        errback = call.errback
        try:
            with self._store.savepoint():
                expression = errback.expression() if isinstance(errback, KeptErrback) else errback
                made = plan(expression, workflow_id=workflow_id, end_id=call_id, takes_value=True)
                self._workflows.extend(made)
        except Exception as error:
            if is_away(self._store, error):
                raise
            name = errback.task if isinstance(errback, KeptErrback | Signature) else UNREADABLE
            logger.exception("The error callback %s[%s] of %s cannot be called", name, call_id, call.failed)
            self._fail_call(Step(call_id, workflow_id, Signature(task=name)), error)
        else:
            self.book.changes.count(workflow_id, remaining=len(made.steps))
            self.begin(made, source=FAILURE_OF + call.failed)

    def _fail_call(self, step: Step, error: Exception) -> None:
        """Record an error callback that cannot be called as a step that has failed: nothing else depends on it."""
        made = Plan(workflow_id=step.workflow_id, steps=(step,))
        self.add(made)
        self.book.add(made)
        self._end_unsent(step, error_of(error), State.FAILURE)

    def _make_jobs(self) -> list[Job]:
        """Return the jobs of the steps that were opened. One that cannot be made is the failure of its step."""
        jobs: list[Job] = []
        opened, self._opened = self._still_waiting(self._opened), []
        texts = self._with_texts([one.step for one in opened])
        for one in bounds.speaking(opened):
            step = texts[one.step]
            head = self._heads[step.workflow_id]
            if head.is_revoked:
                self._end_unsent(step, making.was_revoked(), State.REVOKED)
                self.book.changes.ended.append((step.id, step.id))
                continue
            source = one.source if step.takes_value else None
            try:
                job = making.job_of(step, head, source=source, parent_id=self._parent_of(one, head))
            except Exception as error:  # noqa: BLE001 - options and arguments are the user's, of whatever version of the code
                self._end_unsent(step, error_of(error), State.FAILURE)
            else:
                jobs.append(job)
                self.book.changes.opened.append((step.id, source))
        return jobs

    def _still_waiting(self, opened: list[Opened]) -> list[Opened]:
        """Leave out steps that were revoked while they waited."""
        touched = [one for one in opened if self._heads[self.book.step(one.step).workflow_id].is_touched]
        if not touched:
            return opened
        rows = self._store.settled([one.step for one in touched])
        ended = {job_id for job_id, row in rows.items() if row.is_terminal}
        return [one for one in opened if one.step not in ended]

    def _with_texts(self, step_ids: Sequence[str]) -> dict[str, KeptStep | Step]:
        steps = {one: self.book.step(one) for one in step_ids}
        unread = [one for one, step in steps.items() if isinstance(step, KeptStep) and not step.text]
        return steps | self._workflows.steps(unread, texts=True)

    def _parent_of(self, opened: Opened, head: Head) -> str | None:
        if opened.source is None:
            return head.parent_id
        source = opened.source.removeprefix(FAILURE_OF)
        return head.parent_id if self.book.is_barrier(source) else source

    def _end_unsent(self, step: KeptStep | Step, error: Error, state: State, job: Job | None = None) -> None:
        self._error_calls.ended(step.id, 0)  # it has no job, and its row is not written yet
        self._records.append(making.record_of_unsent(step, self._heads[step.workflow_id], error, state=state, job=job))
        self._ends.append((step, True, False))

    def _write_records(self) -> None:
        stayed = set(self._store.record(self._records)) if self._records else set()
        for record in self._records:
            if record.id in stayed and record.workflow_id and record.id in self._never_ran:
                # It was revoked while it waited, and counted then.
                self.book.changes.count(record.workflow_id, remaining=1)
        self._records = []


@contextmanager
def _as_far_as_known(step: str) -> Iterator[None]:
    """Let the end of a step be recorded although somebody has deleted rows of what follows it."""
    try:
        yield
    except LookupError as error:
        logger.error("What follows %s is not known: %s", step, error)  # noqa: TRY400


def _without(jobs: Sequence[Job], passed: Sequence[Job]) -> list[Job]:
    if passed is jobs:
        return []
    kept = {job.id for job in passed}
    return [job for job in jobs if job.id not in kept]
