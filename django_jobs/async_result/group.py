"""The handle of a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Union
from uuid import UUID

from asgiref.sync import sync_to_async

from django_jobs import operations
from django_jobs.async_result.handle import AsyncResult, as_seconds
from django_jobs.async_result.identity import Identified
from django_jobs.async_result.look import Look, look_at_group
from django_jobs.async_result.sent import Sent
from django_jobs.async_result.waiting import ASK_SECONDS, POLL_FIRST, POLL_LAST, Waited, check_waiting
from django_jobs.async_result.workflow import WorkflowResult
from django_jobs.exceptions import JobsError, JobUnknown, ResultTimeout
from django_jobs.identifiers import parse_id
from django_jobs.results import get_store
from django_jobs.results.sql import batches
from django_jobs.states import State
from django_jobs.workflow.starting import workflows_of

Member = Union[AsyncResult[Any], "GroupResult"]


class GroupResult(Identified, Sent):
    """
    A group that was sent: the handles of its members, in their order. A member that is a group is a GroupResult.

    It can be found again by its ``id``, for as long as its results are kept: ``GroupResult.restore(id)``.
    """

    def __init__(self, group_id: str | UUID, results: Sequence[Member] = (), *, parent: Member | None = None) -> None:
        self.id = parse_id(group_id)
        #: The handles of the members.
        self.results: list[Member] = list(results)
        #: What came before the group in its canvas.
        self.parent = parent

    @classmethod
    def restore(cls, group_id: str | UUID) -> GroupResult:
        """Return the handle of a group by its id. Raises JobUnknown for an id that no group has."""
        workflows = workflows_of(get_store())
        key = parse_id(group_id)
        joining = workflows.joining([key])
        if not joining[key] and not workflows.barriers([key]):
            raise JobUnknown(f"The group {key} is not known: it was never sent, was rolled back, or has been pruned.")
        level = [key]
        while level := [one for group in level for one, is_group in joining[group] if is_group]:
            joining |= workflows.joining(level)
        made: dict[str, GroupResult] = {}
        for group, members in reversed(joining.items()):  # what is in a group was found after it
            made[group] = cls(group, [made[one] if is_group else AsyncResult(one) for one, is_group in members])
        return made[key]

    def save(self) -> GroupResult:
        """Return itself: what is needed to restore it is kept already."""
        return self

    def __repr__(self) -> str:
        return f"<GroupResult {self.id} of {len(self.results)}>"

    def __len__(self) -> int:
        return len(self.results)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Member]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Member:
        return self.results[index]

    @property
    def workflow(self) -> WorkflowResult | None:
        """The canvas that the group is a part of."""
        kept = workflows_of(get_store()).barriers([self.id]).get(self.id)
        return None if kept is None else WorkflowResult(kept.barrier.workflow_id)

    @property
    def children(self) -> list[Member]:
        """The handles of the members."""
        return self.results

    # How it stands

    @property
    def state(self) -> State:
        """FAILURE when a member failed or was revoked, SUCCESS when all have succeeded, else STARTED or PENDING."""
        self._refresh()
        leaves = self._leaves()
        if any(leaf.ended and leaf.ended.state != State.SUCCESS for leaf in leaves):
            return State.FAILURE
        ended = sum(leaf.ended is not None for leaf in leaves)
        if ended == len(leaves):
            return State.SUCCESS
        return State.STARTED if ended else State.PENDING

    def ready(self) -> bool:
        """Say whether all members have ended."""
        self._refresh()
        return all(leaf.ended is not None for leaf in self._leaves())

    def successful(self) -> bool:
        """Say whether all members have succeeded."""
        self._refresh()
        return all(leaf.ended is not None and leaf.ended.state == State.SUCCESS for leaf in self._leaves())

    def failed(self) -> bool:
        """Say whether a member has failed, or was revoked."""
        return self.state == State.FAILURE

    def waiting(self) -> bool:
        """Say whether a member has not ended."""
        return not self.ready()

    def completed_count(self) -> int:
        """Count the jobs in it that have succeeded."""
        self._refresh()
        return sum(leaf.ended is not None and leaf.ended.state == State.SUCCESS for leaf in self._leaves())

    # Waiting

    def get(
        self, timeout: timedelta | float | None = None, propagate: bool = True, *, allow_in_job: bool = False
    ) -> list[Any]:
        """
        Wait for the group and return the results of its members, in order.

        A failure that fails the group raises its exception, at once or with the last member, as the group's rules say;
        of one that is allowed a MemberFailure stands in the list. With ``propagate=False`` all members are waited for,
        and exceptions stand in the list. Raises as ``AsyncResult.get`` does.
        """
        if propagate:
            whole: AsyncResult[list[Any]] = AsyncResult(self.id)
            return whole.get(timeout, allow_in_job=allow_in_job)
        for _ in self._until_all_ended(as_seconds(timeout), allow_in_job=allow_in_job):
            pass
        return [member.get(timeout=0, propagate=False, allow_in_job=allow_in_job) for member in self.results]

    join = get

    async def aget(
        self,
        timeout: timedelta | float | None = None,  # noqa: ASYNC109 - as in get()
        propagate: bool = True,
        *,
        allow_in_job: bool = False,
    ) -> list[Any]:
        """Wait for the group without blocking the event loop. See ``get``."""
        if propagate:
            whole: AsyncResult[list[Any]] = AsyncResult(self.id)
            return await whole.aget(timeout, allow_in_job=allow_in_job)
        wait = sync_to_async(self.get, thread_sensitive=False)
        return await wait(timeout, propagate, allow_in_job=allow_in_job)

    def iterate(
        self, timeout: timedelta | float | None = None, propagate: bool = True, *, allow_in_job: bool = False
    ) -> Iterator[Any]:
        """Give the results of the jobs in it as they end. See ``get``."""
        for leaf in self._until_all_ended(as_seconds(timeout), allow_in_job=allow_in_job):
            yield leaf.get(timeout=0, propagate=propagate, allow_in_job=allow_in_job)

    def _until_all_ended(self, seconds: float | None, *, allow_in_job: bool) -> Iterator[AsyncResult[Any]]:
        """Give the jobs as they end, in few queries however many they are."""
        leaves = self._leaves()
        told: set[str] = set()
        deadline = None if seconds is None else time.monotonic() + seconds
        pause, ask_at = POLL_FIRST, 0.0
        while True:
            self._refresh()
            for leaf in leaves:
                if leaf.ended is not None and leaf.id not in told:
                    told.add(leaf.id)
                    yield leaf
            waited = [leaf for leaf in leaves if leaf.ended is None]
            if not waited:
                return
            if time.monotonic() >= ask_at:
                check_waiting(Waited(id=waited[0].id, queue=None, ignored=False), allow_in_job=allow_in_job)
                ask_at = time.monotonic() + ASK_SECONDS
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise ResultTimeout(
                    f"The group {self.id} has not ended within {seconds:g} s: {len(waited)} of its {len(leaves)} jobs"
                    " have not."
                )
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 2, POLL_LAST)

    # Doing

    def revoke(self, *, terminate: bool = False) -> None:
        """Stop all jobs of the group that have not ended. See ``AsyncResult.revoke``."""
        operations.revoke_many([leaf.id for leaf in self._leaves()], terminate=terminate)

    def retry(self) -> GroupResult:
        """Send those jobs of the group again that failed or were revoked. Raises JobsError when there are none."""
        leaves = self._leaves()
        if not operations.retry([leaf.target_id for leaf in leaves]).done:
            raise JobsError(f"The group {self.id} has no job that could be sent again: its state is {self.state}.")
        for leaf in leaves:
            leaf.ended = None
        return self

    def forget(self) -> None:
        """
        Delete what is recorded of the jobs of the group; while its workflow has not finished, or can be retried, they
        are only let go: what follows may need them, handles still show them, and pruning takes them when that is over.
        """
        leaves = self._leaves()
        for leaf in leaves:
            leaf.ended = None
        get_store().let_go([leaf.id for leaf in leaves])

    # How

    def _leaves(self) -> list[AsyncResult[Any]]:
        found: list[AsyncResult[Any]] = []
        for member in self.results:
            if isinstance(member, GroupResult):
                found += member._leaves()
            else:
                found.append(member)
        return found

    def _refresh(self) -> None:
        """Read the rows of all jobs that are not known to have ended."""
        leaves = self._leaves()
        for leaf in leaves:
            leaf._doubt()
        todo = {leaf.target_id: leaf for leaf in leaves if leaf.ended is None}
        while todo:
            rows = {one: row for some in batches(list(todo)) for one, row in get_store().get_many(some).items()}
            replaced: dict[str, AsyncResult[Any]] = {}
            for one, row in rows.items():
                leaf, seen = todo[one], Look(state=row.record.state, stored=row)
                if seen.replaced_by is None:
                    leaf.keep(seen)
                else:  # as keep() does, but all of them together
                    leaf.target_id, leaf._queue = seen.replaced_by, None
                    replaced[leaf.target_id] = leaf
            todo = replaced
        self._refresh_groups([leaf for leaf in leaves if leaf.ended is None and leaf.target_id != leaf.id])

    @staticmethod
    def _refresh_groups(leaves: Sequence[AsyncResult[Any]]) -> None:
        """Look at those whose place has been taken by a group that has ended."""
        for some in batches(leaves):
            kept = workflows_of(get_store()).barriers([leaf.target_id for leaf in some])
            for leaf in some:
                barrier = kept.get(leaf.target_id)
                seen = None if barrier is None or barrier.resolved_ms is None else look_at_group(leaf.target_id)
                if seen is not None:
                    leaf.keep(seen)
