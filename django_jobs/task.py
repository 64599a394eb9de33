"""``@job``, and the task that it makes: the object that has ``delay()``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed

from django_jobs import dispatch
from django_jobs import sending as sending  # importing it lets canvases be sent
from django_jobs.async_result import AsyncResult
from django_jobs.calls import arguments, make_jobs
from django_jobs.canvas.composable import Composable
from django_jobs.celery_names import ATTRIBUTES as CELERY_ATTRIBUTES
from django_jobs.celery_names import OPTIONS as CELERY_OPTIONS
from django_jobs.conf import SETTING, nearest, settings
from django_jobs.context import JobContext
from django_jobs.envelope import Job
from django_jobs.exceptions import JobsConfigurationError, UnknownTask
from django_jobs.options import (
    OPTION_NAMES,
    Recurrence,
    TaskOptions,
    check_names,
    make_options,
    make_schedule,
    resolve,
)
from django_jobs.registry import registry
from django_jobs.results import get_store

P = ParamSpec("P")
R = TypeVar("R")

IDENTITY_OPTIONS = ("name", "aliases", "bind", "schedule")


class Task(Composable, Generic[P, R]):
    """A function that can be sent to a worker. Calling it runs it here and now."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        aliases: Sequence[str] = (),
        bind: bool = False,
        schedule: Recurrence | None = None,
        declared: Mapping[str, Any],
    ) -> None:
        _check_importable(function, name)
        functools.update_wrapper(self, function)  # first: it copies the function's own attributes, too
        self.function = function
        self.name = name or f"{function.__module__}.{function.__qualname__}"
        self.aliases = tuple(aliases)
        self.bind = bind
        self.is_async = inspect.iscoroutinefunction(function)
        self.declared = dict(declared)
        check_names(self.declared, (*IDENTITY_OPTIONS, *OPTION_NAMES), f"@job of {self.name}")
        make_options(self.declared, f"@job of {self.name}")  # a wrong value is an error where it is written
        self._check_atomic(bool(self.declared.get("atomic")))
        self.call_signature = _signature_of_call(function, bind)
        _check_sensitive(self.name, self.call_signature, self.declared.get("sensitive", ()))
        self.schedule = None if schedule is None else make_schedule(schedule, self.name, self.call_signature)
        self.positional_bounds = _positional_bounds(self.call_signature)
        self._options: TaskOptions | None = None

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    if not TYPE_CHECKING:  # to mypy it would mean that a task has every attribute

        def __getattr__(self, name: str) -> Any:
            """Say what to use instead of what a task does not have."""
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(f"The task {self.__dict__.get('name', '')} has no {name!r}.{_instead_of(name)}")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function in this process, as if it were not a task. A bound one gets a context without a worker."""
        if not self.bind:
            return cast(R, self.function(*args, **kwargs))
        (job,) = make_jobs(self.name, self.options, [((), {})], {})  # what is called here need not be able to travel
        context = JobContext(job, args, kwargs, max_retries=self.options.max_retries)
        return cast(R, self.function(context, *args, **kwargs))

    @property
    def options(self) -> TaskOptions:
        """The options in force: the decorator's, with what ``DJANGO_JOBS["TASKS"]`` says."""
        if self._options is None:
            options = resolve(self.name, self.declared, settings.top["TASKS"])
            self._check_atomic(options.atomic)
            self._options = options
        return self._options

    def _check_atomic(self, atomic: bool) -> None:
        if atomic and self.is_async:
            raise JobsConfigurationError(
                f"{self.name} has atomic=True, but is an async def: a transaction of Django's belongs to one thread."
                " Make it a def, or call the part that is to be atomic with sync_to_async."
            )

    # Sending

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """
        Send a job with these arguments, with the transaction that is open, and return its handle at once.

        Raises TypeError when the arguments do not fit the function, EncodeError when one cannot travel,
        PayloadTooLarge, and EnqueueError when the broker does not take the job within ENQUEUE_TIMEOUT.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, /, **options: Any
    ) -> AsyncResult[R]:
        """
        Send a job as ``delay`` does, with options of this call.

        ``countdown`` (seconds or timedelta from now) or ``eta`` (aware datetime): not before. ``expires`` (seconds,
        timedelta or aware datetime): not after. ``queue``, ``priority``, ``headers`` (of strings), ``using``,
        ``on_commit``, ``outbox``, and the task's options about retries and results. ``job_id`` (a UUID): the same
        logical operation is sent once; when it is known already, nothing is sent and its handle returned. ``link`` and
        ``link_error``: signatures of callbacks.
        """
        if "args" in options or "kwargs" in options:
            args, kwargs = options.pop("args", args), options.pop("kwargs", kwargs)
        if options.keys() & {"link", "link_error"}:  # callbacks are steps of a canvas
            return cast(AsyncResult[R], self.s().apply_async(args, kwargs, **options))
        (job,) = self._make_jobs(((arguments(args), dict(kwargs) if kwargs else {}),), options)
        if options.get("job_id") is None or get_store().get(job.id) is None:
            _dispatch((job,), self.options, options)
        return AsyncResult(job.id, queue=job.queue, ignored=_is_ignored(job, self.options))

    def enqueue_many(
        self, calls: Iterable[tuple[Iterable[Any], Mapping[str, Any]]], /, **options: Any
    ) -> list[AsyncResult[R]]:
        """
        Send many jobs of this task, 500 in a round trip, and return a handle for each, in order.

        ``calls``: (args, kwargs) pairs. Options as for ``apply_async``, the same for all; ``job_id`` is not among them.
        Nothing is sent when one of the calls is wrong.
        """
        if "job_id" in options:
            raise TypeError("enqueue_many() sends many jobs: they cannot share a job_id.")
        jobs = self._make_jobs([_pair(number, call) for number, call in enumerate(calls)], options)
        if not jobs:
            return []
        _dispatch(jobs, self.options, options)
        ignored = _is_ignored(jobs[0], self.options)
        return [AsyncResult(job.id, queue=job.queue, ignored=ignored) for job in jobs]

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send a job from async code. See ``delay``."""
        return await sync_to_async(self.apply_async)(args, kwargs)

    async def aapply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, /, **options: Any
    ) -> AsyncResult[R]:
        """Send a job from async code. See ``apply_async``."""
        return await sync_to_async(self.apply_async)(args, kwargs, **options)

    async def aenqueue_many(
        self, calls: Iterable[tuple[Iterable[Any], Mapping[str, Any]]], /, **options: Any
    ) -> list[AsyncResult[R]]:
        """Send many jobs from async code. See ``enqueue_many``."""
        return await sync_to_async(self.enqueue_many)(calls, **options)

    # How

    def _make_jobs(
        self, calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]], options: Mapping[str, Any]
    ) -> list[Job]:
        """Make the jobs of some calls, checking everything that can be wrong here, where the mistake is."""
        # So many fit without a look at their names: the cheap half of signature.bind().
        least, most = self.positional_bounds
        for args, kwargs in calls:
            if kwargs or not least <= len(args) <= most:
                try:
                    self.call_signature.bind(*args, **kwargs)
                except TypeError as error:
                    raise TypeError(f"{self.name}{self.call_signature}: {error}.") from None
        return make_jobs(self.name, self.options, calls, options)


def _instead_of(name: str) -> str:
    """Return what to use instead of an attribute that a task does not have, as far as it can be guessed."""
    hint = CELERY_ATTRIBUTES.get(name) or CELERY_OPTIONS.get(name)
    if hint:
        return f" {hint}"
    if name in OPTION_NAMES:
        return f" It is an option: options.{name}."
    return nearest(name, [known for known in dir(Task) if not known.startswith("_")])


def _pair(number: int, call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Take one call of enqueue_many(). Whoever passes a bare argument is told which call that is."""
    if type(call) is tuple and len(call) == 2 and type(call[0]) is tuple and type(call[1]) is dict:
        return call  # as it is: what is made of a call copies all of it
    if not isinstance(call, tuple | list) or len(call) != 2 or not isinstance(call[1], Mapping):
        raise TypeError(f"enqueue_many() takes (args, kwargs) pairs, such as ((1,), {{}}); call {number} is {call!r}.")
    return arguments(call[0]), dict(call[1])


def _signature_of_call(function: Callable[..., Any], bind: bool) -> inspect.Signature:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if not bind:
        return signature
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise JobsConfigurationError(
            f"{function.__qualname__} has bind=True: its first parameter must take the running job."
        )
    return signature.replace(parameters=parameters[1:])


def _positional_bounds(signature: inspect.Signature) -> tuple[int, float]:
    """Return how many positional arguments a call without keywords may have; (1, 0): none does without keywords."""
    least, most = 0, 0.0
    for parameter in signature.parameters.values():
        required = parameter.default is parameter.empty
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = float("inf")
        elif parameter.kind is parameter.KEYWORD_ONLY and required:
            return 1, 0
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            least, most = least + required, most + 1
    return least, most


def _check_sensitive(name: str, signature: inspect.Signature, sensitive: Sequence[str]) -> None:
    """Refuse a name that no parameter has: a typing error would show what was to be hidden."""
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return
    for argument in sensitive:
        if argument not in signature.parameters:
            raise JobsConfigurationError(
                f"@job of {name}: sensitive names {argument!r}, which is not an argument of it."
                f"{nearest(argument, list(signature.parameters))}"
            )


def _check_importable(function: Any, name: str | None) -> None:
    if isinstance(function, Task):
        raise JobsConfigurationError(f"{function.name} is a task already: use @job once.")
    if not inspect.isfunction(function):
        raise JobsConfigurationError(f"@job decorates functions, not {function!r}.")
    if "." in function.__qualname__ or "<" in function.__qualname__:
        raise JobsConfigurationError(
            f"@job cannot decorate {function.__qualname__}: a worker could not import it. Move it to the top of its"
            " module."
        )
    if function.__module__ == "__main__" and name is None:
        raise JobsConfigurationError(
            f"@job cannot decorate {function.__qualname__} in a script: a worker could not import it. Move it to an"
            " app's jobs.py."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise JobsConfigurationError(
            f"@job cannot decorate the generator {function.__qualname__}: return a value instead."
        )


if TYPE_CHECKING:

    class _AsyncTask(Task[P, R]):
        """The task of an ``async def``: calling it gives a coroutine, its result is what that returns."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...  # type: ignore[override]

    class _Decorator(Protocol):
        """What ``@job(...)`` returns, without ``bind``."""

        @overload
        def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> _AsyncTask[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...

    class _BoundDecorator(Protocol):
        """What ``@job(bind=True)`` returns."""

        @overload
        def __call__(
            self, function: Callable[Concatenate[JobContext, P], Coroutine[Any, Any, R]]
        ) -> _AsyncTask[P, R]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[JobContext, P], R]) -> Task[P, R]: ...


@overload
def job(function: Callable[P, Coroutine[Any, Any, R]], /) -> _AsyncTask[P, R]: ...
@overload
def job(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def job(
    *,
    bind: Literal[True],
    name: str | None = None,
    aliases: Sequence[str] = (),
    schedule: Recurrence | None = None,
    **options: Any,
) -> _BoundDecorator: ...
@overload
def job(
    *,
    bind: Literal[False] = False,
    name: str | None = None,
    aliases: Sequence[str] = (),
    schedule: Recurrence | None = None,
    **options: Any,
) -> _Decorator: ...


def job(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """
    Make a function a task: ``@job``, or ``@job(queue="mail", max_retries=5, ...)``.

    Its name is its import path; ``name`` gives another, ``aliases`` keep old ones working after a rename. ``bind=True``
    passes the running job (``self``) first. ``schedule`` makes it a periodic task of its name: ``crontab(...)``, "every
    15 minutes", a timedelta or seconds. Options: see ``TaskOptions``. Raises JobsConfigurationError for an unknown or
    wrong one, for a name that is taken, and for a function that a worker could not import.
    """

    def decorate(function: Callable[..., Any]) -> Task[..., Any]:
        declared = {key: value for key, value in options.items() if key not in IDENTITY_OPTIONS}
        identity = {key: value for key, value in options.items() if key in IDENTITY_OPTIONS}
        task: Task[..., Any] = Task(function, declared=declared, **identity)
        registry.register(task)
        return task

    return decorate if function is None else decorate(function)


def send_job(
    name: str,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    /,
    *,
    remote: bool = False,
    **options: Any,
) -> AsyncResult[Any]:
    """
    Send a job by the name of its task, from code that does not have the function.

    Options as for ``apply_async``. Raises UnknownTask with the nearest known name; with ``remote=True`` a name that is
    not registered here is sent all the same, its arguments unchecked, to a worker that knows it.
    """
    if not isinstance(name, str) or not name:
        hint = f" This one is called {name.name!r}." if isinstance(name, Task) else ""
        raise TypeError(f"send_job() takes the name of a task, not {name!r}.{hint}")
    task = registry.get(name)
    if task is not None:
        return cast("Task[..., Any]", task).apply_async(args, kwargs, **options)
    if not remote:
        raise UnknownTask(
            f"No task is called {name!r} here.{nearest(name, registry.names())} Pass remote=True when only the workers"
            " know it."
        )
    effective = resolve(name, {}, settings.top["TASKS"])
    (job,) = make_jobs(name, effective, [(arguments(args), dict(kwargs or {}))], options)
    if options.get("job_id") is None or get_store().get(job.id) is None:
        _dispatch((job,), effective, options)
    return AsyncResult(job.id, queue=job.queue, ignored=_is_ignored(job, effective))


def make_job(name: str, args: Iterable[Any], kwargs: Mapping[str, Any], /, **options: Any) -> Job:
    """Make the job that ``send_job`` would send, and send nothing. Raises as it does."""
    task = cast("Task[..., Any]", registry[name])
    (job,) = task._make_jobs([(arguments(args), dict(kwargs))], options)
    return job


def _dispatch(jobs: Sequence[Job], options: TaskOptions, call: Mapping[str, Any]) -> None:
    dispatch.send(
        jobs,
        using=call.get("using", options.using),
        on_commit=call.get("on_commit", options.on_commit),
        outbox=call.get("outbox", options.outbox),
    )


def _is_ignored(job: Job, options: TaskOptions) -> bool:
    return bool(job.options.get("ignore_result", options.ignore_result))


def _forget_options(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        for task in registry:
            cast("Task[..., Any]", task)._options = None


setting_changed.connect(_forget_options, dispatch_uid="django_jobs.task")
