"""How a job stands, put together from its row and from its place in the broker."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from django_jobs import clock, relay
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Found
from django_jobs.results import get_store
from django_jobs.results.base import Record, StoredResult
from django_jobs.serializers import dumps, loads
from django_jobs.states import TERMINAL_STATES, Place, State
from django_jobs.workflow.inputs import value_of
from django_jobs.workflow.replacing import REPLACED_BY


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What could be seen of a job at one moment."""

    state: str
    stored: StoredResult | None = None
    found: Found | None = None
    #: Is it in the outbox alone: the broker has not got it yet, or has lost it?
    in_outbox: bool = False
    #: Is it a step that waits for what comes before it?
    is_blocked: bool = False
    #: Is it a group, whose barrier is looked at?
    is_group: bool = False

    @property
    def has_ended(self) -> bool:
        """Say whether the job runs no more."""
        return self.state in TERMINAL_STATES

    @property
    def is_recorded(self) -> bool:
        """Say whether a row tells the end of the job; one that was revoked has none for a moment."""
        return self.stored is not None and self.stored.record.state in TERMINAL_STATES

    @property
    def may_be_undone(self) -> bool:
        """Say whether a workflow that goes on may undo this end."""
        if self.stored is None or self.state == State.SUCCESS:
            return False
        return self.stored.record.workflow_id is not None

    @property
    def replaced_by(self) -> str | None:
        """The job that has taken the place of this one, which has ended; None: none has."""
        if self.stored is None or self.stored.record.meta is None or self.state != State.SUCCESS:
            return None
        meta = loads(self.stored.record.meta)
        return meta.get(REPLACED_BY) if isinstance(meta, dict) else None


def look(job_id: str, queue: str | None) -> Look:
    """
    See how a job stands: a row that says its end wins, else the broker knows, else the outbox, else the row.

    Raises StoreUnavailable, BrokerUnavailable.
    """
    stored = get_store().get(job_id)
    if stored is not None and stored.record.state in TERMINAL_STATES:
        return Look(state=stored.record.state, stored=stored)
    found = get_broker().find(job_id, queue if stored is None else stored.record.queue)
    if found is not None:
        return Look(state=_state_in(found, stored), stored=stored, found=found)
    outbox = get_store().outbox
    kept = None if outbox is None else outbox.get(job_id)
    if kept is not None:
        found = relay.as_found(kept)
        return Look(state=_state_in(found, stored), stored=stored, found=found, in_outbox=True)
    waits = stored is None and is_blocked(job_id)
    # It may have ended between the questions.
    stored = get_store().get(job_id)
    if stored is None and waits:
        return Look(state=State.BLOCKED.value, is_blocked=True)
    if stored is None and (seen := look_at_group(job_id)) is not None:
        return seen
    return Look(state=State.UNKNOWN.value if stored is None else stored.record.state, stored=stored)


def look_at_group(group_id: str) -> Look | None:
    """See how a group stands, as if it were a job whose result is the list of theirs; None: there is none."""
    store = get_store()
    workflows = store.workflows
    kept = None if workflows is None else workflows.barriers([group_id]).get(group_id)
    if workflows is None or kept is None:
        return None
    if kept.resolved_ms is None:
        return Look(state=State.STARTED.value if kept.reported else State.PENDING.value, is_blocked=True, is_group=True)
    if kept.cause is None:
        result = dumps(value_of(store, workflows, group_id)).decode("ascii")
        record = Record(group_id, "", "", State.SUCCESS.value, result=result, finished_ms=kept.resolved_ms)
        return Look(state=record.state, stored=StoredResult(record, ""))
    cause = store.get(kept.cause)
    state = State.FAILURE.value
    record = Record(group_id, "", "", state) if cause is None else cause.record._replace(state=state)
    return Look(state=state, stored=StoredResult(record, ""))


def is_blocked(job_id: str) -> bool:
    """Say whether this is a step that has not been sent yet, or may just be on its way; not one that has ended."""
    workflows = get_store().workflows
    step = None if workflows is None else workflows.steps([job_id]).get(job_id)
    if workflows is None or step is None:
        return False
    if step.opened_ms is None:
        return step.cause is None
    head = workflows.head(step.workflow_id)
    return head is not None and head.remaining > 0


def _state_in(found: Found, stored: StoredResult | None) -> str:
    """Return the state of a job that a broker has and no row says the end of."""
    said = None if stored is None else stored.record.state
    match found.place:
        case Place.READY:
            return State.PENDING.value
        case Place.SCHEDULED:
            return State.RETRY.value if said == State.RETRY else State.SCHEDULED.value
        case Place.IN_FLIGHT:
            return State.STARTED.value if said is None or said in State.values else said
    # Dead: its end is about to be recorded. Of one that was ended with its process only its task can say what it is.
    return State.REVOKED.value if found.reason in ("revoked", "purged") else State.STARTED.value


def why_not_done(seen: Look) -> str:
    """Say what a job that has not ended is waiting for. Asks the broker."""
    found = seen.found
    if seen.is_blocked:
        return "it waits for other steps of its canvas"
    if found is None:
        return f"its state is {seen.state}"
    if seen.in_outbox:
        return "it is in the outbox, and the broker does not have it yet"
    if found.place is Place.READY:
        return _why_waiting(found)
    if found.place is Place.SCHEDULED:
        moment = timezone.localtime(clock.from_ms(found.moment_ms)).strftime("%Y-%m-%d %H:%M:%S %Z")
        if seen.state == State.RETRY and seen.stored is not None:
            return f"it has failed ({seen.stored.record.exception_type}) and runs again at {moment}"
        return f"it is scheduled for {moment}"
    if found.place is Place.IN_FLIGHT:
        started_ms = None if seen.stored is None else seen.stored.record.started_ms
        if started_ms is None:
            return "a worker has it"
        return f"it has been running for {max(0, clock.now_ms() - started_ms) / 1000:.0f} s"
    return "it has ended, and its end is about to be recorded"


def _why_waiting(found: Found) -> str:
    broker = get_broker()
    (counts,) = broker.counts([found.queue])
    ahead = broker.ahead(found)
    place = f"it waits in the queue {found.queue!r}"
    if ahead:
        place += f" behind {ahead:,} jobs" if ahead > 1 else " behind one job"
    if counts.paused:
        return f"{place}, which is paused"
    if not counts.consumers:
        return f"{place}, and no worker listens there"
    return place
