"""Datasets from strangers: their JSON, names, rows and files are looked at before they are used."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_dataset import write_dataset

from shards import (
    DamagedDataset,
    DatasetFolder,
    ShardsError,
    TokenStream,
    Vocabulary,
    WrongState,
    dataset_info,
    open_dataset,
    repair_dataset,
    verify_dataset,
)
from shards.npy import BadNpy, npy_header, npy_view
from shards.shapes import COUNT, misfit

Json = dict[str, Any]


def forge(dataset: Path, change: Callable[[Json], object]) -> None:
    """Change the manifest, and let its hash fit."""
    manifest = json.loads((dataset / "fifth.json").read_bytes())
    change(manifest)
    data = json.dumps(manifest).encode()
    (dataset / "fifth.json").write_bytes(data)
    (dataset / "fifth.json.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  fifth.json\n")


def forge_shards(dataset: Path, change: Callable[[Json], object]) -> None:
    """Change every line of the table of shards, and let the hashes fit."""
    table = dataset / "tables" / "shards.jsonl"
    lines = [json.loads(line) for line in table.read_bytes().splitlines()]
    for line in lines:
        change(line)
    table.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    facts = {"bytes": table.stat().st_size, "sha256": hashlib.sha256(table.read_bytes()).hexdigest()}
    forge(dataset, lambda manifest: manifest["tables"]["tables/shards.jsonl"].update(facts))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A finished dataset of every kind of member."""
    return write_dataset(tmp_path / "d").path


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("layouts"),
        lambda m: m.update(layouts=None),
        lambda m: m["layouts"][0].update(members=[1]),
        lambda m: m["layouts"][0]["members"][1].update(shape=[2**70]),
        lambda m: m["layouts"][0]["tracks"][0].update(rate="x"),
        lambda m: m["layouts"][0]["tracks"][0].update(rate="-1/2"),
        lambda m: m["layouts"][0]["tracks"][0].update(spec=[1]),
        lambda m: m["layouts"][0]["tracks"][0]["spec"].update(strides=["a"]),
        lambda m: m["layouts"][0].update(tokens={"audio": -1}),
        lambda m: m["totals"].update(bytes="many"),
        lambda m: m.update(tables=[]),
        lambda m: m["plan"][0].pop("bytes"),
    ],
)
def test_a_manifest_that_lacks_or_mistypes_is_refused(
    dataset: Path, change: Callable[[Json], object]
) -> None:
    """Whoever opens a dataset whose manifest is not what must stand there gets one of our errors."""
    forge(dataset, change)
    for read in (open_dataset, dataset_info, TokenStream):
        with pytest.raises(ShardsError):
            read(dataset)


@pytest.mark.parametrize("name", ["../../x-000000", "/etc/x-000000", "video-000009", "a/b-000000", 5, None])
def test_a_shard_can_not_be_called_anything(dataset: Path, name: object) -> None:
    """A name in the table of shards that is not the task's own is refused: it could lead elsewhere."""
    forge_shards(dataset, lambda line: line.update(name=name))
    with pytest.raises(DamagedDataset, match=r"no shard of ours|name must be"):
        list(open_dataset(dataset).samples())


@pytest.mark.parametrize("name", ["tables/shards.jsonl", "fifth.json", "shards/video-000002.tar"])
def test_a_pipe_is_no_file(dataset: Path, name: str) -> None:
    """A pipe where a file should be is refused; reading it would wait for ever."""
    (dataset / name).unlink()
    os.mkfifo(dataset / name)
    with pytest.raises(ShardsError):
        [sample.arrays for sample in open_dataset(dataset).samples()]


def test_every_pipe_is_found(dataset: Path) -> None:
    """Whichever file is one, `verify` says so and does not wait."""
    for path in sorted(path for path in dataset.rglob("*") if path.is_file() and path.name != ".lock"):
        data = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        name = path.relative_to(dataset).as_posix()
        assert [problem.what for problem in verify_dataset(dataset) if problem.file == name], name
        path.unlink()
        path.write_bytes(data)
    assert verify_dataset(dataset) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("video.tokens.npy:offset", 2**63),
        ("video.tokens.npy:offset", 513),
        ("json:offset", 0),
        ("video.tokens.npy:size", 2**64 - 1),
        ("stop_ns", -(2**63)),
        ("stop_ns", 2**63 - 1),
    ],
)
def test_rows_must_lie_in_their_tar(dataset: Path, column: str, value: int) -> None:
    """A row that speaks of bytes which the tar has not, or of a clip of centuries, is damage."""
    path = dataset / "shards" / "video-000002.samples.npy"
    rows = npy_view(path.read_bytes()).copy()
    rows[column][1] = value
    path.write_bytes(npy_header(rows.dtype, rows.shape) + rows.tobytes())
    with pytest.raises(DamagedDataset, match="video-000002"):
        [sample.arrays for sample in open_dataset(dataset).samples("video")]
    with pytest.raises(DamagedDataset, match="video-000002"):
        list(TokenStream(dataset, tracks=["video"], epochs=1, window=2).samples())


def test_an_array_of_another_type_is_damage(dataset: Path) -> None:
    """Its bytes are as many as those that belong there, and mean something else."""
    path = dataset / "shards" / "video-000002.tar"
    data = path.read_bytes()
    assert b"'<i8'" in data
    path.write_bytes(data.replace(b"'<i8'", b"'|S8'"))
    with pytest.raises(DamagedDataset, match=r"video.*times"):
        [sample.arrays for sample in TokenStream(dataset, tracks=["video"], epochs=1, window=2).samples()]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("part", {"part": "0"}),
        ("layout", {"layout": []}),
        ("recording", {"id": "x" * 64}),
        ("recording", {"origin_ns": 2**70}),
        ("recording", {"about": 5}),
        ("task", {"clips": 5}),
        ("task", {"task": None}),
        ("task", {"kind": ["task"]}),
    ],
)
def test_a_plan_that_mistypes_is_named(dataset: Path, kind: str, change: Json) -> None:
    """Whoever reads it gets one of our errors, and `verify` tells what it is."""
    path = dataset / "plan" / "000000.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    next(line for line in lines if line["kind"] == kind).update(change)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(DamagedDataset, match=r"000000\.jsonl: a line (is )?of (unknown )?kind"):
        list(DatasetFolder(dataset).read_plan())
    assert "plan/000000.jsonl" in [problem.file for problem in verify_dataset(dataset)]
    assert repair_dataset(dataset).left


@pytest.mark.parametrize(
    "change",
    [
        {"recordings": [{"id": "x"}]},
        {"counts": {"saturated": {"video": "x"}}},
        {"failures": [{"cause": 5}]},
        {"shard": {"name": 5}},
    ],
)
def test_a_record_that_mistypes_is_named(dataset: Path, change: Json) -> None:
    """As a plan is."""
    path = dataset / "records" / "000002.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(DamagedDataset, match=r"000002\.json"):
        DatasetFolder(dataset).read_record(2)
    assert "records/000002.json" in [problem.file for problem in verify_dataset(dataset)]


def test_types_of_provenance_that_are_none_are_damage(dataset: Path) -> None:
    """A record says what types its shard's json has: a list has one type, an object a key at least."""
    path = dataset / "records" / "000002.json"
    wrong: list[Json] = [{"id": []}, {"id": "complex"}, {"tracks": {}}]
    for types in wrong:
        record = json.loads(path.read_bytes())
        record["shard"]["provenance"] = types
        path.write_text(json.dumps(record))
        with pytest.raises(DamagedDataset, match="as the types of its json"):
            DatasetFolder(dataset).finish()


def npy(header: str) -> bytes:
    """Return npy bytes with any text as their header."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    "header",
    [
        "-" * 60_000 + "1",
        "(" * 60_000,
        "{'descr': [], 'fortran_order': False, 'shape': (9,)}",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (9,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
        "[1]",
    ],
)
def test_hostile_npy_headers_are_bad(header: str) -> None:
    """Whatever stands in an npy's header, reading it gives an array or `BadNpy`."""
    with pytest.raises(BadNpy):
        npy_view(npy(header))


def test_an_npy_that_is_cut_off_is_bad() -> None:
    """An npy whose data end before they should, by the size that is said of it, is `BadNpy`."""
    whole = npy_header(np.dtype("<i8"), (4,)) + bytes(32)
    assert npy_view(whole).shape == (4,)
    with pytest.raises(BadNpy, match="8 bytes of it are missing"):
        npy_view(whole[:-8], 0, len(whole))


@pytest.mark.timeout(60)
def test_a_count_of_samples_is_no_amount_of_work(dataset: Path) -> None:
    """However many a manifest claims, `verify` looks at those that are there."""
    forge(dataset, lambda manifest: manifest["layouts"][0].update(samples=2**60))
    (dataset / "plan" / "000000.jsonl").write_bytes(b"{")  # so that it has to rely on the manifest
    assert verify_dataset(dataset)


@pytest.mark.parametrize("text", ['"\\ud800"', "NaN", "-Infinity", '"\udcff"'])
def test_json_that_we_could_not_write_is_damage(dataset: Path, text: str) -> None:
    """Half a surrogate pair, or what is no number, would go wrong later, where nobody knows why."""
    path = dataset / "records" / "000002.json"
    path.write_bytes(b'{"x":' + text.encode("utf-8", "surrogateescape") + b"}")
    with pytest.raises(DamagedDataset, match=r"000002\.json: not JSON"):
        DatasetFolder(dataset).read_record(2)


def test_json_may_be_nested_too_deeply(dataset: Path) -> None:
    """JSON that Python can't hold is damage, and no `RecursionError`."""
    (dataset / "records" / "000000.json").write_text("[" * 100_000)
    (dataset / "fifth.json").unlink()
    with pytest.raises(DamagedDataset, match="not JSON"):
        dataset_info(dataset)


@pytest.mark.parametrize(
    "change",
    [
        {"step": 10**30},
        {"taken": 5},
        {"taken": []},
        {"settings": None},
        {"datasets": {"x": {}}},
        {"ranks": 0},
    ],
)
def test_a_state_of_any_kind_is_refused(dataset: Path, change: Json) -> None:
    """What is no state of this stream raises `WrongState`."""
    stream = TokenStream(dataset, tracks=["video"])
    with pytest.raises(WrongState):
        stream.load_state_dict(stream.state_dict() | change)


@pytest.mark.parametrize(
    "change", [{"dtype": "float64"}, {"dtype": "x"}, {"sizes": []}, {"sizes": [-1]}, {"name": 1}]
)
def test_a_vocabulary_of_any_kind_is_refused(dataset: Path, tmp_path: Path, change: Json) -> None:
    """A vocabulary file in which a track is mistyped is damaged."""
    data = TokenStream(dataset, tracks=["video"]).packed(64).vocabulary.to_json()
    data["tracks"][0] |= change
    (tmp_path / "v.json").write_text(json.dumps(data))
    with pytest.raises(DamagedDataset):
        Vocabulary.load(tmp_path / "v.json")


def test_misfits_name_the_place() -> None:
    """A misfit says where it is, what was wanted and what came; booleans are no numbers."""
    shape = {"a": [{"b": COUNT, "c?": str}], "d": {str: int}}
    assert misfit({"a": [{"b": 1}], "d": {"x": 2}}, shape) == ""
    assert misfit({"a": [{"b": 1, "c": None}], "d": {}}, shape) == ""
    assert "a[1].b must be a whole number from 0" in misfit({"a": [{"b": 1}, {"b": True}], "d": {}}, shape)
    assert misfit({"a": []}, shape) == "d is missing"
    assert misfit({"a": [{"b": 1, "c": 2}], "d": {}}, shape) == "a[0].c must be str, not 2"
