"""Plan and records joined: what later lines change, and what each recording came to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_dataset import (
    CLIP_NS,
    EVERYTHING,
    VIDEO,
    Task,
    content_id,
    failure,
    recording_line,
    run_task,
    write_part,
)

from shards import DamagedDataset, DatasetFolder, dataset_info, open_dataset, verify_dataset
from shards.ledger import _SCHEMA, Ledger

Json = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    made = DatasetFolder(tmp_path / "dataset")
    made.create()
    return made


def run(folder: DatasetFolder, tasks: dict[int, Task], more: list[Json] | None = None) -> Json:
    """Plan and run tasks, finish, and return the dataset's info."""
    part = write_part(folder, tasks, more)
    for number, task in tasks.items():
        run_task(folder, number, task, part)
    folder.finish()
    assert verify_dataset(folder.path) == []
    info = dataset_info(folder.path)
    assert info["finished"]
    return info


def statuses(info: Json) -> dict[str, str]:
    return {line["recording"]: line["status"] for line in info["per_recording"]}


def test_every_status_has_its_rule(finished: Path) -> None:
    """ok; partial: samples and a failure; failed: planned so, or no samples and a failure; and the rest."""
    info = dataset_info(finished)
    assert statuses(info) == {
        "a/drive.mp4": "ok",
        "b.bag": "partial",
        "c.mkv": "ok",  # a note is no failure
        "gone.mkv": "failed",
        "broken.mp4": "failed",
        "copy.mp4": "duplicate",
        "silence.wav": "empty",
    }
    assert info["counts"]["recordings"] == {"ok": 2, "partial": 1, "failed": 2, "duplicate": 1, "empty": 1}


def test_sums_are_over_samples_and_tasks(finished: Path) -> None:
    """Samples, time, tokens and the records' counts add up, in the whole and per recording."""
    info = dataset_info(finished)
    assert (info["recordings"], info["samples"], info["seconds"]) == (7, 18, 18.0)
    assert info["bytes"] == sum(shard["bytes"] for shard in info["shards"])
    samples = list(open_dataset(finished).samples())
    assert info["tokens"]["video"] == sum(sample.tokens["video"] for sample in samples)
    assert info["counts"]["clips_without_content"] == 4
    assert info["counts"]["saturated"] == {"joints": 8}
    lines = {line["recording"]: line for line in info["per_recording"]}
    assert lines["b.bag"]["samples"] == 9
    assert lines["b.bag"]["seconds_ns"] == 9 * CLIP_NS
    assert lines["b.bag"]["shards"] == ["video-audio-000000", "video-audio-000001"]
    assert lines["copy.mp4"]["samples"] == 0
    assert lines["copy.mp4"]["duplicate_of"] == "a/drive.mp4"


def test_failures_and_notes_keep_their_place(finished: Path) -> None:
    """The plan's first, then the records' in the order of the tasks; notes apart from failures."""
    info = dataset_info(finished)
    assert [line["recording"] for line in info["failures"]] == ["broken.mp4", "b.bag", "gone.mkv"]
    assert [line["recording"] for line in info["notes"]] == ["c.mkv"]
    assert info["failures"][1] == failure("b.bag")
    assert info["counts"]["failures"]["no frame decodes"] == 1
    assert info["passed_over"] == {"not a recording": 3}


def test_a_recording_that_comes_to_nothing_is_empty(folder: DatasetFolder) -> None:
    """Planned, no samples and no failure: nothing in it had content."""
    assert statuses(run(folder, {0: Task(VIDEO, {"black.mp4": range(0)})})) == {"black.mp4": "empty"}


def test_new_recordings_append(folder: DatasetFolder) -> None:
    """A second planning adds tasks and layouts; what was there is still there, and counted once."""
    run(folder, {0: Task(VIDEO, {"a.mp4": range(2)})}, [passed_over(3)])
    before = (folder.shards_folder / "video-000000.tar").read_bytes()
    info = run(
        folder,
        {1: Task(EVERYTHING, {"b.mp4": range(3)}), 2: Task(VIDEO, {"c.mp4": range(1)})},
        [passed_over(4)],
    )
    assert (info["samples"], info["recordings"]) == (6, 3)
    assert [layout["name"] for layout in info["layouts"]] == ["video", "video-audio"]
    assert info["passed_over"] == {"not a recording": 4}  # the same folder, walked again
    assert (folder.shards_folder / "video-000000.tar").read_bytes() == before


def passed_over(count: int) -> Json:
    return {"kind": "passed_over", "reason": "not a recording", "count": count}


def test_a_retry_takes_the_place_of_the_failure(folder: DatasetFolder) -> None:
    """What failed when it was planned first, and works now, is ok; the old failure is not told any more."""
    lines = [recording_line("a.mp4", status="failed"), {"kind": "failure"} | failure("a.mp4")]
    assert statuses(run(folder, {}, lines)) == {"a.mp4": "failed"}
    info = run(folder, {0: Task(VIDEO, {"a.mp4": range(3)})})
    assert statuses(info) == {"a.mp4": "ok"}
    assert info["failures"] == []
    assert info["recordings"] == 1


def test_a_recording_that_could_not_even_be_read_may_come_back(folder: DatasetFolder) -> None:
    """Without an id at first (not readable), with one later: still one recording."""
    lines = [recording_line("a.mp4", status="failed", id=""), {"kind": "failure"} | failure("a.mp4", id="")]
    assert statuses(run(folder, {}, lines)) == {"a.mp4": "failed"}
    info = run(folder, {0: Task(VIDEO, {"a.mp4": range(3)})})
    assert (statuses(info), info["failures"]) == ({"a.mp4": "ok"}, [])


def test_other_content_under_a_known_name_is_another_recording(folder: DatasetFolder) -> None:
    """Both are there, told apart by their ids; only one that says so replaces the other."""
    run(folder, {0: Task(VIDEO, {"a.mp4": range(2)})})
    line = recording_line("a.mp4", id=content_id("other"), status="empty")
    assert run(folder, {}, [line])["recordings"] == 2


def test_superseded_tasks_do_not_exist(folder: DatasetFolder) -> None:
    """A task that replaces another takes its samples, failures and counts away, and its files."""
    run(folder, {0: Task(VIDEO, {"a.mp4": range(3), "b.mp4": range(2)}, failures=[failure("a.mp4")])})
    replaced = recording_line("a.mp4", id=content_id("a.mp4, new"), status="empty")
    info = run(
        folder,
        {1: Task(VIDEO, {"b.mp4": range(2)}, supersedes=[0])},
        [replaced | {"replaces": [content_id("a.mp4")]}],
    )
    assert info["samples"] == 2
    assert statuses(info) == {"a.mp4": "empty", "b.mp4": "ok"}
    assert info["failures"] == []
    assert info["tasks"] == {"planned": 1, "done": 1, "superseded": 1}
    assert info["counts"]["clips_without_content"] == 1
    assert sorted(path.name for path in folder.shards_folder.glob("*.tar")) == ["video-000001.tar"]
    assert not folder.record_path(0).exists()


def test_a_task_without_its_quarantined_recording(folder: DatasetFolder) -> None:
    """A task that could not be done is replaced by one without the recording that broke it."""
    part = write_part(folder, {0: Task(VIDEO, {"bad.mp4": range(2), "good.mp4": range(2)})})
    assert part == 0
    task = Task(VIDEO, {"good.mp4": range(2)}, supersedes=[0])
    write_part(
        folder, {1: task}, [{"kind": "failure"} | failure("bad.mp4", "its decoder crashed three times")]
    )
    run_task(folder, 1, task, 1)
    folder.finish()
    info = dataset_info(folder.path)
    assert info["finished"]
    assert statuses(info) == {"bad.mp4": "failed", "good.mp4": "ok"}
    assert verify_dataset(folder.path) == []


def test_causes_are_counted_up_to_a_hundred(folder: DatasetFolder) -> None:
    """The most frequent causes by name, the rest together: the manifest stays a page."""
    lines = [recording_line("a.mp4", status="failed")]
    for number in range(130):
        line = {"kind": "failure"} | failure("a.mp4", f"cause {number:03d}")
        lines += [line] * (2 if number >= 120 else 1)
    counted = run(folder, {}, lines)["counts"]["failures"]
    assert len(counted) == 101
    assert (counted["cause 125"], counted["cause 000"], counted["other causes"]) == (2, 1, 30)
    assert sum(counted.values()) == 140


def write_record(**change: Any) -> Callable[[DatasetFolder], object]:
    """Return damage: a record of task 0 with these changes."""
    return lambda folder: folder.write_record(0, record(0) | change)


def write_lines(*lines: Json) -> Callable[[DatasetFolder], object]:
    """Return damage: a second plan part with these lines."""
    return lambda folder: folder.write_plan_part([head(1), *lines])


def lose_a_part(folder: DatasetFolder) -> None:
    folder.write_plan_part([head(1)])
    folder.plan_path(1).rename(folder.plan_path(2))


TASK_0 = {"kind": "task", "task": 0, "layout": "video", "clips": []}
DAMAGE: dict[str, tuple[Callable[[DatasetFolder], object], str]] = {
    "no such task": (lambda f: f.write_record(9, record(9)), "000009.json is of a task that is not in the"),
    "another layout": (write_record(layout="x"), "is of task 0, layout 'x'"),
    "no such field": (
        lambda f: f.write_record(0, {"task": 0, "layout": "video"}),
        "part is missing",
    ),
    "another shard": (lambda f: f.write_record(0, record(0, name="video-000001")), "shard 'video-000001'"),
    "another count": (lambda f: f.write_record(0, record(0, samples=4)), "counts 2 samples"),
    "another type": (write_record(recordings=5), "recordings must be a list, not 5"),
    "unknown kind": (write_lines({"kind": "x"}), "unknown kind 'x'"),
    "a part missing": (lose_a_part, "plan/000001.jsonl: is missing"),
    "a layout twice": (
        write_lines({"kind": "layout", "layout": VIDEO | {"tracks": []}}),
        "layout 'video' is planned twice, and differently",
    ),
    "half a task": (write_lines({"kind": "task"}), "of kind 'task': task is missing"),
    "a task twice": (write_lines(TASK_0), "lacks or mistypes UNIQUE"),
}


def head(part: int) -> Json:
    line: Json = {"kind": "part", "part": part, "format": 1, "fifth": "0.1.0", "configuration": {}}
    return line | {"configuration_digest": ""}


def record(task: int, **shard: Any) -> Json:
    figures = {"name": f"video-{task:06d}", "samples": 2, "bytes": 1, "seconds_ns": 1, "tokens": {"video": 1}}
    figures |= dict.fromkeys(("sha256", "idx_sha256", "samples_sha256", "first_key", "last_key"), "")
    figures |= {"samples_bytes": 1, "provenance": {}} | shard
    result = {"id": content_id("a.mp4"), "clips": 2, "samples": 2, "seconds_ns": 2 * CLIP_NS}
    value: Json = {"task": task, "layout": "video", "part": 0, "shard": figures, "recordings": [result]}
    return value | {"failures": [], "notes": [], "counts": {}}


@pytest.mark.parametrize("case", DAMAGE)
def test_plan_and_records_that_do_not_fit_are_named(folder: DatasetFolder, case: str) -> None:
    """The file, and what is wrong with it; and no manifest is made of it."""
    damage, message = DAMAGE[case]
    write_part(folder, {0: Task(VIDEO, {"a.mp4": range(2)})})
    damage(folder)
    with pytest.raises(DamagedDataset, match=message):
        folder.finish()
    assert not (folder.path / "fifth.json").exists()


def test_provenance_has_one_type_per_layout(folder: DatasetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards of a layout whose json differs in keys can't be one table for their readers."""
    tasks = {0: Task(VIDEO, {"a.mp4": range(2)}), 1: Task(VIDEO, {"b.mp4": range(2)})}
    write_part(folder, tasks)
    for number, task in tasks.items():
        run_task(folder, number, task)
    changed = folder.read_record(1)
    changed["shard"]["provenance"] = {"other": "string"}
    folder.write_record(1, changed)
    with pytest.raises(DamagedDataset, match="other keys or types in their json"):
        folder.finish()


def test_a_full_disk_of_temporary_files_is_no_damage(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the join needs on the disk may not fit: that is the machine's fault, and said so."""
    schema = f"PRAGMA page_size = 512; {_SCHEMA} PRAGMA max_page_count = 1;"
    monkeypatch.setattr("shards.ledger._SCHEMA", schema)
    with pytest.raises(OSError, match="make room, or name another folder in TMPDIR"):
        Ledger(DatasetFolder(dataset))
