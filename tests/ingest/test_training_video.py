"""`fifth train video` on made media: it learns, goes on where it stopped, and repeats itself."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from made_video import Pictures, write_video

from encoders import encode_clip, load_encoder, reconstruct_clip
from encoders.training import video_training
from encoders.training.video_books import BooksShape
from encoders.training.video_training import VideoTraining
from encoders.weight_files import weights_from
from ingest.cli import main
from ingest.errors import WrongUse
from ingest.training_media import picture_clips
from ingest.training_video import train_video

TINY = VideoTraining(BooksShape((4, 3), 24, 96, (4, 3), 16, 48, crops=24, rounds=2, seam_crops=16))
BRIEF = VideoTraining(BooksShape((2,), 12, 48, (2,), 12, 48, crops=8, rounds=1, seam_crops=4))
SMALL: dict[str, Any] = {"crop": 32, "size": 64, "quiet": True, "training": BRIEF}


def blobs(seed: int, index: int, width: int, height: int) -> np.ndarray:
    """Soft spots of colour on a slope, that move: uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    frame = np.repeat((60 + 100 * x / width)[..., None], 3, axis=2)
    for _ in range(4):
        colour, place, speed = (
            random.uniform(-80, 80, 3),
            random.uniform(0, width, 2),
            random.uniform(-3, 3, 2),
        )
        top, left = place + speed * index
        frame += np.exp(-((y - top) ** 2 + (x - left) ** 2) / 150)[..., None] * colour
    return frame.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five short videos and a picture."""
    folder = tmp_path_factory.mktemp("media")
    for seed in range(5):
        pictures = Pictures(frames=24, fps=Fraction(8), width=96, height=96, draw=partial(blobs, seed))
        write_video(folder / f"{seed}.mp4", pictures)
    cv2.imwrite(str(folder / "still.png"), blobs(9, 0, 160, 120))
    return folder


def test_clips_are_of_every_recording_and_picture(folder: Path) -> None:
    """Each video and each picture gives clips of the size asked for, always the same ones."""
    clips = list(picture_clips(folder, size=64, frames=16))
    assert {clip.source for clip in clips} == {*(f"{n}.mp4:video" for n in range(5)), "still.png"}
    assert {clip.frames.shape[1:] for clip in clips} == {(3, 64, 64)}
    assert max(len(clip.frames) for clip in clips) == 16
    again = list(picture_clips(folder, size=64, frames=16))
    assert all(np.array_equal(one.frames, other.frames) for one, other in zip(clips, again, strict=True))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    """There must be something to see, and crops must fit the blocks."""
    with pytest.raises(WrongUse, match="no recording with pictures"):
        train_video(tmp_path, tmp_path / "out.safetensors", **SMALL)
    with pytest.raises(WrongUse, match="multiple of 16"):
        train_video(tmp_path, tmp_path / "out.safetensors", crop=40)


class Stopped(Exception):
    """Stands in for a machine that goes down."""


def test_training_says_how_far_it_is_and_its_weights_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The books' errors fall, a score is told, a picture is drawn, and the file is an encoder's."""
    out = tmp_path / "video.safetensors"
    sha256 = train_video(folder, out, **(SMALL | {"quiet": False, "training": TINY}))
    told = capsys.readouterr().err
    errors = [float(number) for number in re.findall(r"book of video, stage 1, round .: .* (\S+)", told)]
    assert len(errors) == 2
    assert errors[1] <= errors[0]
    scores = re.search(r"held out: (\S+) / (\S+) dB", told)
    assert scores is not None
    assert float(scores[2]) > float(scores[1]) > 20
    assert f"sha256 {sha256}" in told
    picture = cv2.imread(str(tmp_path / "video.png"))
    assert picture is not None
    assert picture.shape[0] == 3 * 64
    assert weights_from(out).sha256 == sha256
    assert json.loads(weights_from(out).about["training"])["books"]["crops"] == 24
    clip = torch.from_numpy(next(picture_clips(folder, size=64)).frames)
    encoder = load_encoder("fifth-video", size=64, weights=str(out))
    made = encode_clip(encoder, clip)
    error = reconstruct_clip(encoder, made.tokens, made.valid).to(torch.float32) - clip
    assert float(error.square().mean()) < 200


@pytest.mark.parametrize(("part", "calls"), [("fit_book", 1), ("fit_mode_seams", 1)])
def test_a_stopped_run_goes_on_as_if_it_had_not(folder: Path, tmp_path: Path, part: str, calls: int) -> None:
    """Stopped before a book or before seams, and run again: the same bytes, and nothing is done twice."""
    whole = train_video(folder, tmp_path / "whole.safetensors", **SMALL)
    fit, done = getattr(video_training, part), 0

    def stopping(*arguments: Any) -> Any:
        nonlocal done
        if done == calls:
            raise Stopped
        done += 1
        return fit(*arguments)

    out = tmp_path / "stopped.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_training, part, stopping)
        with pytest.raises(Stopped):
            train_video(folder, out, **SMALL)
        assert not out.exists()
        done = -10
        assert train_video(folder, out, **SMALL) == whole
    assert done == -10 + 2 - calls


def test_the_state_of_another_run_is_refused(folder: Path, tmp_path: Path) -> None:
    """Other settings under the same name are not mixed; the message says which differ."""
    out = tmp_path / "video.safetensors"
    train_video(folder, out, **SMALL)
    with pytest.raises(Exception, match=r"another run .*seed 0 there, 1 now"):
        train_video(folder, out, seed=1, **SMALL)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """An empty folder is one line and exit code 2."""
    arguments = ["train", "video", "--data", str(tmp_path), "--out", str(tmp_path / "out.safetensors")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "no recording with pictures" in done.output
