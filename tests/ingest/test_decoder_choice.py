"""Choosing a decoder: resolved once, kept with the dataset, refused in words where it can't be had."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from made_video import Pictures, write_video

from ingest import decoder_choice
from ingest.cli import main
from ingest.configuration import Settings, resolve
from ingest.decoder_choice import resolve_decoder
from ingest.decoders.backends import DECODERS, version_of, versions_behind, why_missing
from ingest.errors import ConfigurationChanged, WrongUse
from ingest.pipeline import shard_recordings
from shards import open_dataset

SMALL: dict[str, Any] = {"clip_seconds": Fraction(1), "fps": Fraction(4), "size": 64, "audio": "none"}


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has the reference and nothing else."""
    monkeypatch.setattr(decoder_choice, "why_missing", lambda name: "" if name == "av" else "it is not here")


@pytest.mark.usefixtures("lacking")
def test_auto_is_the_reference_and_then_what_the_dataset_has() -> None:
    """Also on a machine that has more; and a dataset's decoder is not left without a word."""
    assert resolve_decoder("auto") == "av"
    assert resolve_decoder("auto", "av") == "av"
    with pytest.raises(WrongUse, match="made with --decoder decord, which this machine can't use: it"):
        resolve_decoder("auto", "decord")


@pytest.mark.usefixtures("lacking")
def test_a_decoder_that_is_not_here_is_refused_with_what_is() -> None:
    """The cause, and a way out."""
    with pytest.raises(
        WrongUse, match=r"^--decoder nvdec: it is not here\. --decoder av works everywhere\.$"
    ):
        resolve_decoder("nvdec")
    with pytest.raises(
        WrongUse, match=r"^--decoder must be auto, av, decord, opencv, torchcodec, nvdec, got 'x'$"
    ):
        resolve_decoder("x")


def test_what_is_missing_is_said() -> None:
    """The reference is always there; of the GPU it is said which part lacks, unless nothing does."""
    assert why_missing("av") == ""
    assert version_of("av")
    parts = (
        "this build of torch has no CUDA",
        "no CUDA device",
        "libnvcuvid",
        "PyAV has no CUDA",
    )
    assert not why_missing("nvdec") or any(part in why_missing("nvdec") for part in parts)


def test_the_versions_behind_a_decoder_are_known() -> None:
    """Torchcodec takes the machine's FFmpeg: which one, decides about its frames."""
    assert versions_behind("av") == versions_behind("opencv") == {}
    for name, keys in (("decord", ["decord"]), ("torchcodec", ["ffmpeg", "torchcodec"])):
        if not why_missing(name):
            assert sorted(versions_behind(name)) == keys
            assert all(version[0].isdigit() for version in versions_behind(name).values())


def test_the_decoder_stands_in_the_configuration() -> None:
    """As it was resolved, never `auto`."""
    assert resolve(Settings(**SMALL))[0].data["decoder"] == "av"
    assert resolve(Settings(**SMALL, decoder="opencv"))[0].data["decoder"] == "opencv"


def test_a_dataset_keeps_its_decoder(tmp_path: Path) -> None:
    """`auto` goes on with it, another one is refused; samples say who decoded, notes say why."""
    inputs = tmp_path / "videos"
    inputs.mkdir()
    write_video(inputs / "plain.mp4", Pictures(frames=24))
    write_video(inputs / "deep.mp4", Pictures(frames=24, pixel_format="yuv420p10le"))
    dataset = tmp_path / "dataset"
    shard_recordings([inputs], dataset, Settings(**SMALL, decoder="opencv"), workers=0)
    samples = {s.provenance["recording"]: s for s in open_dataset(dataset).samples()}
    decoders = {name: s.provenance["tracks"]["video"]["decoder"] for name, s in samples.items()}
    assert decoders == {"plain.mp4": "opencv", "deep.mp4": "av"}
    plan = [json.loads(line) for line in (dataset / "plan" / "000000.jsonl").read_text().splitlines()]
    notes = [line["cause"] for line in plan if line["kind"] == "note" and line["recording"] == "deep.mp4"]
    assert notes == ["opencv can't be used: it makes 8-bit RGB of yuv420p10le in its own way; decoded by av"]
    write_video(inputs / "new.mp4", Pictures(frames=12))
    shard_recordings([inputs], dataset, Settings(**SMALL), workers=0)
    again = [s.provenance for s in open_dataset(dataset).samples() if s.provenance["recording"] == "new.mp4"]
    assert {entry["tracks"]["video"]["decoder"] for entry in again} == {"opencv"}
    with pytest.raises(ConfigurationChanged, match="decoder: opencv there, av now"):
        shard_recordings([inputs], dataset, Settings(**SMALL, decoder="av"), workers=0)


def test_how_pictures_were_understood_stands_in_the_sample(tmp_path: Path) -> None:
    """Decoder, matrix, range, transfer, weaved fields, beside what is stored and how it lies."""
    path = write_video(
        tmp_path / "tall.mp4", Pictures(frames=12, pixel_format="yuvj420p", rotation=90, mirrored=True)
    )
    shard_recordings([path], tmp_path / "dataset", Settings(**SMALL), workers=0)
    (sample,) = open_dataset(tmp_path / "dataset").samples()
    told = sample.provenance["tracks"]["video"]
    expected = {
        "decoder": "av", "codec": "h264", "pixel_format": "yuvj420p", "source_width": 320,
        "source_height": 192,
        "matrix": "bt601", "range": "full", "transfer": "sdr", "interlaced": False, "rotation": 90,
        "mirrored": True, "sample_aspect": "1", "fit": "crop",
    }  # fmt: skip
    assert {key: told[key] for key in expected} == expected


def test_all_decoders_are_compared(card_mp4: Path) -> None:
    """One row each: the reference is itself, the others are near or say why not."""
    done = CliRunner().invoke(main, ["probe", "--decoders", "--json", str(card_mp4)])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    (track,) = found["tracks"]
    assert (track["codec"], track["width"], track["height"]) == ("h264", 320, 192)
    rows = {row["name"]: row for row in track["decoders"]}
    assert tuple(rows) == DECODERS
    assert (rows["av"]["equal_share"], rows["av"]["worst_psnr_db"]) == (1.0, 100.0)
    for name, row in rows.items():
        if why_missing(name):
            assert row["why_not"] == why_missing(name)
        else:
            assert row["frames"] == 16
            assert row["equal_share"] == 1.0
            assert row["worst_psnr_db"] >= found["least_psnr_db"]
            assert row["frames_per_second"] > 0
    table = CliRunner().invoke(main, ["probe", "--decoders", str(card_mp4)]).output
    assert "decoder" in table
    assert table.count("100%") == sum(not row["why_not"] for row in rows.values())


def test_what_has_no_pictures_is_not_compared(tone_wav: Path) -> None:
    """One line, and exit code 1."""
    done = CliRunner().invoke(main, ["probe", "--decoders", str(tone_wav)])
    assert done.exit_code == 1
    assert done.stderr == "fifth: it has no picture tracks, so there is nothing to compare\n"
