"""What stands for a member of a group that has failed, and was allowed to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberFailure:
    """In the list of a group's values, in the place of a member that failed. It is false, as a value."""

    #: The job that failed: the member itself, or the step in it that was the reason.
    id: str
    task: str
    #: Import path of the exception's class, and its text.
    exception_type: str
    exception: str

    def __bool__(self) -> bool:
        return False
