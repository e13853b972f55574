"""`fifth evaluate`: figures that are right, curves that are read right, a table and a picture."""

from __future__ import annotations

import json
from fractions import Fraction
from math import log2
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from made_video import Pictures, write_video

from encoders import load_encoder
from ingest import evaluating_pictures
from ingest.cli import main
from ingest.evaluating_pictures import Entropy, PictureFigures, at_equal_bits, resized
from ingest.reference_codecs import through_h264, through_jpeg


def figures(bits_per_pixel: float, psnr_db: float) -> PictureFigures:
    return PictureFigures("some", bits_per_pixel, bits_per_pixel, psnr_db, 0.9, 0.9)


def slope(frames: int = 8, edge: int = 64) -> np.ndarray:
    """A soft pattern that moves: uint8 [T, 3, edge, edge]."""
    y, x = np.mgrid[0:edge, 0:edge]
    waves = [128 + 60 * np.sin((x + 2 * k) / 9) + 50 * np.cos(y / 7) for k in range(frames)]
    return np.repeat(np.stack(waves)[:, None], 3, axis=1).clip(0, 255).astype(np.uint8)


def test_a_curve_is_read_between_its_points() -> None:
    """Half way in the logarithm of the rate is half way in dB; outside there is nothing."""
    curve = [figures(0.4, 34.0), figures(0.1, 30.0)]
    assert at_equal_bits(curve, 0.2) == pytest.approx(32.0)
    assert at_equal_bits(curve, 0.1) == pytest.approx(30.0)
    assert at_equal_bits(curve, 0.09) is None
    assert at_equal_bits(curve, 0.41) is None


def test_entropy_is_that_of_the_counts() -> None:
    """Codes that are all equal cost nothing; four that are equally frequent cost two bits each."""
    encoder = load_encoder("frames-dct", size=16, tokens=4)
    same, mixed = Entropy(), Entropy()
    same.add(encoder, np.full((8, 1, 1, 4), 7, np.uint16))
    assert same.bits() == 0
    mixed.add(
        encoder, np.arange(8, dtype=np.uint16)[:, None, None, None] % 4 * np.ones((1, 1, 1, 4), np.uint16)
    )
    assert mixed.bits() == pytest.approx(8 * 4 * log2(4))


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_codecs_get_better_with_more_bits(codec: str) -> None:
    """The better quality takes more bytes and loses less, and all frames come back in their place."""
    frames = slope()
    if codec == "jpeg":
        poor, good = through_jpeg(frames, 5), through_jpeg(frames, 90)
    else:
        poor, good = through_h264(frames, 45, 8), through_h264(frames, 20, 8)
    errors = [np.mean((back.astype(float) - frames) ** 2) for _, back in (poor, good)]
    assert good[0] > poor[0]
    assert errors[1] < errors[0]
    assert errors[1] < 10


def test_scaling_keeps_the_mean() -> None:
    """Down by area and up again, a soft picture is nearly the same."""
    frames = slope(edge=256)
    assert resized(frames, 256) is frames
    back = resized(resized(frames, 128), 256)
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).mean() < 2


def test_the_command_prints_a_table_and_draws_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every variant of the encoder is in the table, in the JSON and in the picture."""
    monkeypatch.setattr(evaluating_pictures, "JPEG_QUALITIES", (10, 60))
    monkeypatch.setattr(evaluating_pictures, "H264_QUALITIES", (40, 25))
    monkeypatch.setattr(evaluating_pictures, "CLIPS_OF_EACH", 1)
    monkeypatch.setattr(evaluating_pictures, "FRAMES", 2)
    few = {"frames-dct": evaluating_pictures.VARIANTS["frames-dct"][:3:2]}
    monkeypatch.setattr(evaluating_pictures, "VARIANTS", few)
    write_video(tmp_path / "card.mp4", Pictures(frames=8, fps=Fraction(8), width=256, height=256))
    asked = ["evaluate", "--data", str(tmp_path), "--encoder", "frames-dct"]
    done = CliRunner().invoke(main, [*asked, "--json", "--picture", str(tmp_path / "copies.png")])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)["pictures"]
    labels = [entry["label"] for entry in found["measured"]]
    assert labels[0] == "frames-dct, tokens=4 at 128"
    assert [entry["bits_per_pixel"] for entry in found["measured"]] == [0.0625, 0.25]
    sharpest = max(found["measured"], key=lambda entry: entry["bits_per_pixel"])
    assert sharpest["psnr_db"] == max(entry["psnr_db"] for entry in found["measured"])
    assert sharpest["entropy_bits_per_pixel"] <= sharpest["bits_per_pixel"]
    picture = cv2.imread(str(tmp_path / "copies.png"))
    assert picture is not None
    assert picture.shape[1] == 256 * (1 + len(labels))
    table = evaluating_pictures.pictures_table(found)
    assert all(label in table for label in labels)


def test_what_is_not_judged_is_refused(tmp_path: Path) -> None:
    """An encoder of a medium without a judge is wrong use; the message says which media there are."""
    done = CliRunner().invoke(main, ["evaluate", "--data", str(tmp_path), "--encoder", "depth-log"])
    assert done.exit_code == 2
    assert "depth-log takes depth, which is not judged" in done.output
