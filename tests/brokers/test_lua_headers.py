"""The header of a script is its signature: what it declares is used, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis.crc import key_slot

from django_jobs.brokers.redis.keys import CommonKeys, QueueKeys
from django_jobs.brokers.redis.scripts import FOLDER, Script

SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.lua"))
INCLUDES = sorted(path.stem for path in (FOLDER / "include").glob("*.lua"))
VERBS = {
    *("enqueue", "claim", "ack", "retry", "release", "bury", "heartbeat", "unregister", "resync", "reap", "expired"),
    *("revoke", "forget", "pause", "resume", "purge", "report", "workers", "command", "consumers"),
}

#: About no queue.
COMMON = {"epoch", "introduce", "report", "workers", "command"}


def header_of(name: str) -> str:
    return Script(name).text.decode().partition("]]")[0]


def code_of(name: str) -> str:
    _, _, code = Script(name).text.decode().partition("]]")
    return re.sub(r"--[^\n]*", "", code)


def test_every_verb_has_a_script():
    assert set(SCRIPTS) >= VERBS


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_header_says_what_a_script_is_for(name: str):
    header = header_of(name)
    assert header.startswith(f"--[[\n  {name}: ")
    assert re.search(r"^  Returns  \S", header, re.MULTILINE)
    assert re.search(r"^  Keeps    \S", header, re.MULTILINE)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_declared_keys_are_used_and_no_other(name: str):
    declared = [int(number) for number in re.findall(r"^  KEYS\[(\d+)\]", header_of(name), re.MULTILINE)]
    assert declared == list(range(1, len(declared) + 1))
    assert {int(number) for number in re.findall(r"KEYS\[(\d+)\]", code_of(name))} == set(declared)
    assert len(re.findall(r"\bKEYS\b", code_of(name))) == len(re.findall(r"KEYS\[\d+\]", code_of(name)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_declared_arguments_are_used_and_no_other(name: str):
    header, code = header_of(name), code_of(name)
    single = {int(number) for number in re.findall(r"^  ARGV\[(\d+)\]", header, re.MULTILINE)}
    assert {int(number) for number in re.findall(r"ARGV\[(\d+)\]", code)} == single
    repeated = re.search(r"^  ARGV\[(\d+)\.\.\]  \(([^)]+)\)\*", header, re.MULTILINE)
    loops = re.findall(r"ARGV\[\w*[a-z]\w*|holds\(inflight|ipairs\(ARGV\)|#ARGV", code)
    assert bool(loops) == bool(repeated), "a list of arguments is declared where one is read, and nowhere else"
    if repeated:
        assert int(repeated[1]) == len(single) + 1
        step = len(repeated[2].split())
        called = re.findall(r"= holds\(inflight, (\d+), (\d+)\)|for i = (\d+), #ARGV(?:, (\d+))? do", code)
        for first, width, start, stride in called:
            if start != "first":
                assert (int(first or start), int(width or stride or 1)) == (int(repeated[1]), step)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_keys_are_those_of_a_queue_in_one_slot(name: str):
    for single_slot in (True, False):
        keys = QueueKeys("dj", "some.queue-1", single_slot=single_slot)
        common = CommonKeys("dj")
        assert (keys.slot == common.slot) == single_slot
        of = common if name in COMMON else keys
        built = [keys.inflight("c") if key == "inflight" else of[key] for key in Script(name).keys]
        assert {key_slot(key) for key in built} == {of.slot}


@pytest.mark.parametrize("name", SCRIPTS)
def test_lua_moves_bytes_and_never_decodes_a_body(name: str):
    assert not re.search(r"cjson|cmsgpack|\bstruct\.", code_of(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_command_that_is_as_long_as_a_queue(name: str):
    forbidden = r"'(KEYS|SCAN|HSCAN|SSCAN|ZSCAN|HGETALL|HVALS|LREM|SORT|RENAME)'"
    assert not re.search(forbidden, code_of(name))


#: What Redis refuses when its memory is full, out of what the scripts write with.
TAKES_MEMORY = {"HSET", "HSETNX", "HINCRBY", "ZADD", "SADD", "LPUSH", "RPUSH"}
FREES = {"PERSIST", "HDEL", "ZREM", "ZREMRANGEBYRANK", "SREM"}


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "takes no memory" in header_of(name)])
def test_a_script_that_must_run_on_a_full_server_writes_without_memory(name: str):
    """The order of execution is tested on a full server; here: such a script has a write that is never refused."""
    written = re.findall(r"call\('([A-Z]+)'", code_of(name))
    assert set(written) & FREES, f"{name} only writes with {set(written) & TAKES_MEMORY}"


@pytest.mark.parametrize("name", INCLUDES)
def test_an_include_is_one_function_with_a_comment(name: str):
    text = (FOLDER / "include" / f"{name}.lua").read_text()
    assert text.startswith("-- ")
    assert len(re.findall(r"^local function \w+", text, re.MULTILINE)) == 1
    assert len(re.findall(r"^\S", re.sub(r"^--.*\n", "", text, flags=re.MULTILINE), re.MULTILINE)) == 2


@pytest.mark.parametrize("name", SCRIPTS)
def test_includes_are_expanded_once(name: str):
    raw = (FOLDER / f"{name}.lua").read_text()
    wanted = re.findall(r'^--- @include "(\w+)"$', raw, re.MULTILINE)
    assert len(wanted) == len(set(wanted))
    assert "@include" not in Script(name).text.decode()
    for include in wanted:
        function = re.search(r"local function (\w+)", (FOLDER / "include" / f"{include}.lua").read_text())
        assert function
        uses = re.findall(rf"\b{function[1]}\(", code_of(name))
        assert len(uses) >= 2, f"{name} includes {include} without calling {function[1]}"


def test_every_include_is_wanted():
    wanted = {
        found for path in FOLDER.glob("*.lua") for found in re.findall(r'@include "(\w+)"', Path(path).read_text())
    }
    assert wanted == set(INCLUDES)
