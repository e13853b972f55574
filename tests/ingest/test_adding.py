"""`fifth add`: one more encoder beside a finished dataset that stays as it is."""

from __future__ import annotations

import shutil
import tarfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from made_runs import hashes

from ingest.adding import Addition, add_encoder
from ingest.cli import main
from ingest.configuration import Settings
from ingest.errors import WrongUse
from ingest.pipeline import Run, shard_recordings
from ingest.reconstruction import reconstruct_sample
from shards import TokenStream, dataset_info, open_dataset, verify_dataset

COMMON: dict[str, Any] = {"clip_seconds": Fraction(1), "fps": Fraction(4), "size": 64, "device": "cpu"}
JPEG = Addition("pictures", "jpeg@quality=40")
DCT = Addition("pictures", "frames-dct@tokens=4,size=32,as=small")


def add(videos: Path, dataset: Path, addition: Addition = DCT) -> Run:
    return add_encoder([videos], dataset, addition, workers=0, device="cpu")[0]


@pytest.fixture
def videos(tmp_path: Path, card_mp4: Path, card_vfr_mp4: Path, tone_wav: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(card_mp4, folder / "a.mp4")
    shutil.copy(card_vfr_mp4, folder / "b.mp4")
    shutil.copy(tone_wav, folder / "c.wav")
    return folder


@pytest.fixture
def dataset(videos: Path, tmp_path: Path) -> Path:
    """Two layouts: video, and audio."""
    run = shard_recordings([videos], tmp_path / "out", Settings(**COMMON), workers=0)
    assert run.unfinished == []
    return tmp_path / "out"


def test_nothing_that_is_there_changes(videos: Path, dataset: Path) -> None:
    """Not a byte of the dataset changes; what was added lies in a dataset of its own, and both verify."""
    before = hashes(dataset, without="added")
    run = add(videos, dataset)
    assert run.unfinished == []
    assert hashes(dataset, without="added") == before
    assert verify_dataset(dataset) == []
    assert verify_dataset(dataset / "added" / "small") == []
    added = dataset_info(dataset)["added"]
    assert [(entry["name"], entry["joined"]) for entry in added] == [("small", True)]


def test_samples_are_joined(videos: Path, dataset: Path, tmp_path: Path) -> None:
    """Joined samples are those of a dataset that was made with both encoders at once."""
    add(videos, dataset)
    both = "auto,frames-dct@tokens=4,size=32,as=small"
    shard_recordings([videos], tmp_path / "both", Settings(**COMMON, video=both), workers=0)
    joined, wanted = open_dataset(dataset), open_dataset(tmp_path / "both")
    count = 0
    for sample in wanted.samples():
        found = joined.sample(sample.key)
        assert found.arrays.keys() == sample.arrays.keys()
        for name, array in sample.arrays.items():
            assert np.array_equal(found.arrays[name], array)
        assert (found.tokens, found.valid) == (sample.tokens, sample.valid)
        assert found.provenance == sample.provenance
        assert found.raw("json") != b""
        count += 1
    assert count == len(list(joined.samples())) > 3


def test_streams_read_both(videos: Path, dataset: Path) -> None:
    """Batches, packed rows and single samples have the added track beside the dataset's own."""
    add(videos, dataset)
    stream = TokenStream(dataset, tracks=["video", "video_small"], global_batch=2, epochs=1)
    batch = next(iter(stream.batches()))
    assert batch["video.tokens"].shape[1:] == (2, 8, 8)
    assert batch["video_small.tokens"].shape[1:] == (4, 2, 2, 4)
    for sample in stream.samples():
        direct = open_dataset(dataset).sample(sample.key)
        assert np.array_equal(sample.arrays["video_small.tokens"], direct.arrays["video_small.tokens"])
        assert sample.tokens == direct.tokens
        assert sample.tokens["video_small"] == sample.arrays["video_small.tokens"].size
    pairs = TokenStream(dataset, tracks=["video_small"], global_batch=1, epochs=1, window=2)
    assert max(sample.arrays["video_small.tokens"].shape[0] for sample in pairs.samples()) == 8
    row = next(iter(stream.packed(256)))
    assert row["tokens"].shape == (2, 256)
    assert {track.name for track in stream.packed(256).vocabulary.tracks} == {"video", "video_small"}


def test_tokens_lead_back_and_other_readers_see_them(videos: Path, dataset: Path) -> None:
    """`reconstruct` gives the added track, and any reader of tars reads the addition under the same keys."""
    add(videos, dataset)
    key = next(open_dataset(dataset).samples("video")).key
    back = reconstruct_sample(dataset, key)
    assert back["video_small"].media.shape == (4, 3, 32, 32)
    keys = set()
    for tar in (dataset / "added" / "small" / "shards").glob("*.tar"):
        with tarfile.open(tar) as file:
            keys |= {name.partition(".")[0] for name in file.getnames()}
    assert keys == {sample.key for sample in open_dataset(dataset).samples("video")}


def test_it_goes_on_where_it_was_and_follows_the_dataset(videos: Path, dataset: Path, tmp_path: Path) -> None:
    """A second run does nothing; a lost record is made again to the same bytes; new recordings are added."""
    add(videos, dataset)
    inside = dataset / "added" / "small"
    before = hashes(inside)
    assert add(videos, dataset).tasks_run == 0
    next((inside / "records").iterdir()).unlink()
    assert add(videos, dataset).tasks_run == 1
    assert hashes(inside) == before
    shutil.copy(videos / "a.mp4", videos / "d.mp4")
    with (videos / "d.mp4").open("ab") as file:
        file.write(b"\0\0\0\x08free")
    shard_recordings([videos], dataset, Settings(**COMMON), workers=0)
    stale = open_dataset(dataset)
    assert stale.additions == []
    assert "the dataset has grown" in str(stale.not_joined[0])
    assert any("the dataset has grown" in str(problem) for problem in verify_dataset(dataset))
    assert add(videos, dataset).tasks_run == 1
    assert verify_dataset(dataset) == []
    assert all("video_small.tokens" in s.arrays for s in open_dataset(dataset).samples("video"))


def test_recordings_are_found_by_their_content(videos: Path, dataset: Path, tmp_path: Path) -> None:
    """Under other names, in another folder, they are the same; one that is missing is named."""
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.copy(videos / "a.mp4", moved / "one.mp4")
    run = add(moved, dataset)
    assert len(run.unfinished) == 1
    assert "the inputs given do not hold b.mp4" in run.unfinished[0]
    assert open_dataset(dataset).additions == []
    shutil.copy(videos / "b.mp4", moved / "two.mp4")
    assert add(moved, dataset).unfinished == []
    assert verify_dataset(dataset) == []


def test_ragged_tokens_can_be_added(videos: Path, dataset: Path) -> None:
    """Encoders of bytes bring their offsets along, and several additions are joined."""
    add(videos, dataset, JPEG)
    add(videos, dataset)
    assert verify_dataset(dataset) == []
    sample = next(open_dataset(dataset).samples("video"))
    assert {"video.tokens", "video_jpeg.tokens", "video_jpeg.offsets", "video_small.tokens"} <= set(
        sample.arrays
    )


def test_what_can_not_be_added_is_said(videos: Path, dataset: Path) -> None:
    """A medium that no recording has, a slug that is taken, and lists are refused."""
    with pytest.raises(WrongUse, match="no recording has a track for --signals"):
        add(videos, dataset, Addition("signal", "bins-255"))
    with pytest.raises(WrongUse, match="add one encoder at a time"):
        add(videos, dataset, Addition("pictures", "jpeg,frames-dct"))
    assert open_dataset(dataset).not_joined == []


def test_damage_in_an_addition_is_found(videos: Path, dataset: Path) -> None:
    """`verify` reads additions as well, and names the file."""
    add(videos, dataset)
    tar = next((dataset / "added" / "small" / "shards").glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 255
    tar.write_bytes(data)
    assert any(str(p).startswith(f"added/small/shards/{tar.name}") for p in verify_dataset(dataset))


def test_the_command_adds(videos: Path, dataset: Path) -> None:
    """`fifth add` says where it is, `fifth info` lists it; wrong use is one line."""
    runner = CliRunner()
    done = runner.invoke(
        main,
        ["add", str(videos), str(dataset), "--video", "jpeg", "--workers", "0", "--device", "cpu", "--quiet"],
    )
    assert done.exit_code == 0, done.output
    assert "added/jpeg" in done.output
    assert "added/jpeg: video_jpeg" in runner.invoke(main, ["info", str(dataset)]).output
    assert runner.invoke(main, ["add", str(videos), str(dataset)]).exit_code == 2
