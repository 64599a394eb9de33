"""From rows to a drawing, without a database."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

import pytest

from django_jobs import chain, chord, group
from django_jobs.admin.workflow_folding import LONGEST_RUN, MOST_MEMBERS, MOST_NODES, ROOM, drawing_of
from django_jobs.admin.workflow_graph import Follows, Kind, Node
from django_jobs.admin.workflow_layout import Layout, Size, layout
from django_jobs.admin.workflow_records import NEVER_RAN, SENT, BarrierRow, CrowdRow, Records, StepRow
from django_jobs.admin.workflow_svg import Links, draw, size_of
from django_jobs.admin.workflow_words import name_of, title_of
from django_jobs.canvas import Expression, Signature
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import Barrier, Step
from django_jobs.identifiers import new_id
from django_jobs.results.workflows import codec
from tests.canvas.strategies import draw as random_canvas

NOWHERE = Links(job=lambda _id: "", jobs=lambda _task, _state: "")
A, B, C = (Signature.s(f"shop.jobs.{name}") for name in ("fetch", "resize", "publish"))


def records_of(canvas: Expression, **states: str) -> Records:
    """Return the rows of a canvas that was just sent. ``states``: of all jobs of a task, by its short name."""
    made = plan(canvas)
    return Records([_step(one, states) for one in made.steps], [_barrier(one) for one in made.barriers], [])


def _step(step: Step, states: dict[str, str]) -> StepRow:
    row = codec.step_row(step)
    state = states.get(row.task.rpartition(".")[2])
    return StepRow(row.id, row.task, row.target, row.position, row.callbacks, row.entry, state=state)


def _barrier(barrier: Barrier) -> BarrierRow:
    row = codec.barrier_row(barrier)
    return BarrierRow(row.id, row.target, row.position, row.callbacks, row.size)


def drawn(records: Records) -> tuple[list[Node], Counter[str]]:
    """Return the nodes, and their edges as texts."""
    found = drawing_of(records)
    assert found is not None
    nodes, edges = found
    names = {one: name_of(node) for one, node in nodes.items()}
    return list(nodes.values()), Counter(f"{names[e.source]} {e.follows.value} {names[e.target]}" for e in edges)


def named(nodes: list[Node], name: str) -> Node:
    (found,) = [node for node in nodes if name_of(node) == name]
    return found


class TestEdges:
    def test_a_chain(self):
        nodes, edges = drawn(records_of(chain(A, B, C)))
        assert len(nodes) == 3
        assert edges == {"fetch then resize": 1, "resize then publish": 1}

    def test_a_group_in_a_chain_fans_out_and_joins(self):
        _, edges = drawn(records_of(chain(A, group(B, B, B), C)))
        assert edges == {"fetch fan resize": 3, "resize join 0 of 3": 3, "0 of 3 then publish": 1}

    def test_a_group_after_a_group(self):
        _, edges = drawn(records_of(chain(group(A, A), group(B, B))))
        assert edges == {"fetch join 0 of 2": 2, "0 of 2 fan resize": 2, "resize join 0 of 2": 2}

    def test_a_chord_in_a_chain_in_a_group(self):
        inner = chain(A, chord([B, B], C))
        nodes, edges = drawn(records_of(chord([inner, A], C)))
        assert edges["fetch fan resize"] == 2
        assert edges["resize join 0 of 2"] == 2
        assert edges["0 of 2 then publish"] == 2  # of the inner and of the outer one
        assert edges["publish join 0 of 2"] == 1
        assert edges["fetch join 0 of 2"] == 1
        assert len(nodes) == 8

    def test_callbacks_are_told_apart_with_all_that_follows_them(self):
        nodes, edges = drawn(records_of(chain(A.link(chain(B, C)), A)))
        assert edges == {"fetch then fetch": 1, "fetch callback resize": 1, "resize then publish": 1}
        assert {name_of(node): node.role for node in nodes} == {
            "fetch": None, "resize": Follows.CALLBACK, "publish": Follows.CALLBACK,
        }  # fmt: skip

    def test_a_callback_that_is_a_group(self):
        _, edges = drawn(records_of(A.link(group(B, B))))
        assert edges == {"fetch callback resize": 2, "resize join 0 of 2": 2}

    def test_an_error_callback_follows_what_has_failed(self):
        records = records_of(chain(A, B), fetch="FAILURE")
        failed = next(step.id for step in records.steps if step.task.endswith("fetch"))
        records.steps.append(StepRow(new_id(), "shop.jobs.apologize", source=f"!{failed}", opened=1))
        nodes, edges = drawn(records)
        assert edges == {"fetch then resize": 1, "fetch error apologize": 1}
        assert named(nodes, "apologize").role is Follows.ERROR
        assert title_of(named(nodes, "apologize")).startswith("Error callback. shop.jobs.apologize. sent")

    def test_what_took_the_place_of_a_step_follows_it(self):
        records = records_of(chain(A, B))
        first, then = sorted(records.steps, key=lambda step: step.task)
        end, start = new_id(), new_id()
        records.steps[records.steps.index(first)] = first._replace(replaced_by=end, state="SUCCESS")
        records.steps.extend([StepRow(start, "x.one", target=end), StepRow(end, "x.two", target=then.id)])
        _, edges = drawn(records)
        assert edges == {"fetch then one": 1, "one then two": 1, "two then resize": 1}

    def test_nothing_is_left_of_rows_that_name_what_is_gone(self):
        gone = new_id()
        rows = [StepRow(new_id(), "a", target=gone), StepRow(new_id(), "b", source=f"!{gone}")]
        rows += [StepRow(new_id(), "c", target=gone, position=3, callbacks=f'[["{gone}",null]]')]
        nodes, edges = drawn(Records(rows, [], []))
        assert len(nodes) == 3
        assert not edges


class TestStates:
    @pytest.mark.parametrize(
        ("values", "state"),
        [
            ({}, "BLOCKED"),
            ({"opened": 1}, SENT),
            ({"opened": 1, "state": "STARTED"}, "STARTED"),
            ({"state": "REVOKED"}, "REVOKED"),
            ({"state": "REVOKED", "cause": "other"}, NEVER_RAN),
            ({"state": "REVOKED", "cause": "own"}, "REVOKED"),  # it was revoked before it could start
        ],
    )
    def test_of_a_step(self, values, state):
        assert StepRow("own", "a", **values).shown_state == state

    @pytest.mark.parametrize(
        ("values", "state"),
        [
            ({"reported": 1}, "BLOCKED"),
            ({"resolved": 1, "failed": 1, "allow_failures": 1}, "SUCCESS"),
            ({"resolved": 1, "failed": 1, "cause": "x"}, "FAILURE"),
            ({"resolved": 1, "cause": "x"}, NEVER_RAN),
        ],
    )
    def test_of_a_barrier(self, values, state):
        (node,), _ = drawn(Records([], [BarrierRow("b", size=3, **values)], []))
        assert node.state == state

    def test_the_most_urgent_speaks_for_many(self):
        node = Node(id="x", counts=Counter({"SUCCESS": 40, "FAILURE": 1, "own state": 3, "BLOCKED": 2}))
        assert [state for state, _ in node.states] == ["FAILURE", "own state", "BLOCKED", "SUCCESS"]


class TestCrowds:
    def test_members_that_are_alike_become_one(self):
        nodes, edges = drawn(records_of(chain(A, group([B] * 13), C), resize="SUCCESS"))
        assert edges == {"fetch fan 13 × resize": 1, "13 × resize join 0 of 13": 1, "0 of 13 then publish": 1}
        assert named(nodes, "13 × resize").counts == {"SUCCESS": 13}

    def test_few_stay_apart(self):
        nodes, _ = drawn(records_of(group([B] * MOST_MEMBERS)))
        assert len(nodes) == MOST_MEMBERS + 1

    def test_chains_that_are_alike_become_one_chain_whatever_their_states(self):
        records = records_of(chord([chain(A, B, group(C, C)) for _ in range(50)], C))
        some = next(step for step in records.steps if step.task.endswith("resize"))
        records.steps[records.steps.index(some)] = some._replace(state="FAILURE")
        nodes, edges = drawn(records)
        assert named(nodes, "50 × resize").counts == {"FAILURE": 1, "BLOCKED": 49}
        assert named(nodes, "50 groups").size == 100
        assert edges == {
            "50 × fetch then 50 × resize": 1, "50 × resize fan 50 × publish": 2, "50 × publish join 50 groups": 2,
            "50 groups join 0 of 50": 1, "0 of 50 then publish": 1,
        }  # fmt: skip

    def test_members_with_callbacks_become_one_with_one_callback(self):
        _, edges = drawn(records_of(group([A.link(B)] * 20)))
        assert edges == {"20 × fetch join 0 of 20": 1, "20 × fetch callback 20 × resize": 1}

    def test_two_kinds_of_members_stay_two(self):
        nodes, _ = drawn(records_of(group([A] * 20 + [B] * 30)))
        assert {name_of(node) for node in nodes} == {"20 × fetch", "30 × resize", "0 of 50"}

    def test_many_that_are_unlike_are_cut_and_counted(self):
        members = [Signature.s(f"shop.jobs.task_{n}") for n in range(100)]
        nodes, _ = drawn(records_of(group(members)))
        assert len(nodes) == 2 * MOST_MEMBERS + 1
        assert named(nodes, f"{100 - 2 * MOST_MEMBERS + 1} more steps").counts == {"BLOCKED": 77}

    def test_error_callbacks_of_a_crowd_become_one(self):
        records = records_of(group([A] * 20), fetch="FAILURE")
        records.steps.extend(StepRow(new_id(), "x.apologize", source=f"!{step.id}") for step in records.steps[:5])
        _, edges = drawn(records)
        assert edges["20 × fetch error 5 × apologize"] == 1

    def test_what_the_database_has_counted_is_like_what_was_read(self):
        barrier = BarrierRow(new_id(), size=10_000, reported=42, failed=2)
        member, callback = new_id(), StepRow(new_id(), "x.apologize", opened=1)
        crowd = CrowdRow(
            task="shop.jobs.resize",
            target=barrier.id,
            entry=barrier.id,
            counts={"SUCCESS": 40, "FAILURE": 2, SENT: 9958},
        )
        inside = {member: 0}
        nodes, edges = drawn(Records([callback._replace(source=f"!{member}")], [barrier], [crowd], inside))
        assert edges == {"10,000 × resize join 42 of 10,000": 1, "10,000 × resize error apologize": 1}
        assert (
            title_of(nodes[1]) == "Group: 42 of 10,000 members ended. waits, 2 failed. It fails with the first failure"
        )

    def test_what_was_counted_and_what_was_read_become_one(self):
        records = records_of(group([chain(A, group([B] * 20), C)] * 30), resize="SUCCESS")
        some = {barrier.id for barrier in records.barriers if barrier.size == 20 and barrier.target}
        counted = sorted(some)[:20]
        crowds = [CrowdRow(task="shop.jobs.resize", target=one, entry=one, counts={"SUCCESS": 20}) for one in counted]
        left = [step for step in records.steps if step.target not in counted or step.position == -1]
        nodes, edges = drawn(records._replace(steps=left, crowds=crowds))
        assert named(nodes, "600 × resize").counts == {"SUCCESS": 600}
        assert len(nodes) == len(edges) + 1 == 5

    def test_members_that_were_not_read_are_counted(self):
        records = records_of(group([chain(A, B)] * 2))
        barrier = records.barriers[0]._replace(size=9000)
        nodes, edges = drawn(records._replace(barriers=[barrier], left_out=1))
        assert named(nodes, "8,998 more members").kind is Kind.HIDDEN
        assert edges["8,998 more members join 0 of 9,000"] == 1


class TestLongChains:
    def test_are_folded_in_the_middle(self):
        nodes, edges = drawn(records_of(chain([A] * 40 + [B] + [C] * 30), fetch="SUCCESS", resize="FAILURE"))
        assert {name_of(node) for node in nodes if node.kind is Kind.FOLD} == {"38 more steps", "28 more steps"}
        assert edges["38 more steps then resize"] == 1
        assert len(nodes) == 7
        assert sum(node.number for node in nodes) == 71

    def test_short_ones_are_not(self):
        assert len(drawn(records_of(chain([A] * LONGEST_RUN)))[0]) == LONGEST_RUN

    def test_a_very_long_one(self):
        nodes, _ = drawn(records_of(chain([A] * 3000)))
        assert len(nodes) == 5


def overlapping(placed: Layout) -> list[Any]:
    boxes = list(placed.boxes.values())
    return [
        (one, other)
        for n, one in enumerate(boxes)
        for other in boxes[n + 1 :]
        if one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    ]


@pytest.mark.parametrize("seed", range(150))
def test_any_canvas_is_drawn_and_nothing_is_lost(seed):
    rng = random.Random(seed)
    canvas, _ = random_canvas(rng, depth=5, width=30)
    if isinstance(canvas, Expression) and canvas.is_empty:
        return
    records = records_of(canvas)
    states = ["SUCCESS", "FAILURE", "STARTED", None]
    records.steps[:] = [step._replace(state=rng.choice(states)) for step in records.steps]
    found = drawing_of(records)
    assert found is not None
    nodes, edges = found
    assert sum(node.number for node in nodes.values() if node.kind is not Kind.BARRIER) == len(records.steps)
    counts: Counter[str] = sum((node.counts for node in nodes.values() if node.kind is not Kind.BARRIER), Counter())
    assert counts == Counter(step.shown_state for step in records.steps)
    assert len(nodes) <= MOST_NODES
    placed = layout({one: size_of(node) for one, node in nodes.items()}, edges)
    assert overlapping(placed) == []
    for edge in edges:
        assert placed.boxes[edge.source].x + placed.boxes[edge.source].width < placed.boxes[edge.target].x
    for box in placed.boxes.values():
        assert 0 <= box.x <= placed.width - box.width
        assert 0 <= box.y <= placed.height - box.height
    assert draw(found, NOWHERE).count('class="dj-node ') == len(nodes)


def test_what_is_wide_at_every_depth_is_drawn_smaller():
    deep: Expression = group(A, B)
    for _ in range(4):
        deep = group([chain(A, deep, C) for _ in range(5)])
    nodes, _ = drawn(records_of(deep))
    assert len(nodes) <= ROOM


def test_a_lane_is_level_and_a_long_line_goes_around():
    nodes, edges = drawing_of(records_of(chord([chain(A, B, C), A], C))) or ({}, [])
    placed = layout(dict.fromkeys(nodes, Size(100, 40)), edges)
    by_task: dict[str, list[Any]] = {}
    for one, node in nodes.items():
        by_task.setdefault(name_of(node), []).append(placed.boxes[one])
    (resize,) = by_task["resize"]
    assert resize.middle in {box.middle for box in by_task["fetch"]}
    (long,) = [line for line in placed.lines if len(line.points) > 2 and line.edge.follows is Follows.JOIN]
    assert all(not resize.y <= y <= resize.y + resize.height for x, y in long.points[1:-1] if resize.x <= x)


def test_rows_that_go_in_circles_do_not_hang():
    one, other = new_id(), new_id()
    rows = [StepRow(one, "a", target=other), StepRow(other, "b", target=one)]
    found = drawing_of(Records(rows, [], []))
    assert found is not None
    assert draw(found, NOWHERE)


class TestSvg:
    def draw(self, records: Records, links: Links = NOWHERE) -> str:
        found = drawing_of(records)
        assert found is not None
        return draw(found, links)

    def test_every_node_has_a_title_and_an_icon_and_a_word(self):
        image = self.draw(records_of(chain(A, group(B, B), C), fetch="SUCCESS", resize="FAILURE"))
        assert image.count("<title>") == 5
        assert "<title>shop.jobs.resize. failed</title>" in image
        assert image.count('class="dj-icon"') == 5
        assert re.search(r'dj-status-failure".*?<text class="dj-facts-line"[^>]*>failed</text>', image)

    def test_names_are_escaped_and_cut(self):
        image = self.draw(records_of(Signature.s("x.<script>alert(1)</script>" + "x" * 200)))
        assert "<script>" not in image
        assert "<title>x.&lt;script&gt;" in image
        assert "…</text>" in image

    def test_links_lead_to_jobs_that_have_left_a_row(self):
        records = records_of(chain(A, B), fetch="SUCCESS")
        links = Links(job=lambda one: f"/job/{one}", jobs=lambda task, state: f"/jobs?{task}&{state}")
        image = self.draw(records, links)
        assert image.count('<a href="/job/') == 1

    def test_counts_lead_to_lists(self):
        links = Links(job=lambda one: f"/job/{one}", jobs=lambda task, state: f"/jobs?{task}/{state}")
        image = self.draw(records_of(group([B] * 20), resize="FAILURE"), links)
        assert '<a href="/jobs?shop.jobs.resize/FAILURE">' in image
        assert '<a href="/jobs?shop.jobs.resize/"><text class="dj-name"' in image
        assert ">20 failed</text>" in image
        assert "/job/" not in image
