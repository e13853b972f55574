"""Datasets elsewhere: exact over real HTTP and S3 connections, whatever goes wrong on the way."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback
from made_dataset import VIDEO, Task, files_of, write_dataset
from test_reshard import samples_of, write_tasks

from shards import (
    CannotFetch,
    DamagedDataset,
    MissingPackage,
    NotADataset,
    RemoteOptions,
    Reshaping,
    ShardsError,
    TokenStream,
    as_webdataset,
    open_dataset,
    reshard,
    verify_dataset,
)
from shards.dataset_files import LocalFiles
from shards.dataset_files import files_of as files_at
from shards.remote.cache import Cache
from shards.remote.files import RemoteFiles

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

TAR = "shards/video-audio-000000.tar"


@pytest.fixture
def server(finished: Path) -> Iterator[Loopback]:
    """The finished dataset, served as `dataset`."""
    with Loopback(finished.parent) as running:
        yield running
    gc.collect()


def options(cache: Path, **values: Any) -> RemoteOptions:
    """Short pauses, small parts: faults must not make tests slow."""
    given = {
        "first_pause_s": 0.01,
        "longest_pause_s": 0.02,
        "part_bytes": 9000,
        "timeout_s": 1.0,
        "prefetch": 0,
    }
    return RemoteOptions(cache_folder=cache, **(given | values))


def read_all(url: str, remote: RemoteOptions) -> dict[str, dict[str, bytes]]:
    return {
        sample.key: {name: array.tobytes() for name, array in sample.arrays.items()}
        for sample in open_dataset(url, remote).samples()
    }


def expected(finished: Path) -> dict[str, dict[str, bytes]]:
    return {
        sample.key: {name: array.tobytes() for name, array in sample.arrays.items()}
        for sample in open_dataset(finished).samples()
    }


def cached(cache: Path) -> dict[str, int]:
    """Sizes of the files in a cache, but for its locks, by their names in the dataset."""
    files = (path for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {path.relative_to(cache).as_posix().partition("/")[2]: path.stat().st_size for path in files}


def test_http_gives_the_same_samples(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """All of them; a second reader finds everything here."""
    url, remote = f"{server.http}/dataset", options(tmp_path)
    assert read_all(url, remote) == expected(finished)
    assert server.asked[f"dataset/{TAR}"] == 1
    assert read_all(f"{url}/", remote) == expected(finished)
    assert server.asked[f"dataset/{TAR}"] == 1
    assert not [name for name in cached(tmp_path) if name.endswith(".partial")]


def test_s3_gives_the_same_samples(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """Through s3fs, which signs its requests and asks for ranges."""
    pytest.importorskip("s3fs")
    remote = options(tmp_path, storage_options=server.s3_options)
    assert read_all("s3://bucket/dataset", remote) == expected(finished)


def test_a_sample_is_found_by_its_key(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """With the tables and one shard."""
    key = next(reversed(expected(finished)))
    sample = open_dataset(f"{server.http}/dataset", options(tmp_path)).sample(key)
    assert sample.provenance == open_dataset(finished).sample(key).provenance
    assert sum(name.endswith(".tar") for name in cached(tmp_path)) == 1


def test_file_addresses_are_folders(finished: Path) -> None:
    """`file://` is read where it is."""
    files = files_at(f"file://{finished}")
    assert isinstance(files, LocalFiles)
    assert expected(finished) == read_all(f"file://{finished}", RemoteOptions())


FAULTS = ["500", "503", "drop", "truncate", "flip", "stall", "slow", "no-range"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_on_the_way_is_overcome(server: Loopback, finished: Path, tmp_path: Path, fault: str) -> None:
    """In a tar, its rows, a table, the manifest and its hash: asked for again until it is right."""
    names = (TAR, "video-000002.samples.npy", "shards.jsonl", "fifth.json")
    server.faults = {name: [fault] for name in names}
    if fault not in ("flip", "stall"):  # a flipped bit in a hash is another hash; one stall is enough
        server.faults["fifth.json.sha256"] = [fault]
    if fault == "stall":
        server.faults = {TAR: [fault]}
    assert read_all(f"{server.http}/dataset", options(tmp_path)) == expected(finished)
    assert not any(server.faults.values())


@pytest.mark.parametrize("fault", ["500", "drop", "truncate", "flip"])
def test_a_fault_over_s3_is_overcome(server: Loopback, finished: Path, tmp_path: Path, fault: str) -> None:
    """The same through another library with errors of its own."""
    pytest.importorskip("s3fs")
    server.faults = {TAR: [fault, fault], "shards.jsonl": [fault]}
    remote = options(tmp_path, storage_options=server.s3_options)
    assert read_all("s3://bucket/dataset", remote) == expected(finished)
    assert not any(server.faults.values())


def test_what_never_comes_right_is_told(server: Loopback, tmp_path: Path) -> None:
    """A file that is damaged there, or can't be had: which one, and what to do. Nothing is left half."""
    url = f"{server.http}/dataset"
    server.every = "flip"
    with pytest.raises(DamagedDataset, match=r"video-audio-000000\.tar: came 3 times.*fifth verify"):
        read_all(url, options(tmp_path))
    server.every = "500"
    with pytest.raises(
        CannotFetch, match=r"video-audio-000000\.tar: can't be had; tried 2 times, the last time: "
    ):
        read_all(url, options(tmp_path, tries=2))
    assert not [name for name in cached(tmp_path) if ".tar" in name]
    server.every = ""
    assert len(read_all(url, options(tmp_path))) == 18


def test_what_is_no_dataset_is_told(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """No dataset there, a query, a kind of address nobody knows, a manifest's hash of nonsense."""
    with pytest.raises(NotADataset, match=r"/other: no finished dataset"):
        open_dataset(f"{server.http}/other", options(tmp_path))
    with pytest.raises(CannotFetch, match="must have no query"):
        open_dataset(f"{server.http}/dataset?signature=1", options(tmp_path))
    with pytest.raises(CannotFetch, match="gopher"):
        open_dataset("gopher://old/dataset", options(tmp_path))
    server.faults["fifth.json.sha256"] = ["flip"]
    with pytest.raises(DamagedDataset, match=r"fifth\.json"):
        open_dataset(f"{server.http}/dataset", options(tmp_path))
    with pytest.raises(ShardsError, match="webdataset reads remote shards by itself"):
        as_webdataset(f"{server.http}/dataset")


def test_a_missing_shard_is_told(dataset: Path, tmp_path: Path) -> None:
    """The dataset names it, and it is not there: nothing that asking again would mend."""
    (dataset / TAR).unlink()
    with Loopback(dataset.parent) as server:
        files = RemoteFiles(f"{server.http}/dataset", options(tmp_path / "cache"))
        with pytest.raises(FileNotFoundError, match="is missing, though the dataset names it"):
            files.path(TAR)
        with pytest.raises(FileNotFoundError, match="names no file secrets"):
            files.path("secrets.txt")


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingPackage, match=r"pip install 'fifth\[remote\]'"):
        open_dataset("s3://bucket/dataset", options(tmp_path))
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingPackage, match=r"pip install 'fifth\[gcs\]'"):
        open_dataset("gs://bucket/dataset", options(tmp_path))


def test_a_changed_dataset_is_read_anew(tmp_path: Path) -> None:
    """Another manifest, other files: the cache never mixes two."""
    first = write_dataset(tmp_path / "data" / "first").path
    second = tmp_path / "data" / "second"
    reshard([first], second, Reshaping(tracks=("video",)))
    for name in ("first", "second"):
        (tmp_path / "served").unlink(missing_ok=True)
        (tmp_path / "served").symlink_to(tmp_path / "data" / name)
        with Loopback(tmp_path) as server:
            got = read_all(f"{server.http}/served", options(tmp_path / "cache"))
        assert got == expected(tmp_path / "data" / name)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.name != ".locks"]) == 2


def test_the_budget_is_kept(tmp_path: Path) -> None:
    """What was used longest ago goes; what is mapped stays, and the rest is fetched again."""
    names = [f"{number}.mkv" for number in range(9)]
    tasks = {number: Task(VIDEO, {name: range(4)}) for number, name in enumerate(names)}
    source = write_tasks(tmp_path / "data" / "dataset", tasks)
    files = [path for path in source.rglob("*") if path.is_file()]
    others = sum(path.stat().st_size for path in files if path.parent.name != "shards")
    budget = others + sum(path.stat().st_size for path in files if path.parent.name == "shards") // 2
    remote = options(tmp_path / "cache", cache_bytes=budget)
    with Loopback(source.parent) as server:
        dataset = open_dataset(f"{server.http}/dataset", remote)
        held = next(dataset.samples())
        arrays = held.arrays
        for _ in range(3):
            assert read_all(f"{server.http}/dataset", remote) == expected(source)
            assert sum(cached(remote.cache_folder).values()) <= budget
            assert "shards/video-000000.tar" in cached(remote.cache_folder)
            gc.collect()
        assert server.asked["dataset/shards/video-000000.tar"] == 1
        assert server.asked["dataset/shards/video-000004.tar"] == 3
    assert {name: array.tobytes() for name, array in arrays.items()} == expected(source)[held.key]


def test_what_is_used_is_not_removed_for_the_budget(server: Loopback, tmp_path: Path) -> None:
    """A budget below what is in use is exceeded, with a word; once released it is kept again."""
    remote = options(tmp_path, cache_bytes=1000)
    with pytest.warns(UserWarning, match="raise cache_bytes"):
        samples = list(open_dataset(f"{server.http}/dataset", remote).samples())
    assert sum(name.endswith(".tar") for name in cached(tmp_path)) == 3
    del samples
    gc.collect()
    with pytest.warns(UserWarning, match="raise cache_bytes"):
        open_dataset(f"{server.http}/dataset", remote).table("failures")
    assert not [name for name in cached(tmp_path) if name.endswith(".tar")]


def _read_in_a_process(url: str, cache: Path, queue: Any) -> None:
    got = read_all(url, options(cache))
    queue.put(sorted(got))


@pytest.mark.slow
def test_processes_share_a_cache(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """Six read at once: each file is fetched by one of them, and all get everything."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    server.every = "slow"
    url = f"{server.http}/dataset"
    running = [context.Process(target=_read_in_a_process, args=(url, tmp_path, queue)) for _ in range(6)]
    for process in running:
        process.start()
    results = [queue.get(timeout=60) for _ in running]
    for process in running:
        process.join(30)
    assert results == [sorted(expected(finished))] * 6
    assert server.asked[f"dataset/{TAR}"] == 1


def test_a_killed_fetch_leaves_nothing_that_is_read(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """What it had is counted until the next one removes it; then the file is fetched whole."""
    server.faults[TAR] = ["slow"] * 100
    files = RemoteFiles(f"{server.http}/dataset", options(tmp_path, part_bytes=4096))
    files.path("tables/shards.jsonl")
    child = os.fork()
    if child == 0:
        RemoteFiles(f"{server.http}/dataset", options(tmp_path, part_bytes=4096)).path(TAR)
        os._exit(0)
    while not [name for name in cached(tmp_path) if ".tar." in name]:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = [name for name in cached(tmp_path) if name.endswith(".partial")]
    assert len(left) == 1
    server.faults.clear()
    assert read_all(f"{server.http}/dataset", options(tmp_path)) == expected(finished)
    assert not [name for name in cached(tmp_path) if name.endswith(".partial")]


def test_what_is_expected_is_fetched_ahead(server: Loopback, tmp_path: Path) -> None:
    """In its order, in the background; an error waits for the one who asks."""
    files = RemoteFiles(f"{server.http}/dataset", options(tmp_path, prefetch=2))
    names = [f"shards/video-audio-00000{n}.tar" for n in range(2)]
    server.faults[names[1]] = ["403"] * 3
    files.expect(names)
    until = time.monotonic() + 10
    while names[0] not in cached(tmp_path) and time.monotonic() < until:
        time.sleep(0.01)
    assert names[0] in cached(tmp_path)
    assert files.path(names[1]).is_file()
    assert server.asked[f"dataset/{names[0]}"] == 1
    files.expect(names)  # all here: nothing to do
    assert server.asked[f"dataset/{names[0]}"] == 1


def test_it_may_be_sent_to_workers(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """Pickled, and forked after use, it goes on reading."""
    files = RemoteFiles(f"{server.http}/dataset", options(tmp_path, prefetch=1))
    files.expect([TAR])
    copied = pickle.loads(pickle.dumps(files))
    assert copied.path("tables/recordings.jsonl").is_file()
    child = os.fork()
    if child == 0:
        files.expect(["shards/video-audio-000001.tar"])
        os._exit(0 if files.path("shards/video-000002.tar").is_file() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert files.path(TAR).read_bytes() == (finished / TAR).read_bytes()


def test_a_remote_dataset_is_resharded(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """From there to here: the same bytes as from a folder."""
    for name, source in (("a", finished), ("b", f"{server.http}/dataset")):
        reshard([source], tmp_path / name, Reshaping(shuffle=True), remote=options(tmp_path / "cache"))
    assert verify_dataset(tmp_path / "b") == []
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert samples_of(tmp_path / "b") == samples_of(finished)


def test_a_cache_that_is_too_small_to_reshard_is_told(server: Loopback, tmp_path: Path) -> None:
    """Beforehand, with the sizes; the result is right nevertheless."""
    said: list[str] = []
    remote = options(tmp_path / "cache", cache_bytes=100_000)
    with pytest.warns(UserWarning, match="raise cache_bytes"):
        reshard([f"{server.http}/dataset"], tmp_path / "out", report=said.append, remote=remote)
    assert any("will be fetched again and again" in line for line in said)
    assert verify_dataset(tmp_path / "out") == []


def test_a_file_that_was_cut_short_is_fetched_anew(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """By a power failure, say: its size tells."""
    files = RemoteFiles(f"{server.http}/dataset", options(tmp_path))
    path = files.path(TAR)
    path.write_bytes(b"")
    assert files.path(TAR).read_bytes() == (finished / TAR).read_bytes()


def test_the_cache_survives_a_writer_that_fails(tmp_path: Path) -> None:
    """Nothing is left of it, and the next one writes."""
    cache = Cache(tmp_path, 100)

    def fails(file: Any) -> None:
        file.write(b"half")
        raise ConnectionError("gone")

    def writes(file: Any) -> None:
        file.write(b"12345678")

    with pytest.raises(ConnectionError):
        cache.open("d/x", 8, fails)
    assert cached(tmp_path) == {}
    with cache.open("d/x", 8, writes) as file:
        assert file.read() == b"12345678"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"cache_bytes": 0}, "cache_bytes must be at least 1, got 0"),
        ({"tries": 0}, "tries must be at least 1"),
        ({"prefetch": -1}, "prefetch must not be negative"),
        ({"timeout_s": 0}, "timeout_s must be more than 0"),
    ],
)
def test_options_that_cannot_work_are_refused(values: dict[str, Any], said: str) -> None:
    """With the value."""
    with pytest.raises(ValueError, match=said):
        RemoteOptions(**values)


@pytest.mark.parametrize("kind", ["batches", "packed", "samples"])
def test_a_stream_is_the_same_from_there(server: Loopback, finished: Path, tmp_path: Path, kind: str) -> None:
    """Every batch, byte for byte, through faults; and it goes on from a state of the local one."""
    server.faults = {TAR: ["truncate", "flip"], "video-000002.tar": ["500"]}
    there = TokenStream(f"{server.http}/dataset", remote=options(tmp_path, prefetch=2), **STREAM)
    here = TokenStream(finished, **STREAM)
    want = [_plain(batch) for batch in _yielding(here, kind)]
    assert [_plain(batch) for batch in _yielding(there, kind)] == want
    reader = iter(_yielding(here, kind))
    first = [_plain(next(reader)) for _ in range(3)]
    if kind == "batches":
        goes_on = there.batches()
        state = here.batches()
        rest = iter(state)
        for _ in range(3):
            next(rest)
        goes_on.load_state_dict(state.state_dict())
        assert first + [_plain(batch) for batch in goes_on] == want


STREAM: dict[str, Any] = {"global_batch": 4, "epochs": 2, "tracks": ["video"], "seed": 3}


def _yielding(stream: TokenStream, kind: str) -> TokenStream:
    if kind == "packed":
        return stream.packed(64)
    return stream.batches() if kind == "batches" else stream.samples()


def _plain(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: value.tolist() for name, value in batch.items()}
    return batch.key, {name: array.tolist() for name, array in batch.arrays.items()}


@pytest.mark.slow
def test_a_stream_in_workers_reads_from_there(server: Loopback, finished: Path, tmp_path: Path) -> None:
    """Two forked workers of a `DataLoader`, after the parent has read too."""
    torch_data: Any = pytest.importorskip("torch.utils.data")
    remote = options(tmp_path, prefetch=2)
    stream = TokenStream(f"{server.http}/dataset", remote=remote, **STREAM).batches()
    want = [_plain(batch) for batch in TokenStream(finished, **STREAM).batches()]
    assert _plain(next(iter(stream))) == want[0]
    loader = torch_data.DataLoader(stream, batch_size=None, num_workers=2)
    assert [_plain(batch) for batch in loader] == want
