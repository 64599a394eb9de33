"""A member adds further members to its group, and what follows the group waits for them, too."""

from __future__ import annotations

import pytest

from django_jobs import chain, chord, group
from tests.workflow.actors import Ledger, act, growing
from tests.workflow.conftest import Stage, sent


def test_a_chord_grows(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    members = [growing.s([1, 2], ledger=path), act.s(label="a", ledger=path)]
    last = sent(chord(members, act.s(label="body", ledger=path)))
    stage.work()
    assert last.get(timeout=0) == ["body", ["growing", ["a"], ["grown 1"], ["grown 2"]]]
    assert last.workflow is not None
    assert last.workflow.ready()
    assert len(type(last.parent).restore(last.parent.id)) == 4


def test_a_group_alone_grows(stage: Stage, ledger: Ledger):
    handle = sent(group(growing.s([1], ledger=str(ledger.path)), growing.s([2], ledger=str(ledger.path))))
    stage.work()
    found = handle.get(timeout=0)
    assert found[:2] == ["growing", "growing"]
    assert sorted(found[2:]) == [["grown 1"], ["grown 2"]]


def test_what_is_no_member_cannot(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    alone = growing.s([1], ledger=path)
    for canvas in (alone, chain(alone, act.s(label="b", ledger=path))):
        last = sent(canvas)
        stage.work()
        first = last.parent or last
        with pytest.raises(Exception, match="no member of a group"):
            first.get(timeout=0)
