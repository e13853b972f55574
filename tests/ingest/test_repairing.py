"""`fifth repair`: shards are made again from the recordings, with the bytes that were there."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from made_damage import text_named_mp4
from made_runs import hashes

from ingest.adding import Addition, add_encoder
from ingest.cli import main
from ingest.configuration import Settings
from ingest.pipeline import shard_recordings
from ingest.repairing import repair
from shards import Reshaping, reshard, verify_dataset

SETTINGS = Settings(clip_seconds=Fraction(1), fps=Fraction(4), size=64, device="cpu", shard_seconds=2)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory, card_mp4: Path, tone_wav: Path) -> Path:
    """Recordings in `in`, and a dataset of them, with an addition, in `out`."""
    folder = tmp_path_factory.mktemp("repairing")
    (folder / "in").mkdir()
    shutil.copy(card_mp4, folder / "in" / "a.mp4")
    shutil.copy(tone_wav, folder / "in" / "b.wav")
    text_named_mp4(folder / "in" / "lie.mp4")
    shard_recordings([folder / "in"], folder / "out", SETTINGS, workers=0)
    addition = Addition("pictures", "jpeg@quality=40")
    add_encoder([folder / "in"], folder / "out", addition, workers=0, device="cpu")
    return folder


@pytest.fixture
def folder(made_once: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    shutil.copytree(made_once, tmp_path / "copy")
    return tmp_path / "copy"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def data_of(tar: Path) -> int:
    """A byte of the first sample's tokens, which nothing but the recording gives."""
    row = np.load(tar.with_suffix(".samples.npy"))[0]
    (offset,) = (name for name in row.dtype.names if name.endswith(".tokens.npy:offset"))
    return int(row[offset]) + int(row[offset.replace(":offset", ":size")]) - 1


def test_the_command_mends_shards_and_what_was_added(folder: Path) -> None:
    """Damage in a shard, a record, and an addition's shard: all comes back; the rest is not touched.

    Recordings are found by their content: here, in another folder and under other names.
    """
    out = folder / "out"
    before = hashes(out)
    video = next((out / "shards").glob("video-*.tar"))
    added = next((out / "added" / "jpeg" / "shards").glob("*.tar"))
    untouched = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
    for path in (video, added):
        flip(path, data_of(path))
        del untouched[path]
    (folder / "in" / "a.mp4").rename(folder / "in" / "renamed.mp4")
    runner = CliRunner()

    dry = runner.invoke(main, ["repair", str(out), "--dry-run"])
    assert dry.exit_code == 1
    assert "give the folder that holds a.mp4" in dry.output
    done = runner.invoke(main, ["repair", str(out), str(folder / "in"), "--workers", "0", "--quiet"])
    assert done.exit_code == 0, done.output
    assert f"shards/{video.name}: made again by running task" in done.output
    assert f"added/jpeg/shards/{added.name}: made again by running task" in done.output
    assert hashes(out) == before
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert verify_dataset(out) == []
    again = runner.invoke(main, ["repair", str(out)])
    assert (again.exit_code, again.output) == (0, f"{out}: nothing is damaged\n")


def test_a_plan_part_is_planned_again(folder: Path) -> None:
    """Where the inputs are those of the time, planning gives the same bytes; else the part is left."""
    out = folder / "out"
    plan = out / "plan" / "000000.jsonl"
    before = hashes(out)
    plan.write_bytes(plan.read_bytes()[:-100])
    shutil.copy(folder / "in" / "a.mp4", folder / "in" / "z.mp4")
    left = repair(out, [folder / "in"], workers=0).left
    assert [entry.file for entry in left] == ["plan/000000.jsonl"]
    (folder / "in" / "z.mp4").unlink()
    done = repair(out, [folder / "in"], workers=0)
    assert [str(entry) for entry in done.mended] == ["plan/000000.jsonl: planned again"]
    assert done.left == []
    assert hashes(out) == before


def test_other_versions_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a task gives other bytes, nothing is replaced, and the reason is what differs here."""
    out = folder / "out"
    video = next((out / "shards").glob("video-*.tar"))
    flip(video, data_of(video))
    damaged = video.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("ingest.task.seen_as", lambda track: {"decoder": "another"})
        patch.setattr("ingest.plan_head._version", lambda name: "9.9")
        done = repair(out, [folder / "in"], workers=0)
    (left,) = done.left
    assert left.file == f"shards/{video.name}"
    assert "made again it has other bytes" in left.why
    assert ", 9.9 here" in left.why
    assert video.read_bytes() == damaged
    assert not (out / ".repair").exists()


def test_a_resharded_dataset_says_what_makes_it(folder: Path, tmp_path: Path) -> None:
    """Its tasks are not made of recordings."""
    reshard([str(folder / "out")], tmp_path / "anew", Reshaping(shuffle=True), lambda line: None)
    tar = next((tmp_path / "anew" / "shards").glob("video*.tar"))
    flip(tar, data_of(tar))
    (left,) = repair(tmp_path / "anew", [folder / "in"], workers=0).left
    assert "run again the command that made it" in left.why
    (tmp_path / "anew" / "fifth.json").unlink()
    assert [entry.file for entry in repair(tmp_path / "anew").mended] == ["fifth.json"]
