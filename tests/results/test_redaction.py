"""What people see of arguments: no secrets, and no more than they can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from django_jobs.canvas import Signature, chord, xmap
from django_jobs.canvas.maps import XMAP, XSTARMAP
from django_jobs.envelope import Job
from django_jobs.registry import registry
from django_jobs.results.redaction import HIDDEN, LIMIT, shown_arguments, sounds_secret
from django_jobs.serializers import pack
from django_jobs.task import Task


def login(user: str, password: str, card: str = "", *rest: Any, pin: str = "") -> None: ...


def visit(user: str, *, pin: str = "") -> None: ...


def secret_rest(user: str, *tokens: str) -> None: ...


@pytest.fixture(autouse=True)
def tasks() -> Iterator[None]:
    made: list[Task[..., Any]] = [Task(function, declared={}) for function in (login, secret_rest)]
    made.append(Task(visit, declared={"sensitive": ["pin"]}))
    for task in made:
        registry.register(task)
    yield
    for task in made:
        registry.unregister(task)


def shown(
    function: Any, *args: Any, sensitive: tuple[str, ...] = (), source: str | None = None, **kwargs: Any
) -> tuple[Any, Any]:
    job = Job(
        id="x",
        task=f"{__name__}.{function.__name__}" if callable(function) else function,
        queue="q",
        packed_args=[pack(arg) for arg in args],
        packed_kwargs={name: pack(value) for name, value in kwargs.items()},
        source=source,
    )
    texts = shown_arguments(job, sensitive)
    assert all(text.isascii() for text in texts)
    return json.loads(texts[0]), json.loads(texts[1])


SECRET = """
    password PASSWORD new_password2 passwd passphrase pwd token accessToken api_key apikey api-key X-Api-Key private_key
    client_secret Authorization auth basic_auth signature cookie HTTP_COOKIE csrfmiddlewaretoken sessionid session_key
    aws_secret_access_key credentials db_pass
"""


@pytest.mark.parametrize("name", SECRET.split())
def test_names_that_sound_secret(name: str):
    assert sounds_secret(name)


@pytest.mark.parametrize(
    "name", ["author", "author_id", "key", "keyword", "monkey", "passenger", "compass", "id", "session"]
)
def test_names_that_do_not(name: str):
    assert not sounds_secret(name)


def test_what_comes_before_is_named_and_moves_the_others_on():
    """The second parameter of a step is the first of its own arguments."""
    assert shown(login, "hunter2", "visa", source="0123") == (["<value of 0123>", HIDDEN, "visa"], {})
    assert shown(secret_rest, "hunter2", source="0123") == (["<value of 0123>", HIDDEN], {})
    assert shown("unknown.task", source="0123") == (["<value of 0123>"], {})
    failed = ["<request of 0123>", "<exception of 0123>", "<traceback of 0123>"]
    assert shown(login, "a", "b", source="!0123") == ([*failed, "a", "b"], {})
    assert shown(secret_rest, "hunter2", source="!0123") == ([*failed, HIDDEN], {})


def test_plain_arguments_are_shown_as_they_are():
    assert shown("unknown.task", 1, "a", None, True, 2.5, x=[1, {"y": "é"}]) == (
        [1, "a", None, True, 2.5],
        {"x": [1, {"y": "é"}]},
    )
    assert shown("unknown.task") == ([], {})


def test_positional_arguments_are_hidden_by_the_name_of_their_parameter():
    assert shown(login, "ann", "hunter2") == (["ann", "[hidden]"], {})
    assert shown(login, "ann", "x", "4111", 1, 2, sensitive=("card",)) == (["ann", "[hidden]", "[hidden]", 1, 2], {})
    assert shown(secret_rest, "ann", "a", "b") == (["ann", "[hidden]", "[hidden]"], {})


def test_what_the_task_calls_sensitive_is_hidden_at_every_depth():
    args, kwargs = shown(login, {"pin": 1, "deep": [{"pin": 2, "ok": 3}]}, pin="1234", sensitive=("pin",))
    assert args == [{"pin": "[hidden]", "deep": [{"pin": "[hidden]", "ok": 3}]}]
    assert kwargs == {"pin": "[hidden]"}


def test_secrets_inside_of_what_is_wrapped_are_hidden():
    value = ({"token": "t", "a": {1: {"password": "p"}}}, {"set"})
    text = json.dumps(shown("unknown.task", value, {2: "two", "api_key": "k"}))
    assert text.count("[hidden]") == 3
    for secret in ('"t"', '"p"', '"k"'):
        assert secret not in text
    assert '"two"' in text


@pytest.mark.parametrize(
    "value",
    ["x" * 100_000, ["y" * 500] * 500, list(range(50_000)), {f"k{n}": "v" * 100 for n in range(5000)},
     [[[["z" * 50] * 30] * 30] * 30], b"b" * 50_000],
)  # fmt: skip
def test_what_is_long_is_cut_and_stays_readable(value: Any):
    job = Job(id="x", task="unknown.task", queue="q", packed_args=[pack(value)], packed_kwargs={"value": pack(value)})
    for text in shown_arguments(job, ()):
        assert len(text) <= LIMIT
        assert "…" in json.dumps(json.loads(text), ensure_ascii=False)


LOGIN, VISIT = f"{__name__}.login", f"{__name__}.visit"


def test_what_a_task_hides_is_hidden_in_a_map_of_it():
    for task in (XMAP, XSTARMAP):
        assert shown(task, task=LOGIN, it=[["ann", "xyz"]])[1] == {"task": LOGIN, "it": HIDDEN}
        assert shown(task, task=VISIT, it=[["ann", {"pin": 1, "token": 2}]])[1]["it"] == [
            ["ann", {"pin": HIDDEN, "token": HIDDEN}]
        ]


def test_what_tasks_hide_is_hidden_in_a_canvas_that_is_an_argument():
    secret = Signature.s(LOGIN, "ann", "xyz", password="123", card="456")
    body = secret.set(headers={"token": "789"}).on_error(secret)
    canvas = chord([secret, xmap(LOGIN, ["xyz"]), Signature.s(VISIT, 1, pin="000")], body)
    (args, _) = shown("any", [canvas])
    text = json.dumps(args)
    assert not any(word in text for word in ("xyz", "123", "789", "000"))
    assert '"456"' in text  # nobody has said that it is one
    assert '"args": [1]' in text


def test_a_task_made_anew_is_asked_anew():
    assert shown(login, "ann", "x")[0] == ["ann", "[hidden]"]
    assert shown(login, "ann", "x", sensitive=("user",))[0] == ["[hidden]", "[hidden]"]
    assert shown(login, "ann", "x")[0] == ["ann", "[hidden]"]
