"""The folder of a dataset: made, locked, planned, recorded, cleaned up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_dataset import files_of

from shards import (
    CannotCreate,
    DamagedDataset,
    DatasetFolder,
    DatasetLocked,
    NotADataset,
    WrongPlan,
    shard_name,
    verify_dataset,
)

Json = dict[str, Any]
HEAD: Json = {"kind": "part", "part": 0, "format": 1, "fifth": "0.1.0", "configuration": {}}
HEAD |= {"configuration_digest": "0" * 64}


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    made = DatasetFolder(tmp_path / "dataset")
    made.create()
    return made


def test_a_new_folder_is_a_dataset_once_it_is_planned(folder: DatasetFolder) -> None:
    """Made, it is empty; with the first plan part it is a dataset; making it again changes nothing."""
    assert not folder.is_dataset()
    folder.write_plan_part([HEAD])
    assert folder.is_dataset()
    before = files_of(folder.path)
    folder.create()
    assert files_of(folder.path) == before


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    """Nothing is written beside somebody's files, and the message names some of them."""
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(CannotCreate, match=r"not empty, and no dataset \(it holds holiday.jpg\)"):
        DatasetFolder(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    """As does one where a run was killed before it had planned."""
    DatasetFolder(tmp_path).create()
    (tmp_path / "plan" / "000000.jsonl.0123abcd.partial").write_bytes(b"{")
    DatasetFolder(tmp_path).create()
    assert DatasetFolder(tmp_path).remove_leftovers() == ["plan/000000.jsonl.0123abcd.partial"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A dataset can't be made where a file is."""
    (tmp_path / "dataset").write_bytes(b"x")
    with pytest.raises(CannotCreate, match=r"dataset: .*choose another folder"):
        DatasetFolder(tmp_path / "dataset").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    """The message says so, before anything is planned."""
    tmp_path.chmod(0o500)
    with pytest.raises(CannotCreate, match="choose another folder"):
        DatasetFolder(tmp_path / "dataset").create()


def test_a_read_only_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason stands in the message."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CannotCreate, match="Read-only file system; choose another folder"):
        DatasetFolder(tmp_path / "dataset").create()


def test_plan_parts_are_numbered_and_read_in_order(folder: DatasetFolder) -> None:
    """Each part is appended; reading gives all their lines."""
    assert folder.next_part() == 0
    assert folder.write_plan_part([HEAD, {"kind": "passed_over", "reason": "é", "count": 1}]) == 0
    assert folder.write_plan_part(iter([HEAD | {"part": 1}])) == 1
    assert folder.plan_parts() == [0, 1]
    assert [line["kind"] for line in folder.read_plan()] == ["part", "passed_over", "part"]
    assert folder.plan_path(0).read_text().splitlines()[1] == '{"count":1,"kind":"passed_over","reason":"é"}'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has no lines"),
        ([{"kind": "task"}], "begins with kind 'part', part 0, format 1"),
        ([HEAD | {"part": 1}], "begins with"),
        ([HEAD | {"format": 2}], "begins with"),
        ([HEAD, {"kind": "note", "cause": float("nan")}], "cannot be written as JSON"),
        ([HEAD, {"kind": "recording", "recording": os.fsdecode(b"\xff")}], "cannot be written as JSON"),
    ],
)
def test_a_plan_part_is_written_whole_or_not(folder: DatasetFolder, lines: list[Json], message: str) -> None:
    """What can't be a plan part leaves no file."""
    with pytest.raises(WrongPlan, match=message):
        folder.write_plan_part(lines)
    assert list((folder.path / "plan").iterdir()) == []


def test_a_damaged_plan_is_named(folder: DatasetFolder) -> None:
    """File and line stand in the message."""
    folder.write_plan_part([HEAD])
    folder.plan_path(0).write_bytes(folder.plan_path(0).read_bytes() + b'{"kind"\n')
    with pytest.raises(DamagedDataset, match=r"000000.jsonl: line 2 is not JSON"):
        list(folder.read_plan())


def test_records_say_what_is_done(folder: DatasetFolder) -> None:
    """A record is written under its task's number and read back as it was."""
    assert folder.tasks_done() == set()
    record: dict[str, object] = {"task": 12, "part": 0, "layout": "ü", "counts": {}}
    record |= {"recordings": [], "failures": [], "notes": []}
    folder.write_record(12, record)
    assert folder.tasks_done() == {12}
    assert folder.read_record(12) == record
    text = '{"counts":{},"failures":[],"layout":"ü","notes":[],"part":0,"recordings":[],"task":12}\n'
    assert (folder.path / "records" / "000012.json").read_bytes() == text.encode()
    with pytest.raises(WrongPlan, match="task 3 says that it is of task 12"):
        folder.write_record(3, {"task": 12})
    with pytest.raises(FileNotFoundError):
        folder.read_record(3)


def test_a_damaged_record_is_named(folder: DatasetFolder) -> None:
    """Half a record is told by its path."""
    (folder.path / "records" / "000001.json").write_bytes(b'{"task":')
    with pytest.raises(DamagedDataset, match=r"records/000001.json: not JSON"):
        folder.read_record(1)


def test_events_are_lines(folder: DatasetFolder) -> None:
    """Each event is a line of `run.jsonl`, also behind a line that a kill cut off."""
    folder.append_event({"event": "start", "pid": 1})
    with (folder.path / "run.jsonl").open("ab") as file:
        file.write(b'{"event":"st')
    folder.append_event({"event": "stop"})
    lines = (folder.path / "run.jsonl").read_text().splitlines()
    assert lines == ['{"event":"start","pid":1}', '{"event":"st', '{"event":"stop"}']


HOLD = """
import sys, time
from shards import DatasetFolder
with DatasetFolder(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_until_the_first_is_dead(folder: DatasetFolder) -> None:
    """The message names the process that holds the dataset; a killed one holds nothing."""
    command = [sys.executable, "-c", HOLD, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(DatasetLocked, match=rf"process {holder.pid} on .*wait until it ends"),
            folder.lock(),
        ):
            pytest.fail("two runs hold one dataset")
        holder.kill()
    with folder.lock():
        pass


def test_the_lock_is_given_back(folder: DatasetFolder) -> None:
    """After a run, also one that failed, the next may begin; nothing of the first stays in the file."""
    with pytest.raises(RuntimeError), folder.lock():
        raise RuntimeError
    with folder.lock(), pytest.raises(DatasetLocked), folder.lock():
        pass
    assert (folder.path / ".lock").read_bytes() == b""


def test_leftovers_are_removed_and_said(dataset: Path) -> None:
    """Temporary files, and shards that no record names; what is somebody else's stays."""
    folder = DatasetFolder(dataset)
    whole = files_of(dataset)
    left = [
        "fifth.json.00000000.partial",
        "plan/000001.jsonl.0123abcd.partial",
        "records/000009.json.0123abcd.partial",
        "shards/video-000002.tar.ffffffff.partial",
        "shards/video-000009.samples.npy",
        "shards/video-000009.tar",
        "shards/video-000009.tar.idx",
        "shards/video-audio-000002.tar",
        "tables/shards.jsonl.0123abcd.partial",
        ".nv-meta/.info.json.0123abcd.partial",
    ]
    for name in [*left, "notes.txt", "shards/mine.partial"]:
        (dataset / name).write_bytes(b"half")
    assert folder.remove_leftovers() == sorted(left)
    assert files_of(dataset) == whole | {"notes.txt": b"half", "shards/mine.partial": b"half"}
    assert folder.remove_leftovers() == []


def test_leftovers_are_only_looked_for_in_datasets(tmp_path: Path) -> None:
    """In a folder without a plan no shard is removed: it may be anybody's."""
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "video-000000.tar").write_bytes(b"mine")
    assert DatasetFolder(tmp_path).remove_leftovers() == []
    assert (tmp_path / "shards" / "video-000000.tar").exists()


def test_finishing_needs_a_dataset(tmp_path: Path) -> None:
    """An empty folder can't be finished."""
    with pytest.raises(NotADataset, match=r"neither fifth.json nor a plan"):
        DatasetFolder(tmp_path).finish()
    with pytest.raises(FileNotFoundError, match="no such folder"):
        DatasetFolder(tmp_path / "nowhere").finish()


def test_shard_names_hold_the_task() -> None:
    """Six digits, more where they are needed."""
    assert shard_name("video-audio", 7) == "video-audio-000007"
    assert shard_name("video", 1234567) == "video-1234567"


def test_a_dataset_of_no_samples_is_one(folder: DatasetFolder) -> None:
    """Where nothing could be read, the dataset still says so, and is whole."""
    folder.write_plan_part([HEAD, {"kind": "passed_over", "reason": "not a recording", "count": 2}])
    manifest = folder.finish()
    assert manifest["totals"] == {
        "recordings": 0, "samples": 0, "seconds_ns": 0, "bytes": 0, "shards": 0, "tokens": {},
    }  # fmt: skip
    assert verify_dataset(folder.path) == []
    assert json.loads((folder.path / ".nv-meta" / ".info.json").read_text())["shard_counts"] == {}
