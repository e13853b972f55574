"""A dataset made on an object store: what a folder promises, whatever stops the run that makes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback
from made_dataset import VIDEO, Task
from test_reshard import write_tasks

from shards import CannotCreate, CannotFetch, DatasetFolder, DatasetLocked, RemoteOptions
from shards.remote.locks import RemoteLocks
from shards.remote.mirrored_folder import MirroredFolder
from shards.remote.store import Store

pytest.importorskip("s3fs")
pytestmark = pytest.mark.timeout(120)

URL = "s3://bucket/made"
TRIES = 3


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    with Loopback(tmp_path_factory.mktemp("bucket")) as server:
        yield server


@pytest.fixture(scope="module")
def store(running: Loopback) -> Store:
    """The way to the store: a client takes longer to make than to use."""
    quick: dict[str, Any] = {"first_pause_s": 0.001, "longest_pause_s": 0.002, "timeout_s": 20.0}
    return Store(URL, RemoteOptions(storage_options=running.s3_options, tries=TRIES, **quick))


@pytest.fixture
def bucket(running: Loopback, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """An empty bucket."""
    running.folder = tmp_path / "bucket"
    running.folder.mkdir()
    running.forget()
    monkeypatch.setattr("shards.remote.mirrored_folder.Store", lambda url, options: store)
    return running


def machine(cache: Path) -> MirroredFolder:
    """Return the dataset as another machine sees it, with a cache of its own."""
    return MirroredFolder(URL, RemoteOptions(cache_folder=cache))


def make(folder: MirroredFolder, source: Path, tasks: int = 10) -> None:
    """Do what a run does: plan, and the tasks that are not done; here, those that `source` has."""
    made = DatasetFolder(source)
    folder.refresh()
    folder.create()
    with folder.lock():
        folder.remove_leftovers()
        if not folder.plan_parts():
            folder.write_plan_part(made.read_plan())
        for task in sorted(made.tasks_done() - folder.tasks_done())[:tasks]:
            record = made.read_record(task)
            if record["shard"]:
                for ending in (".tar", ".tar.idx", ".samples.npy"):
                    data = (made.shards_folder / f"{record['shard']['name']}{ending}").read_bytes()
                    (folder.shards_folder / f"{record['shard']['name']}{ending}").write_bytes(data)
            folder.write_record(task, record)
        folder.finish()


def on_the_store(bucket: Loopback) -> dict[str, bytes]:
    """Return the files that must be the same in equal datasets."""
    folder = bucket.folder / "made"
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "runs"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def in_folder(path: Path) -> dict[str, bytes]:
    files = [file for file in path.rglob("*") if file.is_file() and file.name not in (".lock", "run.jsonl")]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def test_it_is_the_dataset_that_a_folder_holds(bucket: Loopback, finished: Path, tmp_path: Path) -> None:
    """All of its files, and nothing else; no shard stays on the machine."""
    folder = machine(tmp_path / "a")
    make(folder, finished)
    assert on_the_store(bucket) == in_folder(finished)
    assert not list(folder.shards_folder.iterdir())


@pytest.mark.parametrize("broken", ["plan/000000.jsonl", "-000000.tar", "records/000000.json", "fifth.json"])
def test_a_run_that_stops_anywhere_is_gone_on_with(
    bucket: Loopback, finished: Path, tmp_path: Path, broken: str
) -> None:
    """By another machine, in the middle of any upload; the result is the same, and nothing is doubled."""
    bucket.faults = {broken: ["500"] * TRIES}
    with pytest.raises(CannotFetch, match="tried 3 times"):
        make(machine(tmp_path / "a"), finished)
    named = {path.name for path in (bucket.folder / "made" / "records").glob("*.json")}
    if broken != "fifth.json":
        assert "000000.json" not in named
    make(machine(tmp_path / "b"), finished, tasks=1)
    make(machine(tmp_path / "a"), finished)
    assert on_the_store(bucket) == in_folder(finished)


def test_large_files_go_up_in_parts(
    bucket: Loopback, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And appear as a whole; what a failed upload left is aborted."""
    monkeypatch.setattr("shards.remote.mirrored_folder.UPLOAD_PART_BYTES", 5 << 20)
    folder = machine(tmp_path / "a")
    folder.create()
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20) * 11)
    bucket.faults = {"PUT made/large": ["", "503"]}
    folder._upload(large, "large")
    assert (bucket.folder / "made" / "large").read_bytes() == large.read_bytes()
    assert bucket.done["CompleteMultipartUpload"] == 1
    assert bucket.done["AbortMultipartUpload"] == 1
    assert bucket.uploads == {}


def test_another_dataset_under_the_address_is_another_one(
    bucket: Loopback, finished: Path, tmp_path: Path
) -> None:
    """What the machine kept of the old one is gone."""
    folder = machine(tmp_path / "a")
    make(folder, finished)
    for file in (bucket.folder / "made").rglob("*"):
        if file.is_file():
            file.unlink()
    folder.refresh()
    assert not folder.is_dataset()
    other = write_tasks(tmp_path / "other", {0: Task(VIDEO, {"other.mkv": range(3)})})
    make(folder, other)
    assert on_the_store(bucket) == in_folder(other)


def test_one_run_at_a_time_writes(bucket: Loopback, tmp_path: Path) -> None:
    """Another machine is told who does; a dead process of this machine holds nothing."""
    a, b = (machine(tmp_path / name) for name in "ab")
    for folder in (a, b):
        folder.create()
    with a.lock(), pytest.raises(DatasetLocked, match=rf"\(process {os.getpid()} on .*remove {URL}/\.lock"):
        b.lock().__enter__()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    host = os.uname().nodename
    (bucket.folder / "made" / ".lock").write_text(f'{{"pid": {child}, "host": "{host}"}}\n')
    with b.lock():
        pass
    assert not (bucket.folder / "made" / ".lock").exists()


def test_parts_hold_the_dataset_together(bucket: Loopback, store: Store) -> None:
    """Beside each other, not beside a run that holds it alone, nor beside parts of another division."""
    a, b = (RemoteLocks(store) for _ in "ab")
    said: list[str] = []
    with a.as_part("1-of-3", 0, said.append), b.as_part("2-of-3", 0, said.append):
        with pytest.raises(DatasetLocked, match="part 1-of-3 is writing"):
            b.exclusive().__enter__()
        with pytest.raises(DatasetLocked, match="would do some of its tasks"):
            b.as_part("1-of-2", 0, said.append).__enter__()
        with pytest.raises(DatasetLocked, match="another run"):
            b.as_part("1-of-3", 0, said.append).__enter__()
        with a.plan_turn():
            pass
    with a.exclusive(), pytest.raises(DatasetLocked, match="planning or writing"):
        b.as_part("1-of-3", 0, said.append).__enter__()
    assert not [path for path in bucket.folder.rglob("*") if path.is_file()]


def test_what_is_not_ours_is_left_alone(bucket: Loopback, tmp_path: Path) -> None:
    """A folder of the bucket that holds something else, and addresses that can't be written."""
    (bucket.folder / "made").mkdir()
    (bucket.folder / "made" / "holiday.mp4").write_bytes(b"x")
    with pytest.raises(CannotCreate, match=r"not empty, and no dataset \(it holds holiday.mp4\)"):
        machine(tmp_path / "a").create()
    with pytest.raises(CannotCreate, match="datasets are made in folders, s3://"):
        MirroredFolder("https://host/dataset")
