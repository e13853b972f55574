"""What a plan says, by name, content and task: on disk it is what it is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_twin import PlanInMemory

from ingest.errors import IngestError
from ingest.on_disk import Names, Spool
from ingest.plan_state import PlanState
from shards import DatasetFolder

Line = dict[str, Any]
CLIP_NS = 1000
NAMES = [f"video {number}.mp4" for number in range(6)]
IDS = [f"{number:064x}" for number in range(5)]


class Parts:
    """A plan in memory, in parts, as `PlanState` reads it."""

    def __init__(self) -> None:
        self.parts: list[list[Line]] = []

    def add(self, lines: list[Line]) -> None:
        head = {"kind": "part", "part": len(self.parts), "configuration": {"clip_ns": CLIP_NS}}
        self.parts.append([head, *lines])

    def placed_plan_lines(self, first_part: int = 0) -> Iterator[tuple[tuple[int, int], Line]]:
        for part, lines in enumerate(self.parts[first_part:], first_part):
            for offset, line in enumerate(lines):
                yield (part, offset), line

    def plan_line(self, place: tuple[int, int]) -> Line:
        return self.parts[place[0]][place[1]]

    def lines(self) -> Iterator[Line]:
        return (line for part in self.parts for line in part)


def recording(name: str, content: str, clips: int, status: str = "planned", **more: Any) -> Line:
    stop_ns = 500 + clips * CLIP_NS - 1
    line = {"kind": "recording", "recording": name, "id": content, "status": status, "layout": "video"}
    return line | {"origin_ns": 500, "stop_ns": stop_ns, "info": {"seen as": name}, "about": {}} | more


@st.composite
def plans(draw: st.DrawFn) -> Parts:
    """Up to four parts: recordings, duplicates, tasks, tasks in the place of others, quarantine, remarks."""
    plan, number = Parts(), 0
    open_tasks: list[int] = []
    lengths: dict[str, int] = {}
    for _ in range(draw(st.integers(0, 4))):
        lines: list[Line] = []
        for name in draw(st.lists(st.sampled_from(NAMES), max_size=4)):
            content = draw(st.sampled_from(IDS))
            if content in lengths and draw(st.booleans()):
                lines.append(recording(name, content, 0, "duplicate", info={}))
                continue
            lengths.setdefault(content, draw(st.integers(1, 5)))
            lines.append(recording(name, content, lengths[content]))
        for _ in range(draw(st.integers(0, 4)) if lengths else 0):
            content = draw(st.sampled_from(sorted(lengths)))
            entry = {"id": content, "first": 0, "count": draw(st.integers(1, lengths[content]))}
            task: Line = {"kind": "task", "task": number, "layout": "video", "clips": [entry]}
            if bool(open_tasks) and draw(st.booleans()):
                old = open_tasks.pop(draw(st.integers(0, len(open_tasks) - 1)))
                task["supersedes"] = [old]
                lines.append({"kind": "quarantine", **entry, "recording": NAMES[0], "cause": "it ends us"})
                task["clips"] = draw(st.sampled_from([[], [entry]]))
            open_tasks.append(number)
            lines.append(task)
            number += 1
        if draw(st.booleans()):
            lines.append({"kind": "note", "recording": "notes.txt", "id": "", "cause": "no recording"})
        plan.add(lines)
    return plan


@settings(max_examples=60)
@given(plans(), st.sets(st.integers(0, 12)), st.integers(1, 4))
def test_it_is_what_it_is_in_memory(plan: Parts, done: set[int], of: int) -> None:
    """Every answer equals that of the twin, which keeps all lines in dictionaries."""
    state, twin = PlanState(plan), PlanInMemory(plan.lines(), CLIP_NS)
    state.mark_done(done)
    assert [state.id_of(name) for name in NAMES] == [twin.ids.get(name, "") for name in NAMES]
    for content in IDS:
        assert state.recording(content) == twin.recordings.get(content)
        assert state.names_of(content) == sorted(n for n, c in twin.ids.items() if c == content)
        if content in twin.recordings:
            assert state.info(content) == twin.infos[content]
    assert list(state.tasks()) == [twin.tasks[number] for number in sorted(twin.tasks)]
    assert [state.has_task(n) for n in range(12)] == [n in twin.tasks for n in range(12)]
    assert {n: state.part_of(n) for n in twin.tasks} == {n: twin.parts[n] for n in twin.tasks}
    assert state.next_task == max(twin.all_tasks, default=-1) + 1
    assert (state.quarantined, state.told) == (twin.quarantined, twin.told)
    for i in range(of):
        share = twin.share(i, of)
        finished = [number for number in share if number in done]
        assert list(state.pending((i, of))) == [n for n in share if n not in done]
        assert state.figures((i, of)) == {
            "tasks": len(share), "done": len(finished),
            "length_ns": twin.length_ns(share), "done_ns": twin.length_ns(finished),
        }  # fmt: skip


@settings(max_examples=25)
@given(plans(), st.integers(0, 4))
def test_catching_up_is_reading_it_all(plan: Parts, known: int) -> None:
    """A state that reads later parts later says the same as one that reads all at once."""
    grown = Parts()
    grown.parts = plan.parts[:known]
    state = PlanState(grown)
    grown.parts = plan.parts
    state.catch_up()
    whole = PlanState(plan)
    assert list(state.tasks()) == list(whole.tasks())
    assert [state.recording(content) for content in IDS] == [whole.recording(content) for content in IDS]
    assert state.figures() == whole.figures()


def test_a_recording_is_known_before_it_is_written() -> None:
    """While planning, what was just planned is there without a place; its info comes with the plan."""
    plan = Parts()
    state = PlanState(plan)
    line = recording("a.mp4", IDS[1], 2)
    state.learn(line)
    assert state.id_of("a.mp4") == IDS[1]
    with pytest.raises(IngestError, match="does not say what was found"):
        state.info(IDS[1])
    plan.add([line])
    state.catch_up()
    assert state.info(IDS[1]) == {"seen as": "a.mp4"}


def test_a_task_of_nothing_that_is_listed_is_damage() -> None:
    """A plan whose task names an unlisted recording is not read in silence."""
    plan = Parts()
    clips = [{"id": IDS[2], "first": 0, "count": 1}]
    plan.add([{"kind": "task", "task": 0, "layout": "video", "clips": clips}])
    with pytest.raises(IngestError, match="does not list"):
        PlanState(plan)
    mistyped = Parts()
    mistyped.add([{"kind": "task", "task": 0, "layout": "video", "clips": None}])
    with pytest.raises(IngestError, match="plan part 0: a line lacks or mistypes something"):
        PlanState(mistyped)


def test_lines_are_found_by_their_place(tmp_path: Path) -> None:
    """A folder's plan gives each line again from where it said that it is."""
    folder = DatasetFolder(tmp_path)
    folder.create()
    for part in range(2):
        head = {"kind": "part", "part": part, "format": 1, "fifth": "0.1.0", "configuration": {}}
        head["configuration_digest"] = ""
        folder.write_plan_part([head, {"kind": "note", "cause": "ä" * part, "recording": "é", "id": ""}])
    placed = list(folder.placed_plan_lines())
    assert [folder.plan_line(place) for place, _ in placed] == list(folder.read_plan())
    assert [place[0] for place, _ in placed] == [0, 0, 1, 1]
    assert list(folder.placed_plan_lines(1)) == placed[2:]


def test_what_is_kept_on_disk_comes_back() -> None:
    """A spool gives its lines in order, as often as it is asked; a set knows what is new."""
    spool, names = Spool(), Names()
    for number in range(3):
        spool.append({"n": number})
        assert [line["n"] for line in spool] == list(range(number + 1))
    assert [names.add(name) for name in ("a", "b", "a")] == [True, True, False]
