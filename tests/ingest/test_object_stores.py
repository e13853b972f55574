"""Recordings and datasets on object stores: what comes from there, and goes there, is what it is here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback
from made_bags import Ramp, write_ramp_bag
from made_video import Pictures, write_video

from ingest import open_recording, remote_files
from ingest.content_id import content_id
from ingest.discovery import Walk, find_recordings
from ingest.errors import WrongUse
from ingest.examining import examination_of, examine
from ingest.pipeline import Listener, shard_recordings
from ingest.remote_files import ChangedMeanwhile, RemoteFile, asked_again, place_of, unharmed
from shards import CannotFetch, RemoteOptions, dataset_info, verify_dataset
from shards.remote.store import Store

pytest.importorskip("s3fs")
pytestmark = pytest.mark.timeout(180)

BAG = "ramp_folder/ramp_folder.db3"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loopback, dict[str, Store]]]:
    """A server, and this process's ways to it: a client takes longer to make than to use."""
    with Loopback(tmp_path_factory.mktemp("bucket")) as server:
        quick = RemoteOptions(first_pause_s=0.001, longest_pause_s=0.002, timeout_s=20.0, tries=4)
        yield server, {root: Store(root, quick) for root in ("s3://bucket", server.http)}


@pytest.fixture
def bucket(
    served: tuple[Loopback, dict[str, Store]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loopback]:
    """An empty bucket that is found by way of the environment, in this process and in others."""
    server, stores = served
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.http)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for root, store in stores.items():
        cache = replace(store.options, cache_folder=tmp_path / "cache")
        monkeypatch.setitem(remote_files._stores, root, store)
        monkeypatch.setattr(store, "options", cache)
    yield server
    shutil.rmtree(server.folder)
    server.folder.mkdir()
    server.forget()


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording of each kind that is read in its own way."""
    folder = tmp_path_factory.mktemp("several")
    for name in ("camera", "camera-2"):
        (folder / name).mkdir()
    write_video(folder / "card.mp4", Pictures())
    (folder / "card.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nhello\n")
    write_video(folder / "camera" / "card.mkv", Pictures(frames=40))
    write_ramp_bag(Ramp(folder / "camera-2" / "ramp.mcap"), compression="zstd")
    write_ramp_bag(Ramp(folder / "ramp.bag"), compression="lz4")
    write_ramp_bag(Ramp(folder / "ramp_folder"), storage="sqlite3")
    (folder / "notes.txt").write_text("no recording")
    return folder


def examined(path: Path, argument: dict[str, Any]) -> dict[str, Any]:
    return examine({**argument, "paths": [str(path)]}, lambda _: None)


def argument_for(path: Path) -> dict[str, Any]:
    (candidate,) = find_recordings([path], Walk())
    return examination_of(candidate, "", {})


@pytest.mark.parametrize("over", ["s3", "http"])
def test_recordings_are_the_same_from_there(bucket: Loopback, several: Path, over: str) -> None:
    """All that planning learns of files of every kind, and their packets, through faults."""
    shutil.copytree(several, bucket.folder / "in")
    base = "s3://bucket/in" if over == "s3" else f"{bucket.http}/in"
    for name in ("card.mp4", "camera/card.mkv", "camera-2/ramp.mcap", "ramp.bag", BAG):
        local, there = several / name, f"{base}/{name}"
        bucket.faults = {name: ["500", "drop", "truncate", "503", "no-range"]}
        argument = argument_for(local)
        with open_recording(local) as source, open_recording(there) as other:
            assert other.probe() == source.probe()
            tracks = source.probe().tracks
            read = [(p.track, p.time_ns) for p in source.read(tracks, 0, 2**62, lambda _: None)]
            assert [(p.track, p.time_ns) for p in other.read(tracks, 0, 2**62, lambda _: None)] == read
            assert read
        assert examined(place_of(there), argument) == examined(local, argument)
        assert not bucket.faults[name]
    assert asked_again()[0] >= 5


def test_only_what_is_needed_is_fetched(bucket: Loopback) -> None:
    """The content id of a large object takes its 64 blocks."""
    data = os.urandom(1 << 16) * 320  # 20 MiB
    (bucket.folder / "large").write_bytes(data)
    assert content_id([place_of("s3://bucket/large")]) == content_id([bucket.folder / "large"])
    assert bucket.bytes_given["large"] == 64 * 65536


def test_folders_are_walked_as_here(bucket: Loopback, several: Path) -> None:
    """The same recordings in the same order under the same names, whatever order the store lists them in."""
    folder = bucket.folder / "in"
    shutil.copytree(several, folder)
    write_video(folder / "odd name #1 ?.mp4", Pictures(frames=2))
    (folder / "a").mkdir()
    for name in ("part_0.mcap", "part_1.mcap", "part_3.mcap"):
        shutil.copy(folder / "camera-2" / "ramp.mcap", folder / "a" / name)
    for name in (".hidden.mp4", "a.b.srt", "a.b.mp4", "a.b.mkv", "lone.srt"):
        shutil.copy(folder / ("card.srt" if name.endswith("srt") else "card.mp4"), folder / "a" / name)
    shutil.copytree(folder / "camera", folder / "made" / "video")
    (folder / "made" / "fifth.json").write_text("{}")
    bucket.page = 3
    bucket.faults = {"LIST in/": ["503", "drop"]}
    for inputs in (["in"], ["in/camera-2", "in/camera"], ["in/card.mp4"]):
        walks = [Walk(), Walk()]
        here = list(find_recordings([bucket.folder / name for name in inputs], walks[0]))
        there = list(find_recordings([place_of(f"s3://bucket/{name}") for name in inputs], walks[1]))
        assert [(c.name, c.kind) for c in there] == [(c.name, c.kind) for c in here]
        for ours, theirs in zip(here, there, strict=True):
            of_folder = [path.relative_to(bucket.folder).as_posix() for path in ours.paths]
            assert [str(path) for path in theirs.paths] == [f"s3://bucket/{name}" for name in of_folder]
        if inputs != ["in/card.mp4"]:  # the text beside a single object is not looked for
            texts = [[[path.name for path in c.sidecars] for c in found] for found in (here, there)]
            assert texts[0] == texts[1]
            assert walks[1] == walks[0]
    assert not bucket.faults["LIST in/"]


def test_what_is_not_there_is_told(bucket: Loopback) -> None:
    """An object, a folder, a folder of a web server, an address nobody knows."""
    for given in ("s3://bucket/no.mp4", "s3://bucket/nothing/", f"{bucket.http}/no.mp4"):
        with pytest.raises(FileNotFoundError, match="no such"):
            list(find_recordings([place_of(given)], Walk()))
    with pytest.raises(WrongUse, match="can't be listed"):
        list(find_recordings([place_of(f"{bucket.http}/videos/")], Walk()))
    with pytest.raises(WrongUse, match="recordings are read from s3://"):
        place_of("ftp://old/video.mp4")


@pytest.mark.parametrize(
    ("name", "fault"),
    [("card.mp4", "truncate"), ("camera/card.mkv", "503"), ("ramp.bag", "drop"), (BAG, "503")],
)
def test_a_store_that_fails_is_no_damage(bucket: Loopback, several: Path, name: str, fault: str) -> None:
    """After the last try the work is not done; the recording is not said to be damaged, wherever it broke."""
    shutil.copytree(several, bucket.folder / "in")
    argument = argument_for(several / name)
    there = place_of(f"s3://bucket/in/{name}")
    for before in (0, 1, 2):
        bucket.faults = {name: [""] * before + [fault] * 50}
        with pytest.raises(CannotFetch, match="tried 4 times"):
            examined(there, argument)


def test_what_comes_by_network_is_a_sign_of_life(bucket: Loopback, several: Path) -> None:
    """An engine counts bytes read from files, and would end a worker that reads a slow store for long."""
    shutil.copytree(several, bucket.folder / "in")
    heard: list[dict[str, Any]] = []
    argument = argument_for(several / "card.mp4")
    examine({**argument, "paths": ["s3://bucket/in/card.mp4"]}, heard.append)
    assert heard
    assert heard[0] == {"media_ns": 0, "clips": 0}


def test_an_object_that_changes_while_it_is_read_is_noticed(bucket: Loopback, several: Path) -> None:
    """By its identity, also where every byte that was read fits; and one that disappears."""
    shutil.copytree(several, bucket.folder / "in")
    file = bucket.folder / "in" / "card.mp4"

    def read_while(happens: Callable[[], object]) -> None:
        path = place_of("s3://bucket/in/card.mp4")
        with unharmed([path]):
            content_id([path])
            happens()

    def goes_and_is_missed() -> None:
        file.unlink()
        raise ValueError("which follows from it")

    read_while(lambda: None)
    with pytest.raises(ChangedMeanwhile, match=r"s3://bucket/in/card\.mp4: the object has changed while"):
        read_while(lambda: file.write_bytes(file.read_bytes()))
    with pytest.raises(ChangedMeanwhile, match="has disappeared"):
        read_while(goes_and_is_missed)


def test_what_must_be_whole_lies_in_the_cache(bucket: Loopback, several: Path, tmp_path: Path) -> None:
    """Once for all readers; another object under the same name is another file there."""
    shutil.copytree(several, bucket.folder / "in")
    name = f"in/{BAG}"
    paths = [place_of(f"s3://bucket/{name}") for _ in range(2)]
    assert all(isinstance(path, RemoteFile) for path in paths)
    first, second = (path.local() for path in paths if isinstance(path, RemoteFile))
    assert first == second
    assert first.is_relative_to(tmp_path / "cache")
    assert first.read_bytes() == (bucket.folder / name).read_bytes()
    assert bucket.asked[name] == 1
    (bucket.folder / name).write_bytes(b"other")
    other = place_of(f"s3://bucket/{name}")
    assert isinstance(other, RemoteFile)
    assert other.local().read_bytes() == b"other"


class Said(Listener):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return a dataset's files that must be the same in equal datasets."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "runs")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_a_dataset_from_store_to_store_is_the_same(bucket: Loopback, several: Path, tmp_path: Path) -> None:
    """Byte for byte, through faults of every kind; what fails for good is not done, and then done."""
    taken = shutil.ignore_patterns("ramp.bag", "ramp_folder", "notes.txt")
    shutil.copytree(several, bucket.folder / "in", ignore=taken)
    shard_recordings([bucket.folder / "in"], tmp_path / "local", workers=0)
    said = Said()
    bucket.faults = {
        "card.mp4": ["503", "drop", "truncate"],
        "LIST in/": ["503"],
        "PUT out/plan/000000.jsonl": ["500"],
        "PUT out/records/000001.json": ["drop", "503"],
        "-000001.tar": ["503", "drop"],
        "PUT out/fifth.json": ["500"],
    }
    bucket.hidden = {"in/camera-2/ramp.mcap"}  # its listing is stale: the next run finds it
    run = shard_recordings(["s3://bucket/in"], "s3://bucket/out", workers=1, listener=said)
    assert not any(bucket.faults.values())
    assert run.unfinished == []
    assert run.asked_again >= 2
    assert len([line for line in said.lines if "asked again" in line]) == 1
    made = files_of(bucket.folder / "out")
    bucket.hidden = set()
    bucket.faults = {"in/camera-2/ramp.mcap": ["503"] * 4}
    run = shard_recordings(["s3://bucket/in"], "s3://bucket/out", workers=0, listener=said)
    assert "tried 4 times" in run.unfinished[0]
    assert "the next run tries it again" in run.unfinished[0]
    assert files_of(bucket.folder / "out") == made
    shutil.rmtree(tmp_path / "cache")  # as on another machine
    run = shard_recordings(["s3://bucket/in"], "s3://bucket/out", workers=0)
    assert (run.tasks_before, run.unfinished) == (2, [])
    there, here = (dataset_info(path) for path in ("s3://bucket/out", tmp_path / "local"))
    assert {s["sha256"] for s in there["shards"]} == {s["sha256"] for s in here["shards"]}
    assert there["failures"] == here["failures"] == []
    assert verify_dataset("s3://bucket/out") == verify_dataset(bucket.folder / "out") == []
