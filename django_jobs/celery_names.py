"""
What people who come from Celery will try, and what to tell them.

Data only. ``options`` looks here when it meets an unknown option, a task when it is asked for what it does not have,
the checks when they meet a ``CELERY_*`` setting, and ``runworker`` when it meets a flag of ``celery worker``.
"""

from __future__ import annotations

from collections.abc import Mapping

_ALWAYS = "Delivery is at least once by lease, always: a job is acknowledged when its result is recorded, and given to"
_ALWAYS += " another worker when its own is gone."

#: Options of ``@task`` and ``apply_async``.
OPTIONS: Mapping[str, str] = {
    "acks_late": f"{_ALWAYS} Leave it out; with max_deliveries=1 it does not run again when its"
    " process died, but it does when it is handed back at a shutdown.",
    "acks_on_failure_or_timeout": f"{_ALWAYS} A failure is recorded and acknowledged.",
    "acks_on_failure": f"{_ALWAYS} A failure is recorded and acknowledged.",
    "acks_on_timeout": f"{_ALWAYS} A failure is recorded and acknowledged.",
    "reject_on_worker_lost": f"{_ALWAYS} max_deliveries (3) bounds how often a job may take its process down.",
    "retry_on_worker_lost": f"{_ALWAYS} max_deliveries (3) bounds how often a job may take its process down.",
    "base": "There are no task classes: use MIDDLEWARE to wrap every run, or a function of your own.",
    "typing": "Arguments are always checked against the function's signature at the call.",
    "serializer": "Arguments travel as JSON with exact round trips; register_type() adds a type. There is no pickle.",
    "compression": "Messages are not compressed; store large data yourself and pass its key.",
    "task_id": "It is called job_id here, and must be a UUID.",
    "exchange": "There are no exchanges: pass queue=.",
    "routing_key": "There are no routing keys: pass queue=, or set a route in DJANGO_JOBS['TASKS'].",
    "delivery_mode": "Every job is durable.",
    "retry_policy": "Sending is tried within ENQUEUE_TIMEOUT and then raises EnqueueError.",
    "retry_kwargs": "Write its entries as options: max_retries=..., default_retry_delay=...",
    "retry_backoff_min": "Backoff starts at retry_backoff seconds.",
    "ignore_results": "It is called ignore_result.",
    "send_events": "Events need no switch: results and signals are always there.",
    "trail": "A job's parent and root are always recorded.",
    "backend": "Results go to one store: DJANGO_JOBS['RESULTS']['STORE'].",
    "shadow": "There is no display name; name= gives the task another name.",
    "argsrepr": "Name arguments that must not be shown in sensitive=[...].",
    "kwargsrepr": "Name arguments that must not be shown in sensitive=[...].",
    "pydantic": "Dataclasses travel by themselves; register_type() adds a type, Pydantic models included.",
    "link": "A callback belongs to one call: apply_async(link=...), or task.s(...).link(...); for every call connect to"
    " the signal job_succeeded.",
    "link_error": "A callback belongs to one call: apply_async(link_error=...), or task.s(...).on_error(...); for every"
    " call connect to the signal job_failed.",
    "rate_limit": "Rate limits are not built yet.",
    "default_rate_limit": "Rate limits are not built yet.",
    "on_success": "Connect to the signal job_succeeded.",
    "on_failure": "Connect to the signal job_failed.",
    "on_retry": "Connect to the signal job_retry_scheduled.",
    "before_start": "Connect to the signal job_started.",
    "after_return": "Connect to the signal job_finished.",
}

#: Options of ``apply_async`` alone: ``@job`` has one of that name with another meaning.
CALL_OPTIONS: Mapping[str, str] = {
    "retry": "Sending is tried within ENQUEUE_TIMEOUT and then raises EnqueueError, always. What to do when a run fails"
    " is said in @job(retry=...).",
}

_COMMIT = "waits for the commit of the open transaction by itself"
_RUNNING = "It belongs to the running job: use @job(bind=True) and self"

#: What a task of Celery's has, and ours has not.
ATTRIBUTES: Mapping[str, str] = {
    "delay_on_commit": f"delay() {_COMMIT}, and returns the handle.",
    "apply_async_on_commit": f"apply_async() {_COMMIT}, and returns the handle.",
    "apply": "Call the task itself to run it here, as a function; in tests use django_jobs.testing.eager().",
    "run": "Call the task itself to run it here, as a function.",
    "subtask": "It is called signature(), or s().",
    "chunk": "It is called chunks().",
    "request": f"{_RUNNING}.request.",
    "retry": f"{_RUNNING}.retry(), or raise Retry.",
    "replace": f"{_RUNNING}.replace().",
    "update_state": f"{_RUNNING}.update_state().",
    "AsyncResult": "Import it: from django_jobs import AsyncResult.",
    "app": "There is no app: tasks are found by Django, DJANGO_JOBS configures them.",
}

#: Settings, with and without the usual namespace CELERY_ (compared in upper case, without it).
SETTINGS: Mapping[str, str] = {
    "BROKER_URL": "DJANGO_JOBS['BROKER']",
    "BROKER_TRANSPORT_OPTIONS": "nothing: leases replace the visibility timeout, a job runs for as long as it takes",
    "BROKER_CONNECTION_RETRY_ON_STARTUP": "nothing: workers reconnect by themselves",
    "BROKER_POOL_LIMIT": "nothing: connections are opened when none is free, and kept for the next call",
    "RESULT_BACKEND": "DJANGO_JOBS['RESULTS']['STORE']; the default is the ORM",
    "RESULT_EXPIRES": "DJANGO_JOBS['RESULTS']['EXPIRES'] and ['FAILURES_EXPIRE']",
    "RESULT_EXTENDED": "nothing: names, arguments, worker and timings are always recorded",
    "CACHE_BACKEND": "DJANGO_JOBS['RESULTS']['STORE']",
    "ACCEPT_CONTENT": "nothing: only JSON is read",
    "TASK_SERIALIZER": "nothing: arguments travel as JSON with exact round trips",
    "RESULT_SERIALIZER": "nothing: results are stored as JSON with exact round trips",
    "TASK_ALWAYS_EAGER": "django_jobs.testing.eager() in the tests that need it",
    "TASK_EAGER_PROPAGATES": "django_jobs.testing.eager()",
    "TASK_DEFAULT_QUEUE": "{'*': {'queue': ...}} in DJANGO_JOBS['TASKS']",
    "TASK_ROUTES": "DJANGO_JOBS['TASKS']",
    "TASK_ANNOTATIONS": "DJANGO_JOBS['TASKS']",
    "TASK_QUEUES": "DJANGO_JOBS['QUEUES']",
    "TASK_IGNORE_RESULT": "{'*': {'ignore_result': True}} in DJANGO_JOBS['TASKS']",
    "TASK_TRACK_STARTED": "{'*': {'track_started': True}} in DJANGO_JOBS['TASKS']",
    "TASK_ACKS_LATE": "nothing: delivery is at least once by lease, always",
    "TASK_REJECT_ON_WORKER_LOST": "nothing: delivery is at least once by lease, always",
    "TASK_DEFAULT_PRIORITY": "{'*': {'priority': ...}} in DJANGO_JOBS['TASKS']; higher runs sooner here",
    "TASK_TIME_LIMIT": "{'*': {'time_limit': ...}} in DJANGO_JOBS['TASKS']",
    "TASK_SOFT_TIME_LIMIT": "{'*': {'soft_time_limit': ...}} in DJANGO_JOBS['TASKS']",
    "TIMEZONE": "TIME_ZONE",
    "ENABLE_UTC": "USE_TZ",
    "IMPORTS": "DJANGO_JOBS['AUTODISCOVER']",
    "INCLUDE": "DJANGO_JOBS['AUTODISCOVER']",
    "WORKER_CONCURRENCY": "DJANGO_JOBS['WORKER']['CONCURRENCY']",
    "WORKER_PREFETCH_MULTIPLIER": "nothing: prefetching adapts to how long jobs take",
    "WORKER_MAX_TASKS_PER_CHILD": "runworker --max-jobs-per-child",
    "WORKER_MAX_MEMORY_PER_CHILD": "runworker --max-memory-per-child",
    "WORKER_SEND_TASK_EVENTS": "nothing: results and signals need no switch",
    "TASK_SEND_SENT_EVENT": "nothing: results and signals need no switch",
    "WORKER_HIJACK_ROOT_LOGGER": "nothing: Django's LOGGING is left as it is",
    "BEAT_SCHEDULE": "DJANGO_JOBS['SCHEDULE'], or @job(schedule=...)",
    "BEAT_SCHEDULER": "nothing: periodic tasks are rows of the database, always",
    "BEAT_SCHEDULE_FILENAME": "nothing: periodic tasks are rows of the database, always",
    "BEAT_SYNC_EVERY": "nothing: each run is committed together with its job",
    "BEAT_MAX_LOOP_INTERVAL": "nothing: beat sleeps until something is due, a second at most",
    "BEAT_CRON_STARTING_DEADLINE": "start_deadline of each periodic task",
}

#: Keys of an entry of ``beat_schedule``, and columns of django-celery-beat, that an entry of ``SCHEDULE`` has not.
SCHEDULE_KEYS: Mapping[str, str] = {
    "options": "Write its entries as keys of their own: queue, priority, headers, expires.",
    "relative": "Write the schedule as a crontab: 'every 6 hours' counts from when the row was made, '0 */6 * * *' by"
    " the clock.",
    "crontab": "It is called schedule.",
    "interval": "It is called schedule: 'every 15 minutes'.",
    "solar": "It is called schedule: 'sunset 52.52 13.40'.",
    "clocked": "It is called schedule: 'at 2026-12-24 18:00'.",
    "expire_seconds": "It is called expires.",
    "start_time": "It is called starts.",
    "exchange": "There are no exchanges: write queue.",
    "routing_key": "There are no routing keys: write queue.",
    "tz": "It is called timezone.",
    "run_every": "It is called schedule: 'every 15 minutes', or a timedelta.",
    "countdown": "The schedule says when; jitter spreads the starts.",
    "eta": "It is called schedule: 'at 2026-12-24 18:00'.",
    "max_retries": "That is of the task: @job(max_retries=...), or DJANGO_JOBS['TASKS'].",
}

#: Flags of ``celery worker`` that ``runworker`` does not have.
FLAGS: Mapping[str, str] = {
    "-A": "manage.py knows the project already",
    "--app": "manage.py knows the project already",
    "-b": "it is DJANGO_JOBS['BROKER'] here",
    "--broker": "it is DJANGO_JOBS['BROKER'] here",
    "--result-backend": "it is DJANGO_JOBS['RESULTS']['STORE'] here; the default is the ORM",
    "-I": "it is DJANGO_JOBS['AUTODISCOVER'] here",
    "--include": "it is DJANGO_JOBS['AUTODISCOVER'] here",
    "-P": "it is --pool prefork, threads or solo here; for gevent's many waits write async def tasks",
    "-E": "events need no switch",
    "--task-events": "events need no switch",
    "--events": "events need no switch",
    "-O": "jobs are always given to a free slot, as with -O fair",
    "--autoscale": "processes are cheap here: give -c the most you want",
    "--prefetch-multiplier": "prefetching adapts to how long jobs take",
    "--disable-prefetch": "prefetching adapts to how long jobs take; a job never waits behind a long one",
    "--max-tasks-per-child": "it is --max-jobs-per-child here",
    "--without-gossip": "workers do not talk to each other",
    "--without-mingle": "workers do not talk to each other",
    "--without-heartbeat": "leases need heartbeats",
    "--heartbeat-interval": "it is DJANGO_JOBS['WORKER']['HEARTBEAT'] here",
    "-l": "it is --loglevel here",
    "--statedb": "revoked jobs are kept by the broker",
    "-S": "revoked jobs are kept by the broker",
    "--purge": "jobs are never thrown away by starting a worker",
    "--discard": "jobs are never thrown away by starting a worker",
    "-D": "use systemd, or a container",
    "--detach": "use systemd, or a container",
    "-f": "log to stderr, and let the service manager keep it",
    "--logfile": "log to stderr, and let the service manager keep it",
    "-n": "it is --name here",
    "--hostname": "it is --name here",
    "-X": "it is -x/--exclude here",
    "--exclude-queues": "it is -x/--exclude here",
    "-s": "there is no file: periodic tasks are in the database",
    "--schedule": "there is no file: periodic tasks are in the database",
    "--schedule-filename": "there is no file: periodic tasks are in the database",
    "--scheduler": "periodic tasks are in the database, always",
    "--uid": "start it as that user; User= of systemd does it",
    "--gid": "start it in that group; Group= of systemd does it",
    "--umask": "start it with that umask; UMask= of systemd does it",
    "--workdir": "start it in that directory; WorkingDirectory= of systemd does it",
    "--pool-start-method": "processes are always forked",
    "--time-limit": "it is {'*': {'time_limit': ...}} in DJANGO_JOBS['TASKS'] here",
    "--soft-time-limit": "it is {'*': {'soft_time_limit': ...}} in DJANGO_JOBS['TASKS'] here",
}

#: Flags of ``celery beat`` that ``runbeat`` does not have.
BEAT_FLAGS: Mapping[str, str] = {
    **{flag: FLAGS[flag] for flag in ("-A", "--app", "-b", "--broker", "--result-backend", "-l", "-f", "--logfile",
                                      "-D", "--detach", "--uid", "--gid", "--umask", "--workdir")},
    "-s": "there is no file: periodic tasks are in the database",
    "--schedule": "there is no file: periodic tasks are in the database",
    "-S": "periodic tasks are in the database, always",
    "--scheduler": "periodic tasks are in the database, always",
    "--max-interval": "beat sleeps until something is due, a second at most",
    "-n": "it is --name here",
}  # fmt: skip

_WAITS = "many jobs that wait at once are async def tasks here, --async-concurrency of them in each process, beside"
_WAITS += " --threads for those that block"

#: Values of ``--pool`` of ``celery worker`` that ours does not take.
POOLS: Mapping[str, str] = {
    "gevent": _WAITS,
    "eventlet": _WAITS,
    "processes": "it is prefork here",
    "custom": "there are no pools of one's own",
}


def setting_hint(name: str) -> str | None:
    """Return what replaces a setting of Celery's; None: it is none."""
    if not name.startswith("CELERY_"):
        return None
    return SETTINGS.get(name.removeprefix("CELERY_"))
