"""Jobs that are stopped."""

from __future__ import annotations

from django_jobs import relay, workflow
from django_jobs.brokers import get_broker
from django_jobs.identifiers import parse_id
from django_jobs.operations.retrying import RETRYABLE
from django_jobs.results import get_store
from django_jobs.revocation import record_revoked
from django_jobs.states import Place, State

#: A job that goes on from where it was found is looked for again so often.
TRIES = 5
_ENDED = frozenset({State.SUCCESS.value, *RETRYABLE})


def revoke(job_id: str, queue: str | None = None, *, terminate: bool = False) -> State:
    """
    Stop a job that waits, and record that it was revoked. Return how it stands now.

    One that is with a worker is asked to stop, with ``terminate`` interrupted and then killed, at the next heartbeat:
    STARTED until then. One that has ended stays as it is. ``queue`` saves a search. Raises BrokerUnavailable,
    StoreUnavailable; asking again is safe.
    """
    job_id = parse_id(job_id)
    for _ in range(TRIES):
        state = _revoke(job_id, queue, terminate=terminate)
        if state is not None:
            return state
    return _stored_state(job_id)


def _revoke(job_id: str, queue: str | None, *, terminate: bool) -> State | None:
    """Revoke a job where it is found. None: it has gone on from there in the meantime."""
    broker, store = get_broker(), get_store()
    found = broker.find(job_id, queue)
    if found is None:
        if store.outbox is not None and store.outbox.get(job_id) is not None:
            return _revoke_in_outbox(job_id)
        stored = store.get(job_id)
        return _revoke_waiting(job_id) if stored is None else _state_of(stored.record.state)
    if found.place is Place.IN_FLIGHT:
        stored = store.get(job_id)
        if stored is not None and stored.record.state in _ENDED:
            return _state_of(stored.record.state)
    place = broker.revoke(job_id, found.queue, terminate=terminate)
    if place is Place.IN_FLIGHT:
        return State.STARTED
    if place is None:
        return _stored_state(job_id)
    recorded = record_revoked([found])
    if recorded.settled:
        broker.forget(recorded.settled, found.queue)
    recorded.announce()
    return State.REVOKED if recorded.revoked else _stored_state(job_id)


def _revoke_in_outbox(job_id: str) -> State | None:
    """Revoke a job that the broker does not know, if it is in the outbox: nobody can relay it meanwhile."""
    broker, store = get_broker(), get_store()
    if store.outbox is None or store.outbox.get(job_id) is None:
        return None
    with store.transaction():
        kept = store.outbox.lock(job_id)
        if kept is None or broker.find(job_id, kept.queue) is not None:
            return None
        recorded = record_revoked([relay.as_found(kept)])
    recorded.announce()
    return State.REVOKED if recorded.revoked else _stored_state(job_id)


def _revoke_waiting(job_id: str) -> State | None:
    """Revoke a step that waits for what comes before it. None: it has started meanwhile."""
    store = get_store()
    if store.workflows is None:
        return State.UNKNOWN
    if workflow.revoke_waiting(store, job_id):
        return State.REVOKED
    return None if store.workflows.steps([job_id]) else State.UNKNOWN


def _stored_state(job_id: str) -> State:
    stored = get_store().get(job_id)
    return State.UNKNOWN if stored is None else _state_of(stored.record.state)


def _state_of(state: str) -> State:
    return State(state) if state in State.values else State.STARTED
