"""Which error callbacks are to be called: each once for each failure, whoever tells of it, and however often."""

from __future__ import annotations

from django_jobs.canvas.opening import ErrorCall
from django_jobs.envelope import GENERATION_BITS
from django_jobs.identifiers import derived_id, moment_of
from django_jobs.results.base import BaseStore
from django_jobs.results.workflows import BaseWorkflows


class ErrorCalls:
    """Ids of error callbacks, which derive from the failure: that a call is kept under its id says that it was made."""

    def __init__(self, store: BaseStore, workflows: BaseWorkflows) -> None:
        self._store = store
        self._workflows = workflows
        #: Of the jobs of steps that have ended, as far as that is known here.
        self._generations: dict[str, int] = {}

    def ended(self, step_id: str, generation: int) -> None:
        """Say of which generation the job of a step was that has ended."""
        self._generations[step_id] = generation

    def id_of(self, call: ErrorCall) -> str | None:
        """
        Return the id of an error callback; None: it was called for this failure.

        A barrier is told of under the same id when it fails first; after that by what of it has failed anew. If it was
        opened again, and fails for what had failed before, nobody is called.
        """
        generation = str(self._generation_of(call.cause))
        names: list[tuple[str, ...]] = [(generation,)]
        if call.failed != call.cause:
            names = [("0",)] if call.is_old else [("0",), (call.cause, generation)]
        for name in names:
            call_id = derived_id(moment_of(call.id), call.id, *name)
            if not (self._workflows.steps([call_id]) or self._workflows.barriers([call_id])):
                return call_id
        return None

    def _generation_of(self, step_id: str) -> int:
        """Return the generation of a job that has ended, here or in an earlier transaction."""
        if step_id not in self._generations:
            row = self._store.settled([step_id]).get(step_id)
            self._generations[step_id] = 0 if row is None else row.fence >> GENERATION_BITS
        return self._generations[step_id]
