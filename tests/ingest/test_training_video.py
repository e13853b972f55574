"""`fifth train video` on made media: it learns, goes on where it stopped, and repeats itself."""

from __future__ import annotations

import json
from dataclasses import replace
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
from encoders.training.video_training import Progress, VideoTraining
from encoders.video_network import VideoShape
from encoders.weight_files import weights_from
from ingest import training_video
from ingest.cli import main
from ingest.errors import WrongUse
from ingest.training_media import picture_clips
from ingest.training_video import train_video

TINY = VideoTraining(
    shape=VideoShape(
        (6, 4, 3), encoder_width=16, encoder_blocks=2, decoder_width=16, decoder_blocks=2, around=8
    ),
    rate=4e-3,
)
BRIEF = replace(TINY, shape=replace(TINY.shape, stages=1))
SMALL: dict[str, Any] = {"crop": 32, "size": 64, "batch": 2, "quiet": True, "training": BRIEF}


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


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start from few crops, and a state that is saved often."""
    monkeypatch.setattr(video_training, "SAVE_EVERY", 4)
    monkeypatch.setattr(video_training, "START_CROPS", 16)


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


@pytest.mark.slow
def test_training_makes_the_loss_fall_and_the_weights_work(folder: Path, tmp_path: Path) -> None:
    """The last steps lose less than the first, a picture is drawn, and the file is an encoder's."""
    told: list[Progress] = []
    line = training_video.progress_line

    def hear(progress: Progress) -> str:
        told.append(progress)
        return line(progress)

    out = tmp_path / "video.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_video, "progress_line", hear)
        sha256 = train_video(folder, out, steps=120, **(SMALL | {"quiet": False, "training": TINY}))
    losses = [progress.loss for progress in told if not progress.held_out_db]
    assert losses[-1] < losses[0] - 0.02
    scores = [progress.held_out_db for progress in told if progress.held_out_db]
    assert len(scores[-1]) == 2
    assert scores[-1][0] > scores[0][0] + 0.5
    picture = cv2.imread(str(tmp_path / "video-000120.png"))
    assert picture is not None
    assert picture.shape[0] == 3 * 64
    assert weights_from(out).sha256 == sha256
    assert json.loads(weights_from(out).about["training"])["steps"] == 120
    clip = torch.from_numpy(next(picture_clips(folder, size=64)).frames)
    encoder = load_encoder("fifth-video", size=64, weights=str(out))
    made = encode_clip(encoder, clip)
    error = reconstruct_clip(encoder, made.tokens, made.valid).to(torch.float32) - clip
    assert float(error.square().mean()) < 200


class Stopped(Exception):
    """Stands in for a machine that goes down."""


def stop_at(step: int) -> object:
    """Return a step of training that fails there."""
    whole = video_training._step

    def stopping(state: object, *rest: object) -> float:
        if state.step == step:  # type: ignore[attr-defined]
            raise Stopped
        return whole(state, *rest)  # type: ignore[arg-type]

    return stopping


@pytest.mark.parametrize("stop", [6, 18], ids=["plateau", "decay"])
def test_a_stopped_run_goes_on_as_if_it_had_not(folder: Path, tmp_path: Path, stop: int) -> None:
    """Stopped on the plateau or in the decay, and run again: the same bytes as in one go."""
    whole = train_video(folder, tmp_path / "whole.safetensors", steps=20, **SMALL)
    out = tmp_path / "stopped.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_training, "_step", stop_at(stop))
        with pytest.raises(Stopped):
            train_video(folder, out, steps=20, **SMALL)
    assert not out.exists()
    assert train_video(folder, out, steps=20, **SMALL) == whole


def test_a_finished_run_may_be_made_longer(folder: Path, tmp_path: Path) -> None:
    """More steps go on from where the decay began: the same bytes as a long run from the start."""
    out = tmp_path / "longer.safetensors"
    train_video(folder, out, steps=10, **SMALL)
    longer = train_video(folder, out, steps=20, **SMALL)
    assert longer == train_video(folder, tmp_path / "at-once.safetensors", steps=20, **SMALL)


def test_the_state_of_another_run_is_refused(folder: Path, tmp_path: Path) -> None:
    """Other settings under the same name are not mixed; the message says which differ."""
    out = tmp_path / "video.safetensors"
    train_video(folder, out, steps=4, **SMALL)
    with pytest.raises(Exception, match=r"another run .*seed 0 there, 1 now"):
        train_video(folder, out, steps=8, seed=1, **SMALL)
    other = SMALL | {"training": replace(BRIEF, rate=1e-3)}
    with pytest.raises(Exception, match=r"rate 0\.004 there, 0\.001 now"):
        train_video(folder, out, steps=8, **other)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """An empty folder is one line and exit code 2."""
    arguments = ["train", "video", "--data", str(tmp_path), "--out", str(tmp_path / "out.safetensors")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "no recording with pictures" in done.output
