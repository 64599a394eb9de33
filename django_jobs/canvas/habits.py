"""
What people who come from Celery will try on a signature or on a handle, and what to tell them. Data only.
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
    "flatten_links": "Go through signature.links, and those of each.",
    "unchain_tasks": "Go through chain.tasks.",
    "add": f"{_FIXED} make a group of all: group(*members.tasks, another).",
    "append": f"{_FIXED} make a group of all: group(*members.tasks, another).",
}

_WAS_SENT = "This is the handle of what was sent already"
_SAY_BEFORE = f"{_WAS_SENT}: say it of the signature, before it is sent."
_FAMILY = "Follow .parent and .children; the admin shows the whole workflow."
_MEMBERS = "A group that was sent has the members that it was sent with."

#: What Celery's handles have, or people take for something that handles have, and ours have not.
OF_HANDLES: Mapping[str, str] = {
    "delay": f"{_WAS_SENT}: chord(header)(body) sends. To send it later, chord(header, body) makes it.",
    "apply_async": f"{_WAS_SENT}: chord(header)(body) sends. With options, chord(header, body).apply_async(...).",
    "link": _SAY_BEFORE,
    "link_error": _SAY_BEFORE,
    "on_error": _SAY_BEFORE,
    "set": _SAY_BEFORE,
    "clone": _SAY_BEFORE,
    "stamp": _SAY_BEFORE,
    "then": f"{_WAS_SENT}: what is to follow is linked to the signature, with | or link().",
    "task_id": "It is called id.",
    "throw": "get() raises the exception of a job that has failed.",
    "maybe_throw": "get() raises the exception of a job that has failed; result returns it.",
    "maybe_reraise": "get() raises the exception of a job that has failed; result returns it.",
    "graph": _FAMILY,
    "build_graph": _FAMILY,
    "collect": _FAMILY,
    "iterdeps": _FAMILY,
    "get_leaf": _FAMILY,
    "as_list": _FAMILY,
    "as_tuple": "A handle is kept by its id: AsyncResult(id), GroupResult.restore(id).",
    "exists": "The state of what was never sent is UNKNOWN.",
    "revoke_by_stamped_headers": "A workflow is revoked as a whole, not by its headers.",
    "backend": "Results go to one store: DJANGO_JOBS['RESULTS']['STORE'].",
    "app": "There is no app: Django knows the project.",
    "subtasks": "It is called results.",
    "delete": "It is called forget().",
    "join_native": "It is called join(), and reads all results in few queries.",
    "iter_native": "It is called iterate(), and reads results in few queries.",
    "add": _MEMBERS,
    "remove": _MEMBERS,
    "discard": _MEMBERS,
    "update": _MEMBERS,
    "clear": _MEMBERS,
}
