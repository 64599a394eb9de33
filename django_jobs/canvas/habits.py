"""
What people who come from Celery will try on a signature, and what to tell them. Data only.
"""

from __future__ import annotations

from collections.abc import Mapping

_SENT = "A signature has not been sent, so it has no result: .delay() sends it and returns the handle that has"
_FIXED = "Signatures never change:"

#: What Celery's signatures have, and ours have not.
ATTRIBUTES: Mapping[str, str] = {
    "get": f"{_SENT} get().",
    "result": f"{_SENT} result.",
    "state": f"{_SENT} state.",
    "ready": f"{_SENT} ready().",
    "id": f"{_SENT} id. To choose it, .set(job_id=...).",
    "apply": "Call the task itself to run it here, as a function; in tests use django_jobs.testing.eager().",
    "freeze": "Ids are given when a canvas is sent. To choose one, .set(job_id=...).",
    "set_immutable": f"{_FIXED} use signature = signature.set(immutable=True), or task.si(...).",
    "append_to_list_option": f"{_FIXED} use signature = signature.link(...), or .link_error(...).",
    "replace": f"{_FIXED} make another one with task.s(...), or from this one with clone() and set().",
    "partial": "It is called clone().",
    "stamp_links": "stamp() stamps callbacks, too.",
    "subtask_type": "to_dict() says which kind of canvas it is by its keys.",
    "type": "A signature knows its task by name only: .task.",
    "app": "There is no app: a signature knows its task by name, .task.",
    "on_success": "It is called link().",
    "unchain_tasks": "Go through chain.tasks.",
    "add": f"{_FIXED} make a group of all: group(*members.tasks, another).",
    "append": f"{_FIXED} make a group of all: group(*members.tasks, another).",
}
