"""A recording that somebody writes to while it is read makes no samples, least of all mixed ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from made_runs import hashes
from made_sound import tone, write_sound
from test_pipeline import Heard, statuses

from ingest.clips import read_clips
from ingest.configuration import Settings
from ingest.content_id import content_id
from ingest.errors import IngestError, RecordingChanged, RecordingTouched
from ingest.opening import open_recording
from ingest.pipeline import Choice, Run, shard_recordings
from ingest.unchanged import Content
from shards import DatasetFolder, dataset_info, verify_dataset

SETTINGS = Settings(clip_seconds=Fraction(1), fps=Fraction(4), size=64, device="cpu", shard_seconds=2)


def overwrite(path: Path) -> None:
    """Other content of the same size, as a recorder that writes in place."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"other bytes, in the middle")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(2000))


def put_another(path: Path) -> None:
    """As rsync does: another file takes its place."""
    write_sound(path.with_name("new.wav"), tone(300, 3)).replace(path)


def age(path: Path) -> None:
    """Let a file be an hour old, as recordings mostly are: its times tell of every later write."""
    hour_ago = path.stat().st_mtime - 3600
    os.utime(path, (hour_ago, hour_ago))


CHANGES: dict[str, Callable[[Path], object]] = {
    "overwritten": overwrite, "cut short": truncate, "grown": append, "another": put_another,
}  # fmt: skip


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two recordings, of one task each."""
    return make_sounds(tmp_path / "in")


def make_sounds(folder: Path) -> Path:
    folder.mkdir()
    for name, hertz in (("a.wav", 200), ("b.wav", 400)):
        write_sound(folder / name, tone(hertz, 2))
        age(folder / name)
    return folder


def run(folder: Path, out: Path, heard: Heard | None = None, **choice: Any) -> Run:
    return shard_recordings([folder], out, SETTINGS, workers=0, listener=heard, choice=Choice(**choice))


def while_read(monkeypatch: pytest.MonkeyPatch, path: Path, change: Callable[[Path], object]) -> None:
    """Change a file when the first clip of it has been read, once."""
    opened: list[Path] = []
    to_do = [change]

    def opening(paths: Sequence[Path], **rest: Any) -> Any:
        opened[:] = paths
        return open_recording(paths, **rest)

    def reading(*arguments: Any) -> Iterator[Any]:
        for number, clip in enumerate(read_clips(*arguments)):
            yield clip
            if number == 0 and to_do and opened == [path]:
                to_do.pop()(path)

    monkeypatch.setattr("ingest.task.open_recording", opening)
    monkeypatch.setattr("ingest.task.read_clips", reading)


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The sha256 of the shards of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_sounds(folder / "in")
    run(folder / "in", folder / "out")
    return shards_of(folder / "out")


def shards_of(out: Path) -> set[str]:
    return {sha256 for name, sha256 in hashes(out).items() if name.endswith(".tar")}


@pytest.mark.parametrize("how", CHANGES)
def test_a_recording_that_changes_while_it_is_read(
    sounds: Path, tmp_path: Path, tars: set[str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nothing of it is kept, whatever decoded; it is set apart, and everything else is made. With its old
    content back, it is made as if nobody had disturbed it.
    """
    kept = tmp_path / "kept.wav"
    shutil.copy2(sounds / "b.wav", kept)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        while_read(patch, sounds / "b.wav", CHANGES[how])
        assert run(sounds, out).unfinished == []
    (failure,) = dataset_info(out)["failures"]
    assert (failure["recording"], failure["stop_ns"] - failure["start_ns"]) == ("b.wav", 2 * 10**9)
    assert "it has changed since it was planned" in failure["cause"]
    assert statuses(out) == {"a.wav": "ok", "b.wav": "failed"}
    assert shards_of(out) < tars
    assert verify_dataset(out) == []
    shutil.copy2(kept, sounds / "b.wav")
    assert run(sounds, out, retry_failed=True).unfinished == []
    assert (shards_of(out), dataset_info(out)["failures"]) == (tars, [])


def test_the_next_run_takes_the_new_content(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a recording holds after it changed is a new recording; with --replace the old one is forgotten."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        while_read(patch, sounds / "b.wav", put_another)
        run(sounds, out)
    assert run(sounds, out, replace=True).recordings_new == 1
    info = dataset_info(out)
    assert {entry["recording"]: entry["seconds"] for entry in info["per_recording"]} == {
        "a.wav": 2,
        "b.wav": 3,
    }
    assert info["failures"] == []
    assert verify_dataset(out) == []


def test_a_recording_that_goes_while_it_is_read(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named as gone, its task is open, and the rest is made."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        while_read(patch, sounds / "b.wav", Path.unlink)
        (cause,) = run(sounds, out).unfinished
    assert "b.wav is gone; it was there when it was planned" in cause
    assert statuses(out) == {"a.wav": "ok", "b.wav": "pending"}
    assert DatasetFolder(out).tasks_done() == {0}


def test_a_recording_that_is_only_touched_is_read_again(
    sounds: Path, tmp_path: Path, tars: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """New times, or another link to it, and the same content: the task is done at its second try."""
    heard = Heard()
    while_read(monkeypatch, sounds / "b.wav", Path.touch)
    assert run(sounds, tmp_path / "out", heard).unfinished == []
    assert any("was touched while it was read" in line and "tried again" in line for line in heard.lines)
    assert shards_of(tmp_path / "out") == tars


def test_a_recording_that_changes_while_it_is_examined(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not planned by what was seen of either content; the next run looks again."""
    to_do = [overwrite]

    def opening(paths: Sequence[Path], **rest: Any) -> Any:
        if paths[0].name == "b.wav" and to_do:
            to_do.pop()(paths[0])
        return open_recording(paths, **rest)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("ingest.examining.open_recording", opening)
        (cause,) = run(sounds, out).unfinished
    assert cause.startswith("b.wav: b.wav changed while it was read")
    assert statuses(out) == {"a.wav": "ok"}
    assert run(sounds, out).unfinished == []
    assert statuses(out) == {"a.wav": "ok", "b.wav": "ok"}


def test_a_write_that_leaves_no_trace_in_the_times_is_found(tmp_path: Path) -> None:
    """A file that was written to just before is looked into again, as its times may be the same."""
    path = tmp_path / "a"
    path.write_bytes(b"one")
    content = Content("a", content_id([path]), (path,))
    reading = content.check()
    times = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(RecordingChanged, match="a changed while it was read"):
        reading.check()
    with pytest.raises(RecordingChanged, match="a has changed since it was planned"):
        content.check()
    path.write_bytes(b"one")
    with pytest.raises(RecordingTouched, match="is what it was again"):
        reading.check()
    content.check().check()
    path.unlink()
    with pytest.raises(IngestError, match="a is gone"):
        content.check()
