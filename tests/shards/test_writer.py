"""One shard, written: what comes back, the same bytes, and what is refused."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards import ShardFigures, ShardWriter, WrongLayout, WrongSample, sample_key
from shards.layout import Layout
from shards.sample_rows import row_dtype

Json = dict[str, Any]


def one_track(*members: Json, track: str = "video") -> Json:
    return {"name": "video", "members": [{"name": "json"}, *members], "tracks": [{"name": track}]}


PLAIN = one_track({"name": "video.tokens.npy", "dtype": "uint16", "shape": [None, 2]})


def add(writer: ShardWriter, number: int, members: Any, tokens: int, **span: int) -> None:
    """Add a sample of recording 7 that begins `number` seconds after the origin."""
    values = {"recording_id": 7, "start_ns": number * 10**9, "stop_ns": number * 10**9 + 10**9} | span
    writer.add(sample_key(7, number * 10**9), members, **values, tokens={"video": tokens}, valid={"video": 1})


def codes(rows: int) -> Any:
    return np.arange(rows * 2, dtype=np.uint16).reshape(rows, 2)


def write(folder: Path, count: int = 3, name: str = "video-000000") -> ShardFigures:
    with ShardWriter(folder, name, PLAIN) as writer:
        for number in range(count):
            add(writer, number, [{"n": number}, codes(number)], number * 2)
        figures = writer.close()
    assert figures is not None
    return figures


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    """The slow, obvious reader: `tarfile`."""
    with tarfile.open(path) as tar:
        opened = [(info.name, tar.extractfile(info)) for info in tar]
        return [(name, file.read()) for name, file in opened if file is not None]


GOLDEN = (
    "eb9c086d03ecffbdbc46db056b60c537832c3268af7d9a73d550c6c23718104a",
    "aa7ed55559a43874ce3884bfd24d76a0d045fa3f86361b6c11826c09c55d67fa",
    "51b8e2d42c461cae1e82c1cdd59e1f93199508e90cfde09008590abbd843a13c",
)
DTYPES = ("uint8", "uint16", "uint32", "int64", "float16", "float32")
arrays = st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), min_size=1, max_size=4))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.lists(st.tuples(arrays, texts, st.binary(max_size=700)), min_size=1, max_size=4), st.booleans())
def test_a_sample_survives_the_tar(
    samples: list[tuple[tuple[str, list[int]], str, bytes]], by_name: bool
) -> None:
    """Arrays of any type and shape, text, bytes and provenance come back as they were given."""
    dtype, shape = samples[0][0]
    layout = one_track(
        {"name": "video.features.npy", "dtype": dtype, "shape": [None] * len(shape)},
        {"name": "video.txt"},
        {"name": "video.bin"},
    )
    given_members: list[Json] = []
    with tempfile.TemporaryDirectory() as folder, ShardWriter(Path(folder), "video-000000", layout) as writer:
        for number, ((_, sizes), text, data) in enumerate(samples):
            sizes = [*sizes, 1, 1, 1][: len(shape)]
            array = np.random.default_rng(number).integers(0, 200, sizes).astype(dtype)
            members: Json = {"json": {"text": text, "n": number}, "video.features.npy": array}
            members |= {"video.txt": text, "video.bin": data}
            given_members.append(members)
            add(writer, number, members if by_name else list(members.values()), 0)
        writer.close()
        read = read_tar(Path(folder) / "video-000000.tar")
    fields = iter(read)
    for number, members in enumerate(given_members):
        for name, value in members.items():
            found, data = next(fields)
            assert found == f"{sample_key(7, number * 10**9)}.{name}"
            if name == "json":
                assert json.loads(data) == value
            elif name.endswith(".npy"):
                loaded = np.load(io.BytesIO(data), allow_pickle=False)
                assert (loaded.dtype, loaded.shape) == (value.dtype, value.shape)
                assert np.array_equal(loaded, value)
            else:
                assert data == (value.encode() if isinstance(value, str) else value)
    assert next(fields, None) is None


def test_the_bytes_are_these() -> None:
    """Format 1 does not change unseen: the shard's three files have the hashes that they always had."""
    with tempfile.TemporaryDirectory() as folder:
        figures = write(Path(folder))
    assert (figures.sha256, figures.idx_sha256, figures.samples_sha256) == GOLDEN


def test_figures_are_those_of_the_files(tmp_path: Path) -> None:
    """Sizes and hashes are of the bytes on disk; counts are sums over the samples."""
    figures = write(tmp_path)
    tar = (tmp_path / "video-000000.tar").read_bytes()
    rows = (tmp_path / "video-000000.samples.npy").read_bytes()
    assert (figures.bytes, figures.sha256) == (len(tar), hashlib.sha256(tar).hexdigest())
    assert (figures.samples_bytes, figures.samples_sha256) == (len(rows), hashlib.sha256(rows).hexdigest())
    assert figures.idx_sha256 == hashlib.sha256((tmp_path / "video-000000.tar.idx").read_bytes()).hexdigest()
    assert (figures.samples, figures.seconds_ns, figures.tokens) == (3, 3 * 10**9, {"video": 6})
    assert (figures.first_key, figures.last_key) == (sample_key(7, 0), sample_key(7, 2 * 10**9))
    assert figures.to_json()["provenance"] == {"n": "int64"}
    assert json.loads(json.dumps(figures.to_json())) == figures.to_json()


def test_the_index_and_the_rows_lead_to_the_data(tmp_path: Path) -> None:
    """Each row's offsets are those of `tarfile`; the index has each first header and the end of the data."""
    write(tmp_path)
    with tarfile.open(tmp_path / "video-000000.tar") as tar:
        infos = tar.getmembers()
    rows = np.load(tmp_path / "video-000000.samples.npy", allow_pickle=False)
    index = np.fromfile(tmp_path / "video-000000.tar.idx", "<u8")
    assert rows.dtype == row_dtype(Layout.from_json(PLAIN))
    for number, row in enumerate(rows):
        head, array = infos[2 * number : 2 * number + 2]
        assert index[number] == head.offset
        assert (row["json:offset"], row["json:size"]) == (head.offset_data, head.size)
        assert (row["video.tokens.npy:offset"], row["video.tokens.npy:size"]) == (
            array.offset_data,
            array.size,
        )
        assert (row["video:tokens"], row["video:valid"], row["recording"]) == (number * 2, 1, 7)
        assert (row["start_ns"], row["stop_ns"]) == (number * 10**9, number * 10**9 + 10**9)
    size_bytes = (tmp_path / "video-000000.tar").stat().st_size
    assert index.tolist() == sorted(index.tolist())
    assert index[-1] == size_bytes - 1024


def test_data_in_the_tar_are_aligned(tmp_path: Path) -> None:
    """Array data begin at a multiple of 64 bytes of the file, so that a map of it can be used as it is."""
    write(tmp_path)
    data = (tmp_path / "video-000000.tar").read_bytes()
    assert data.index(codes(2).tobytes()) % 64 == 0


def test_arrays_are_copied_when_they_are_added(tmp_path: Path) -> None:
    """Whoever reuses a buffer for the next sample does not change the last one; strides don't matter."""
    buffer = codes(4)
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        add(writer, 0, [{"n": 0}, buffer[::2]], 4)
        buffer[:] = 9
        add(writer, 1, [{"n": 1}, buffer], 8)
        writer.close()
    data = [
        np.load(io.BytesIO(data)) for name, data in read_tar(tmp_path / "video-000000.tar") if "npy" in name
    ]
    assert data[0].tolist() == [[0, 1], [4, 5]]
    assert data[1].tolist() == [[9, 9]] * 4


def test_the_order_of_keys_is_free(tmp_path: Path) -> None:
    """Samples stand in the order in which they were added, sorted or not."""
    order = list(range(10))
    random.Random(3).shuffle(order)
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        for number in order:
            add(writer, number, [{"n": number}, codes(1)], 2)
        writer.close()
    keys = [name.split(".")[0] for name, _ in read_tar(tmp_path / "video-000000.tar")[::2]]
    assert keys == [sample_key(7, number * 10**9) for number in order]


def test_no_sample_leaves_nothing(tmp_path: Path) -> None:
    """A shard without samples gives no figures, and no file."""
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        assert writer.close() is None
    assert names(tmp_path) == []


def test_nothing_has_its_name_before_it_is_closed(tmp_path: Path) -> None:
    """While a shard is written, no file ends in `.tar`, `.idx` or `.npy`."""
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        add(writer, 0, [{"n": 0}, codes(1)], 2)
        assert len(names(tmp_path)) == 1
        assert names(tmp_path)[0].endswith(".partial")
        writer.close()
    assert names(tmp_path) == ["video-000000.samples.npy", "video-000000.tar", "video-000000.tar.idx"]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    """What goes wrong inside the `with` drops the shard."""

    def fail() -> None:
        with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
            add(writer, 0, [{"n": 0}, codes(1)], 2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == []


def test_leaving_without_closing_leaves_nothing(tmp_path: Path) -> None:
    """Only `close` makes a shard."""
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        add(writer, 0, [{"n": 0}, codes(1)], 2)
    assert names(tmp_path) == []


def test_a_closed_shard_takes_no_more(tmp_path: Path) -> None:
    """Adding to or closing a closed shard is an error, and does not touch it."""
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        add(writer, 0, [{"n": 0}, codes(1)], 2)
        writer.close()
        with pytest.raises(WrongSample, match="is closed"):
            add(writer, 1, [{"n": 0}, codes(1)], 2)
        with pytest.raises(ValueError, match="closed already"):
            writer.close()
        writer.abandon()
    assert len(names(tmp_path)) == 3


def test_two_writers_of_one_shard_do_not_mix(tmp_path: Path) -> None:
    """A writer that outlives its killed run can't spoil the one that came after: both files are whole."""
    old, new = ShardWriter(tmp_path, "video-000000", PLAIN), ShardWriter(tmp_path, "video-000000", PLAIN)
    for number in range(3):
        add(old, number, [{"n": number}, codes(number)], number * 2)
        add(new, number, [{"n": number}, codes(number)], number * 2)
    first, second = new.close(), old.close()
    assert first == second
    assert first is not None
    assert hashlib.sha256((tmp_path / "video-000000.tar").read_bytes()).hexdigest() == first.sha256


SPAN = {"recording_id": 7, "start_ns": 0, "stop_ns": 10**9}
GOOD: Json = {"key": sample_key(7, 0), "members": [{"n": 1}, codes(1)], **SPAN, "tokens": {"video": 2}}
GOOD |= {"valid": {"video": 1}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": ""}, "its key is not sample_key"),
        ({"key": "a.b"}, "its key is not sample_key"),
        ({"key": "../../etc/passwd"}, "its key is not sample_key"),
        ({"key": sample_key(7, 0) + "\n"}, "its key is not sample_key"),
        ({"key": sample_key(7, 0).replace("0", "\u0660")}, "its key is not sample_key"),
        ({"key": sample_key(8, 0)}, "its key is not sample_key"),
        ({"key": f"{7:016X}_{0:019d}", "recording_id": 7}, None),
        ({"key": f"{171:016X}_{0:019d}", "recording_id": 171}, "its key is not sample_key"),
        ({"recording_id": -1}, "its key is not sample_key"),
        ({"stop_ns": 0}, r"\[0, 0\) must end after it starts"),
        ({"stop_ns": 2**63}, "must end after it starts, and fit int64"),
        ({"members": [{"n": 1}]}, r"1 members; its layout has \['json', 'video.tokens.npy'\]"),
        (
            {"members": {"json": {"n": 1}, "x": b""}},
            r"members \['video.tokens.npy'\] are missing, \['x'\] not in",
        ),
        ({"members": [{"n": 1}, codes(1).astype("u1")]}, r"must be uint16 \[\?, 2\], got an array of uint8"),
        ({"members": [{"n": 1}, codes(1).astype(">u2")]}, r"must be uint16 \[\?, 2\], got an array of >u2"),
        (
            {"members": [{"n": 1}, codes(1).astype("f8")]},
            r"must be uint16 \[\?, 2\], got an array of float64",
        ),
        ({"members": [{"n": 1}, codes(2).reshape(1, 4)]}, r"must be uint16 \[\?, 2\], got shape \[1, 4\]"),
        ({"members": [{"n": 1}, codes(1)[0]]}, r"got shape \[2\]"),
        ({"members": [{"n": 1}, codes(1).tolist()]}, r"must be uint16 \[\?, 2\], got list"),
        ({"members": [codes(1), codes(1)]}, "member json must be json, got an array of uint16"),
        ({"members": ["{}", codes(1)]}, "member json must be json, got str"),
        ({"members": [{"n": None}, codes(1)]}, "json.n is None .*never null"),
        ({"members": [{"n": 1.0}, codes(1)]}, "json.n is float64, and int64 in the first sample"),
        ({"members": [{"m": 1}, codes(1)]}, "json.n is missing"),
        ({"members": [{}, codes(1)]}, "json is an empty object"),
        ({"tokens": {}}, "must each hold an int for track 'video'"),
        ({"valid": {"video": 1.5}}, "must each hold an int for track 'video'"),
        ({"tokens": {"video": 3}}, r"tokens\['video'\] is 3, but video.tokens.npy holds 2 codes"),
        ({"valid": {"video": -1}}, "must fit uint32"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(tmp_path: Path, change: Json, message: str | None) -> None:
    """The message names sample and reason; nothing of it is written, and the writer goes on."""
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        add(writer, 1, [{"n": 0}, codes(1)], 2)
        before = writer.size_bytes
        if message is not None:
            with pytest.raises(WrongSample, match=message):
                writer.add(**GOOD | change)
            assert writer.size_bytes == before
            change = {}
        writer.add(**GOOD | change)
        figures = writer.close()
    assert figures is not None
    assert figures.samples == 2
    assert len(read_tar(tmp_path / "video-000000.tar")) == 4


def test_the_first_sample_sets_the_types_only_if_it_was_written(tmp_path: Path) -> None:
    """A refused first sample does not bind those after it."""
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        with pytest.raises(WrongSample):
            add(writer, 0, [{"other": "text"}, codes(1)], 99)
        add(writer, 0, [{"n": 1}, codes(1)], 2)
        figures = writer.close()
    assert figures is not None
    assert figures.provenance == {"n": "int64"}


def test_a_key_comes_once(tmp_path: Path) -> None:
    """Two samples of one key would be one to every reader."""
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        writer.add(**GOOD)
        with pytest.raises(WrongSample, match="is in shard video-000000 already"):
            writer.add(**GOOD)


def test_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    """A file name that was not UTF-8 reaches Python with lone surrogates, which no reader can read."""
    with (
        ShardWriter(tmp_path, "video-000000", PLAIN) as writer,
        pytest.raises(WrongSample, match="surrogates"),
    ):
        writer.add(**GOOD | {"members": [{"recording": os.fsdecode(b"\xff.mp4")}, codes(1)]})


@pytest.mark.parametrize("name", ["", "a.tar", "../a", "A", "a b", "ä", "a/b", ".a"])
def test_names_of_shards_are_plain(tmp_path: Path, name: str) -> None:
    """A shard can't be written outside its folder, or under a name that a reader splits."""
    with pytest.raises(ValueError, match="a shard's name must be"):
        ShardWriter(tmp_path, name, PLAIN)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (PLAIN | {"name": "Video"}, "name must be lower-case"),
        (PLAIN | {"name": "a-000000"}, "without six digits"),
        (
            PLAIN | {"members": [{"name": "video.tokens.npy", "dtype": "u2", "shape": []}]},
            "first member must be",
        ),
        (one_track({"name": "video.x.npy"}), "needs a dtype and a shape"),
        (one_track({"name": "video.x.npy", "dtype": "object", "shape": []}), "arrays hold plain numbers"),
        (one_track({"name": "video.x.npy", "dtype": "S3", "shape": []}), "arrays hold plain numbers"),
        (one_track({"name": "video.x.npy", "dtype": "u2", "shape": [0]}), "null or at least 1"),
        (one_track({"name": "video.X.npy", "dtype": "u2", "shape": []}), "must be lower-case"),
        (one_track({"name": "video/../x.txt"}), "must be lower-case"),
        (one_track({"name": "__video__"}), "must be TRACK.SOMETHING"),
        (one_track({"name": "audio.txt"}), "must be TRACK.SOMETHING"),
        (one_track({"name": "video.txt"}, {"name": "video.txt"}), "names must be unique"),
        (one_track(track="a" * 41), "at most 40"),
        ({"name": "a"}, "members is missing"),
        (
            one_track({"name": f"{'v' * 40}.{'x' * 24}"}, track="v" * 40),
            "too long; with a key it must fit 100",
        ),
    ],
)
def test_a_layout_that_cannot_be_written_is_refused(tmp_path: Path, layout: Json, message: str) -> None:
    """Before the first sample, with the reason, and without a file."""
    with pytest.raises(WrongLayout, match=message):
        ShardWriter(tmp_path, "video-000000", layout)
    assert names(tmp_path) == []


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FULL: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "fsync": lambda patch: patch.setattr(os, "fsync", no_space),
    "index": lambda patch: patch.setattr("shards.writer.write_whole", no_space),
    "rename": lambda patch: patch.setattr(Path, "replace", no_space),
}


@pytest.mark.parametrize("step", FULL)
def test_a_disk_that_is_full_at_the_end_leaves_no_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever step of closing fails: the error passes through, and no tar and no temporary file stays."""
    with ShardWriter(tmp_path, "video-000000", PLAIN) as writer:
        add(writer, 0, [{"n": 0}, codes(1)], 2)
        FULL[step](monkeypatch)
        with pytest.raises(OSError, match="No space left") as caught:
            writer.close()
        assert caught.value.errno == errno.ENOSPC
    assert [name for name in names(tmp_path) if name.endswith((".tar", ".partial"))] == []


WRITE_UNTIL_FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from shards import ShardWriter, sample_key
members = [{"name": "json"}, {"name": "video.tokens.npy", "dtype": "uint8", "shape": [None]}]
layout = {"name": "video", "members": members, "tracks": [{"name": "video"}]}
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
try:
    with ShardWriter(Path(sys.argv[1]), "video-000000", layout) as writer:
        for n in range(100):
            writer.add(sample_key(7, n), [{"n": n}, np.zeros(100_000, np.uint8)], recording_id=7, start_ns=n,
                       stop_ns=n + 1, tokens={"video": 100_000}, valid={"video": 1})
except OSError as error:
    print("stopped at", n, type(error).__name__)
"""


def test_a_file_system_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    """The system itself refuses a write half way: an `OSError`, and nothing on disk."""
    command = [sys.executable, "-c", WRITE_UNTIL_FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("stopped at"), done.stderr
    assert names(tmp_path) == []
