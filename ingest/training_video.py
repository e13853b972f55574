"""`fifth train video`: the parts of `fifth-video` fitted to clips of a folder, scored and drawn."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import click
import numpy as np
import torch

from encoders.training.video_training import VideoTraining, score, train_video_model
from encoders.video_model import MODES, VideoModel, about_model, model_tensors
from encoders.weight_files import write_weights
from ingest.errors import WrongUse
from ingest.training_media import TrainingClip, picture_clips

HELD_OUT_SHARE = 10
"""Without a folder to score on, every tenth recording is held out."""
MOST_HELD_OUT = 16
SHOWN = 4
FRAMES = 16
"""Of a clip in memory: two seconds, of which a chunk is one, or every other frame of both."""


def train_video(
    data: Path,
    out: Path,
    held_out: Path | None = None,
    seed: int = 0,
    crop: int = 128,
    size: int = 256,
    quiet: bool = False,
    training: VideoTraining | None = None,
) -> str:
    """Fit to all recordings and pictures below a folder, and write the weights.

    Beside OUT stand its state (`.state`: the parts that are done, to go on from) and a picture: originals
    above what comes back of them.

    Args:
        data: the folder.
        out: the .safetensors file.
        held_out: a folder to score on; None: every tenth source of `data` is held out.
        seed: of all that is drawn.
        crop: edge of a crop, in pixels; a multiple of 16.
        size: edge to which frames are scaled, in pixels.
        quiet: whether to say nothing.
        training: other settings than the default ones.

    Returns:
        The sha256 of the weights' file.

    Raises:
        WrongUse: sizes that don't fit, or nothing to train on.
        WrongSetting: OUT has the state of a run with other settings or other clips.
    """
    if crop % 16 or not 16 <= crop <= size:
        raise WrongUse(f"--crop must be a multiple of 16 from 16 to {size}, got {crop}")

    def say(line: str) -> None:
        if not quiet:
            click.echo(f"fifth: {line}", err=True)

    torch.set_num_threads(1)  # sums in another order are other weights
    seen, scored = _clips(data, held_out, size)
    sources = len({clip.source for clip in seen})
    say(f"{len(seen)} clips of {sources} sources; {len(scored)} chunks to score on")
    told = replace(training or VideoTraining(), edge=crop, seed=seed, clips_sha256=_digest(seen))
    model = train_video_model(
        told, [torch.from_numpy(clip.frames) for clip in seen], out.with_name(out.name + ".state"), say
    )
    chunks = [torch.from_numpy(clip.frames) for clip in scored]
    say("held out: " + " / ".join(f"{db:.2f}" for db in score(model, chunks)) + " dB")
    _draw(model, chunks[:SHOWN], out.with_suffix(".png"))
    about = about_model() | {"training": json.dumps(asdict(told), sort_keys=True)}
    sha256 = write_weights(out, model_tensors(model), about)
    say(f"{out}: sha256 {sha256}")
    return sha256


def _clips(data: Path, held_out: Path | None, size: int) -> tuple[list[TrainingClip], list[TrainingClip]]:
    """Return clips to train on and chunks to score on; no source is in both."""
    seen = list(picture_clips(data, size, frames=FRAMES))
    if held_out is None:
        sources = sorted({clip.source for clip in seen})
        apart = set(sources[HELD_OUT_SHARE // 2 :: HELD_OUT_SHARE])
        others = [clip for clip in seen if clip.source in apart]
        seen = [clip for clip in seen if clip.source not in apart]
    else:
        others = list(picture_clips(held_out, size, frames=MODES["video"], most_of_each=2))
    whole = [clip for clip in others if len(clip.frames) >= MODES["video"]]
    step = max(1, len(whole) // MOST_HELD_OUT)
    scored = [TrainingClip(clip.source, clip.frames[: MODES["video"]]) for clip in whole[::step]]
    return seen, scored[:MOST_HELD_OUT]


def _digest(clips: list[TrainingClip]) -> str:
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(clip.frames.tobytes())
    return digest.hexdigest()


def _draw(model: VideoModel, chunks: list[torch.Tensor], path: Path) -> None:
    """Write a picture: the middle frame of each chunk, and below it what comes back of 1, 2, ... stages."""
    import cv2

    if not chunks:
        return
    columns = []
    for chunk in chunks:
        middle = len(chunk) // 2
        codes = model.codes("video", chunk[None], model.stages)
        backs = [model.frames("video", codes[..., : stage + 1])[0] for stage in range(model.stages)]
        columns.append(torch.cat([frames[middle] for frames in (chunk, *backs)], dim=1))
    picture = torch.cat(columns, dim=2).permute(1, 2, 0).numpy()
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))
