"""call, retry, revoke, purge, pause, resume, prune, tell: what an operator does to jobs, queues and workers."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from django.core.management.base import CommandError

from django_jobs import inspection, operations
from django_jobs.brokers import get_broker
from django_jobs.brokers.known import known_queues
from django_jobs.exceptions import EncodeError, UnknownTask
from django_jobs.inspection import Worker
from django_jobs.management.jobs import workflows
from django_jobs.management.jobs.choosing import PLACES, Filter, filter_of, ids_of, recorded, waiting
from django_jobs.management.jobs.screen import USAGE, Screen, count
from django_jobs.states import State
from django_jobs.task import send_job

#: Who did it, in a job's history.
BY = "manage.py jobs"
_RETRYABLE = (State.FAILURE.value, State.REVOKED.value)


def call(screen: Screen, options: dict[str, Any]) -> int:
    """Send a job by the name of its task; with --wait, 1 when it does not succeed in time."""
    named = {name: options[name] for name in ("queue", "priority", "countdown") if options[name] is not None}
    args, kwargs = _parsed(options["arguments"], list), _parsed(options["kwargs"], dict)
    try:
        handle = send_job(options["name"], args, kwargs, remote=options["remote"], **named)
    except UnknownTask as error:
        told = str(error).replace("Pass remote=True", "Pass --remote")
        raise CommandError(told, returncode=USAGE) from error
    except (EncodeError, TypeError, ValueError) as error:
        raise CommandError(str(error), returncode=USAGE) from error
    if options["wait"] is None:
        if screen.as_json:
            screen.document({"id": handle.id})
        else:
            screen.say(handle.id)
        return 0
    result = failure = None
    try:
        result = handle.get(timeout=options["wait"])
    except Exception as error:  # noqa: BLE001 - whatever the job has failed with
        failure = f"{type(error).__name__}: {error}"
    if screen.as_json:
        shown = result if _is_plain(result) else repr(result)
        screen.document({"id": handle.id, "state": handle.state, "result": shown, "error": failure})
    else:
        screen.say(f"{handle.id} {handle.state}: {failure or repr(result)}")
    return int(failure is not None)


def _is_plain(value: Any) -> bool:
    """Say whether JSON has a word for this."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _parsed(text: str | None, kind: type) -> Any:
    try:
        value = kind() if text is None else json.loads(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is no JSON: {error}", returncode=USAGE) from error
    if not isinstance(value, kind):
        expected = "a list, such as '[7, \"a\"]'" if kind is list else "an object, such as '{\"order\": 7}'"
        raise CommandError(f"{text!r} is not what was expected: {expected}.", returncode=USAGE)
    return value


def retry(screen: Screen, options: dict[str, Any]) -> int:
    """Send jobs again that failed or were revoked, or go on with workflows. 1: some were not in a state for it."""
    wanted = filter_of(options, allowed=_RETRYABLE, default=(State.FAILURE.value,))
    matched = ids_of(options) if wanted is None else recorded(wanted)
    question = _question("Send", len(matched), wanted, "again")
    if wanted is not None and matched and not screen.confirm(question, yes=options["yes"]):
        return _left_alone(screen)
    whole = workflows.retry(screen, list(workflows.among(matched)) if wanted is None else [], BY)
    ids = [one for one in matched if one not in whole]
    summary = operations.retry(ids, by=BY)
    skipped = summary.skipped + sum(not one.done for one in whole.values())
    if screen.as_json:
        screen.document({"matched": len(matched), "sent": summary.done, "skipped": skipped, "workflows": whole})
    elif ids or not whole:
        screen.say(f"{count(summary.done)} sent again.")
        if summary.skipped:
            why = "not failed or revoked, not known, without its message, or not let pass by a middleware"
            screen.say(f"{count(summary.skipped)} skipped: {why}.")
            workflows.say_never_ran(screen, ids)
    return int(bool(skipped))


def revoke(screen: Screen, options: dict[str, Any]) -> int:
    """Stop jobs or workflows that have not ended. 1: some of them could not be."""
    default = (State.PENDING.value, State.SCHEDULED.value)
    wanted = filter_of(options, allowed=tuple(PLACES), default=default)
    found: list[tuple[str, str | None]] = (
        [(job_id, None) for job_id in ids_of(options)] if wanted is None else list(waiting(wanted))
    )
    whole = list(workflows.among([job_id for job_id, _ in found])) if wanted is None else []
    how = "and kill it if it runs" if options["terminate"] else ""
    if found and not screen.confirm(_question("Revoke", len(found), wanted, how, len(whole)), yes=options["yes"]):
        return _left_alone(screen)
    closed = workflows.revoke(screen, whole, terminate=options["terminate"])
    alone = [job_id for job_id, _ in found if job_id not in closed]
    states = operations.revoke_many(alone, terminate=options["terminate"])
    ends = {job_id: state.value for job_id, state in states.items()}
    if screen.as_json:
        screen.document({"matched": len(found), "states": ends, "workflows": closed})
    elif ends or not closed:
        _show_revoked(screen, list(ends.values()))
    is_over = any(state not in (State.REVOKED.value, State.STARTED.value) for state in ends.values())
    return int(is_over or not all(summary.done for summary in closed.values()))


def _show_revoked(screen: Screen, states: list[str]) -> None:
    revoked, running = states.count(State.REVOKED.value), states.count(State.STARTED.value)
    unknown = states.count(State.UNKNOWN.value)
    ended = len(states) - revoked - running - unknown
    screen.say(f"{count(revoked)} revoked.")
    for number, text in (
        (running, "running: their workers are told with the next heartbeat."),
        (ended, "had ended already."),
        (unknown, "not known."),
    ):
        if number:
            screen.say(f"{count(number)} {text}")


def _question(verb: str, number: int, wanted: Filter | None, rest: str, whole: int = 0) -> str:
    more = f" (the first {wanted.limit:,}; run it again for the rest)" if wanted and number == wanted.limit else ""
    jobs = [count(number - whole)] if number > whole else []
    what = " and ".join([*jobs, *([count(whole, "workflow", "workflows")] if whole else [])])
    return f"{verb} {what}{more}{' ' + rest if rest else ''}?"


def _left_alone(screen: Screen) -> int:
    screen.say("Nothing was done.")
    return 1


def purge(screen: Screen, options: dict[str, Any]) -> int:
    """Revoke whatever waits in a queue."""
    queue = _known(options["queue"])
    (counts,) = get_broker().counts([queue])
    waits = counts.ready + counts.scheduled
    question = f"Revoke all that wait in the queue {queue!r} ({count(waits)})?"
    if waits and not screen.confirm(question, yes=options["yes"]):
        return _left_alone(screen)
    done = operations.purge(queue)
    if screen.as_json:
        screen.document({"queue": queue, "revoked": done})
    else:
        screen.say(f"{count(done)} revoked. {count(counts.in_flight)} in flight left alone.")
    return 0


def pause(screen: Screen, options: dict[str, Any]) -> int:
    """Let no worker take jobs from queues."""
    for queue in options["queues"]:
        operations.pause(_known(queue))
    return _switched(screen, options["queues"], "paused")


def resume(screen: Screen, options: dict[str, Any]) -> int:
    """Let workers take jobs from queues again."""
    for queue in options["queues"]:
        operations.resume(_known(queue))
    return _switched(screen, options["queues"], "resumed")


def _switched(screen: Screen, queues: list[str], how: str) -> int:
    if screen.as_json:
        screen.document({how: queues})
    else:
        screen.say(f"{', '.join(queues)}: {how}.")
    return 0


def _known(queue: str) -> str:
    """Return the name of a queue. Raises CommandError with the nearest one when there is none."""
    names = known_queues(get_broker())
    if queue not in names:
        raise CommandError(f"No queue is called {queue!r}. Known: {', '.join(names)}.", returncode=USAGE)
    return queue


def prune(screen: Screen, options: dict[str, Any]) -> int:
    """Delete results whose time is over."""
    done = operations.prune()
    if screen.as_json:
        screen.document({"pruned": done})
    else:
        screen.say(f"{count(done, 'result', 'results')} deleted.")
    return 0


def tell(screen: Screen, options: dict[str, Any]) -> int:
    """Tell workers something; they hear it with their next heartbeat. 1: nobody is there."""
    told: list[str] = []
    chosen = [worker for worker in inspection.workers() if _is_meant(worker, options["worker"])]
    if not chosen:
        raise CommandError(f"No worker {options['worker']!r} is heard of.", returncode=1)
    names = ", ".join(worker.name for worker in chosen)
    if options["what"] != "dump" and not screen.confirm(f"Tell {names} to {options['what']}?", yes=options["yes"]):
        return _left_alone(screen)
    for worker in chosen:
        if operations.tell(worker.key, options["what"]):
            told.append(worker.name)
    if screen.as_json:
        screen.document({"told": told})
    else:
        screen.say(f"{', '.join(told) or 'Nobody'}: told to {options['what']}.")
    return int(len(told) < len(chosen))


def _is_meant(worker: Worker, pattern: str) -> bool:
    return fnmatchcase(worker.name, pattern) or worker.key == pattern
