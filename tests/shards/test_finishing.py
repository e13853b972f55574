"""Manifest, tables and card: made from plan and records alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from made_dataset import files_of, write_dataset

from shards import (
    DamagedDataset,
    DatasetFolder,
    NotADataset,
    NotFinished,
    dataset_info,
    open_dataset,
    verify_dataset,
)

Json = dict[str, Any]


def test_the_same_plan_and_records_give_the_same_files(tmp_path: Path, finished: Path) -> None:
    """Wherever and however often it is finished: the same bytes, in every file."""
    again = write_dataset(tmp_path / "another folder")
    assert files_of(again.path) == files_of(finished)
    again.finish()
    assert files_of(again.path) == files_of(finished)


def test_nothing_of_the_machine_is_in_it(finished: Path) -> None:
    """No path, host name or process id stands in any file."""
    words = [str(finished), os.uname().nodename, f'"pid":{os.getpid()}']
    for name, data in files_of(finished).items():
        assert [word for word in words if word.encode() in data] == [], name


def test_the_manifest_knows_its_files(finished: Path) -> None:
    """Hashes of plan, tables and records are those of the files; its own stands beside it."""
    manifest = json.loads((finished / "fifth.json").read_bytes())
    part = (finished / "plan" / "000000.jsonl").read_bytes()
    assert manifest["plan"] == [{"part": 0, "bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()}]
    for name, facts in manifest["tables"].items():
        data = (finished / name).read_bytes()
        assert facts == {
            "lines": data.count(b"\n"), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
    records = sorted((finished / "records").iterdir())
    lines = "".join(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in records)
    assert manifest["records"] == {"count": 4, "sha256": hashlib.sha256(lines.encode()).hexdigest()}
    checked = subprocess.run(
        ["sha256sum", "-c", "fifth.json.sha256"], cwd=finished, capture_output=True, check=False
    )
    assert checked.returncode == 0


def test_the_manifest_has_sorted_keys_and_what_was_planned(finished: Path) -> None:
    """Configuration, layouts with their token specs, totals: on one page, in sorted order."""
    text = (finished / "fifth.json").read_text()
    manifest = json.loads(text)
    assert list(manifest) == sorted(manifest)
    assert manifest["configuration"] == {"clip_seconds": 1, "fps": 8, "video": "blocks"}
    assert manifest["totals"]["samples"] == 18
    assert manifest["tasks"] == {"planned": 4, "done": 4, "superseded": 0}
    video = manifest["layouts"][1]
    assert video["tracks"][0]["spec"]["codebook_sizes"] == [1000]
    assert video["provenance"]["tracks"] == {"video": {"grid_start_ns": "int64", "valid": "int64"}}
    assert max(map(len, text.splitlines())) < 200


def test_what_is_not_a_dataset_is_named(tmp_path: Path) -> None:
    """No folder, another folder, one that is not finished: three different answers."""
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")
    for ask in (open_dataset, dataset_info, verify_dataset):
        with pytest.raises(NotADataset, match="no dataset"):
            ask(tmp_path)
        with pytest.raises(FileNotFoundError, match="no such folder"):
            ask(tmp_path / "nowhere")
    write_dataset(tmp_path / "dataset", finish=False)
    with pytest.raises(NotFinished, match="not finished"):
        open_dataset(tmp_path / "dataset")


def test_a_manifest_of_another_format_is_refused(dataset: Path) -> None:
    """A dataset of a later version is not half understood."""
    text = (dataset / "fifth.json").read_text().replace('"format": 1', '"format": 2')
    (dataset / "fifth.json").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (dataset / "fifth.json.sha256").write_text(f"{digest}  fifth.json\n")
    with pytest.raises(DamagedDataset, match="its format is 2; this version of Fifth reads format 1"):
        open_dataset(dataset)


def test_a_plan_of_another_format_is_refused(dataset: Path) -> None:
    """Nor is a plan of a later version gone on with."""
    folder = DatasetFolder(dataset)
    text = folder.plan_path(0).read_text().replace('"format":1', '"format":2', 1)
    folder.plan_path(0).write_text(text)
    with pytest.raises(DamagedDataset, match="its format is 2"):
        folder.finish()


def test_a_full_disk_leaves_no_finished_dataset(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finishing stops at any file: the dataset says of itself that it is not finished."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shards.finishing.write_whole", full)
        with pytest.raises(OSError, match="No space left"):
            DatasetFolder(dataset).finish()
    assert not [name for name in files_of(dataset) if name.endswith(".partial")]
    with pytest.raises(NotFinished):
        open_dataset(dataset)
    DatasetFolder(dataset).finish()
    assert verify_dataset(dataset) == []


def test_the_card_is_for_people(finished: Path) -> None:
    """Numbers, tracks with their encoders, configuration, losses by cause, and four ways to load it."""
    card = (finished / "README.md").read_text()
    body = card.split("---\n", 2)[2]
    for words in (
        "Recordings: 7. Samples: 18. Shards: 3",
        "| partial | 1 |",
        "| video | pictures | `blocks` r1 | THW | 1,000 | 8/1 | 416 |",
        "| audio | sound | `bands` r? | – | 200, 100 | 16000/1 | 52 |",
        "| `video.tokens.npy` | codes, time first | uint16 [?, 4, 4] |",
        "Columns of `joints`: `position[lift]`, `position[wrist]`, `position[grip]`.",
        '"clip_seconds": 1',
        "| truncated: the last 3 s can't be read | 1 |",
        "| not a recording | 3 |",
    ):
        assert words in body
    assert re.findall(r"^\*\*(.+?)\*\*", body, re.MULTILINE) == [
        "Fifth",
        "webdataset",
        "Hugging Face datasets",
        "Megatron-Energon",
    ]


def test_a_card_of_an_unfinished_dataset_says_so(tmp_path: Path) -> None:
    """Finished by hand while tasks are open (a run that was stopped cleanly): told in words."""
    folder = write_dataset(tmp_path / "dataset", finish=False)
    folder.record_path(1).unlink()
    folder.remove_leftovers()
    folder.finish()
    assert "**Not finished**: 3 of 4 tasks are done." in (folder.path / "README.md").read_text()
    assert not dataset_info(folder.path)["finished"]
    assert verify_dataset(folder.path) == []
    assert len(list(open_dataset(folder.path).samples())) == 11
