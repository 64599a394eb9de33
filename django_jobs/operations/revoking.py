"""Jobs that are stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_jobs import relay, workflow
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import Found
from django_jobs.identifiers import parse_id
from django_jobs.operations.retrying import RETRYABLE
from django_jobs.results import get_store
from django_jobs.results.sql import batches
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


def revoke_many(job_ids: Sequence[str], *, terminate: bool = False) -> dict[str, State]:
    """
    Stop jobs as ``revoke`` does, hundreds of those that the broker knows at once. Return how each of them stands now.
    """
    states: dict[str, State] = {}
    for some in batches([parse_id(job_id) for job_id in job_ids]):
        known = _revoke_known(some, terminate=terminate)
        states |= {one: known.get(one) or revoke(one, terminate=terminate) for one in some}
    return states


def _revoke_known(job_ids: Sequence[str], *, terminate: bool) -> dict[str, State]:
    """Revoke those of these jobs that the broker knows. Return how they stand, as far as that is certain."""
    broker = get_broker()
    found = broker.find_many(job_ids)
    states = _ended_in_flight(found.values())
    by_queue: dict[str, list[str]] = {}
    for one in found.values():
        if one.id not in states:
            by_queue.setdefault(one.queue, []).append(one.id)
    for queue, ids in by_queue.items():
        places = dict(zip(ids, broker.revoke_many(ids, queue, terminate=terminate), strict=True))
        states |= {one: State.STARTED for one, place in places.items() if place is Place.IN_FLIGHT}
        recorded = record_revoked([found[one] for one, place in places.items() if place not in (None, Place.IN_FLIGHT)])
        if recorded.settled:
            broker.forget(recorded.settled, queue)
        recorded.announce()
        states |= dict.fromkeys(recorded.revoked, State.REVOKED)
    return states


def _ended_in_flight(found: Iterable[Found]) -> dict[str, State]:
    """Return how those stand that are still with a worker, and have ended."""
    in_flight = [one.id for one in found if one.place is Place.IN_FLIGHT]
    rows = get_store().settled(in_flight) if in_flight else {}
    return {one: State(row.state) for one, row in rows.items() if row.state in _ENDED}


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
