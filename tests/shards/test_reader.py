"""Reading a dataset back through its rows."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from made_dataset import (
    ORIGIN_NS,
    TASKS,
    VIDEO,
    Made,
    Task,
    content_id,
    make_sample,
    recording_line,
    run_task,
    write_part,
)

from shards import (
    DamagedDataset,
    DatasetFolder,
    Sample,
    UnknownName,
    open_dataset,
    parse_key,
    recording_number,
    sample_key,
)


def all_made() -> list[Made]:
    """Every sample of the made dataset, in the order of its tasks."""
    return [
        make_sample(task.layout, recording, clip)
        for task in TASKS.values()
        for recording, clips in task.clips.items()
        for clip in clips
    ]


def assert_same(sample: Sample, made: Made) -> None:
    assert sample.key == made.key
    assert (sample.start_ns, sample.stop_ns) == (made.span["start_ns"], made.span["stop_ns"])
    assert (sample.tokens, sample.valid) == (made.tokens, made.valid)
    assert sample.provenance == made.members["json"]
    given = made.members.items()
    arrays = {name.removesuffix(".npy"): value for name, value in given if name.endswith(".npy")}
    assert sample.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (sample.arrays[name].dtype, sample.arrays[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(sample.arrays[name], array, equal_nan=array.dtype.kind == "f")
    text = {name.removesuffix(".txt"): value for name, value in given if name.endswith(".txt")}
    assert sample.text == text


def test_all_samples_come_back_in_order(finished: Path) -> None:
    """What was written, as it was written: arrays, text, provenance, counts."""
    dataset = open_dataset(finished)
    for sample, made in zip(dataset.samples(), all_made(), strict=True):
        assert_same(sample, made)


def test_one_layout_can_be_read_alone(finished: Path) -> None:
    """Also where another layout's name begins with it."""
    dataset = open_dataset(finished)
    assert {sample.layout for sample in dataset.samples("video")} == {"video"}
    assert len(list(dataset.samples("video"))) == 4
    assert [shard.name for shard in dataset.shards("video-audio")] == [
        "video-audio-000000",
        "video-audio-000001",
    ]
    with pytest.raises(UnknownName, match="no layout 'vide'; it has video-audio, video"):
        list(dataset.samples("vide"))


def test_every_sample_is_found_by_its_key(finished: Path) -> None:
    """Whichever shard it is in, also where a duplicate of its recording is listed."""
    dataset = open_dataset(finished)
    for made in all_made():
        assert_same(dataset.sample(made.key), made)


def test_finding_a_sample_reads_no_tar(dataset: Path) -> None:
    """The key leads through the table of recordings and the rows; the tar is not even there."""
    opened = open_dataset(dataset)
    for tar in (dataset / "shards").glob("*.tar"):
        tar.write_bytes(b"\0" * tar.stat().st_size)
    made = all_made()[8]
    assert opened.sample(made.key).start_ns == made.span["start_ns"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("front.mp4", "no sample 'front.mp4'; it has [0-9a-f]{16}_[0-9]{19}, .* …"),
        ("0" * 16 + "_" + "0" * 19, "no sample '0000000000000000_0000000000000000000'; it has [0-9a-f]{16}_"),
        (
            sample_key(recording_number(content_id("b.bag")), 3_400_000_000),
            f"the nearest of its recording is {content_id('b.bag')[:16]}_0000000003000000000",
        ),
        (
            sample_key(recording_number(content_id("b.bag")), 10**18),
            f"the nearest of its recording is {content_id('b.bag')[:16]}_0000000008000000000",
        ),
    ],
)
def test_a_key_that_is_not_there_gets_some_that_are(finished: Path, key: str, message: str) -> None:
    """The nearest in time of the same recording, or the first of the dataset."""
    with pytest.raises(UnknownName, match=message):
        open_dataset(finished).sample(key)


def test_a_recording_named_like_an_id_does_not_lead_astray(tmp_path: Path) -> None:
    """The table is searched as bytes; a hostile name in it is not taken for an id."""
    folder = DatasetFolder(tmp_path / "dataset")
    folder.create()
    task = Task(VIDEO, {f'x","id":"{content_id("b.mp4")}': range(2), "b.mp4": range(2)})
    write_part(folder, {0: task})
    run_task(folder, 0, task)
    folder.finish()
    made = make_sample(VIDEO, "b.mp4", 1)
    assert_same(open_dataset(folder.path).sample(made.key), made)


def test_an_empty_dataset_has_no_samples(tmp_path: Path) -> None:
    """And says so when asked for one."""
    folder = DatasetFolder(tmp_path / "dataset")
    folder.create()
    write_part(folder, {}, [recording_line("a.mp4", status="failed")])
    folder.finish()
    dataset = open_dataset(folder.path)
    assert list(dataset.samples()) == []
    with pytest.raises(UnknownName, match="it has no samples"):
        dataset.sample(sample_key(0, 0))


def test_arrays_are_views_that_outlive_their_dataset(finished: Path) -> None:
    """Nothing is copied; nothing can be written to; and an array alone keeps what it needs."""
    made = all_made()[1]
    array = open_dataset(finished).sample(made.key).arrays["video.tokens"]
    gc.collect()
    assert not array.flags.owndata
    assert not array.flags.writeable
    assert np.array_equal(array, made.members["video.tokens.npy"])


def test_reading_all_shards_holds_few_open(dataset: Path) -> None:
    """Once read, a shard's files are let go."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("the system does not tell which files are mapped")
    assert sum(len(sample.arrays) for sample in open_dataset(dataset).samples()) > 18
    gc.collect()
    assert str(dataset) not in Path("/proc/self/maps").read_text()
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(dataset) in os.path.realpath(link)]


def test_a_shard_is_a_sequence_of_samples(finished: Path) -> None:
    """By number, from either end, and by its rows."""
    shard = next(open_dataset(finished).shards())
    assert len(shard) == 7
    assert shard.sample(-1).key == list(shard)[-1].key
    assert shard.rows["start_ns"][0] == ORIGIN_NS
    with pytest.raises(IndexError):
        shard.sample(7)


def test_specs_are_what_was_planned(finished: Path) -> None:
    """Per layout and track; empty for text."""
    dataset = open_dataset(finished)
    assert dataset.spec("video", "video") == VIDEO["tracks"][0]["spec"]
    assert dataset.spec("video-audio", "subs") == {}
    with pytest.raises(UnknownName, match=r"layout 'video' has no track 'audio'; it has \['video'\]"):
        dataset.spec("video", "audio")
    assert dataset.layouts["video-audio"].member("joints.values.npy").describe() == "float32 [?, 3]"
    with pytest.raises(UnknownName, match="no member 'x'"):
        dataset.layouts["video"].member("x")


def test_a_repr_shows_shapes(finished: Path) -> None:
    """And no codes."""
    sample = list(open_dataset(finished).samples("video"))[1]
    shapes = "{'video.tokens': 'uint16 [2, 4, 4]', 'video.times': 'int64 [2]'}"
    assert repr(sample) == f"Sample({sample.key}, video, {shapes})"


def test_a_changed_table_is_refused(dataset: Path) -> None:
    """What names the shards must be what the manifest says."""
    table = dataset / "tables" / "shards.jsonl"
    table.write_bytes(table.read_bytes().replace(b"video-000002", b"video-000003"))
    with pytest.raises(DamagedDataset, match=r"shards.jsonl: not the table that the manifest names"):
        open_dataset(dataset)


def test_keys_lead_back() -> None:
    """A key holds recording and offset; other texts are no keys."""
    key = sample_key(recording_number("ab" * 32), 5_000_000_000)
    assert key == "abababababababab_0000000005000000000"
    assert parse_key(key) == (0xABABABABABABABAB, 5_000_000_000)
    assert parse_key(key.upper()) is None
    assert parse_key(key + "0") is None
    for values in ((-1, 0), (2**64, 0), (0, -1), (0, 10**19)):
        with pytest.raises(ValueError, match="must fit uint64"):
            sample_key(*values)
