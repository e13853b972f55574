"""`fifth train video`: clips of a folder into a network of `fifth-video`, scored and drawn on the way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
import torch

from encoders.training.video_training import (
    Progress,
    VideoTraining,
    as_uint8,
    train_video_network,
)
from encoders.video_network import CHUNK_FRAMES, VideoNetwork
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
    steps: int = 4000,
    batch: int = 2,
    seed: int = 0,
    crop: int = 128,
    size: int = 256,
    device: str = "cpu",
    quiet: bool = False,
    training: VideoTraining | None = None,
    score_every: int = 400,
) -> str:
    """Train on all recordings and pictures below a folder, and write the weights.

    Beside OUT stand its state (to go on from), `.plateau` (to go on from with more steps) and, at each
    scoring, a picture: original above reconstruction.

    Args:
        data: the folder.
        out: the .safetensors file.
        held_out: a folder to score on; None: every tenth source of `data` is held out.
        steps: in all.
        batch: crops per step.
        seed: of all that is drawn.
        crop: edge of a crop, in pixels; a multiple of 16.
        size: edge to which frames are scaled, in pixels.
        device: `cpu` or `cuda`.
        quiet: whether to say nothing.
        training: other settings than the default ones.
        score_every: steps between two scorings.

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
    seen, scored = _clips(data, held_out, size, quiet)
    sources = len({clip.source for clip in seen})
    say(f"{len(seen)} clips of {sources} sources; {len(scored)} chunks to score on")
    settings = asdict(training or VideoTraining()) | {"edge": crop, "batch": batch, "seed": seed}
    settings["shape"] = (training or VideoTraining()).shape
    settings["clips_sha256"] = _digest(seen)
    told = VideoTraining(**settings)
    chunks = [torch.from_numpy(clip.frames) for clip in scored]
    network = train_video_network(
        told,
        [torch.from_numpy(clip.frames) for clip in seen],
        chunks,
        steps,
        out.with_name(out.name + ".state"),
        torch.device(device),
        lambda progress: say(progress_line(progress)),
        lambda step, network: _draw(network, chunks[:SHOWN], out.with_name(f"{out.stem}-{step:06d}.png")),
        score_every=score_every,
    )
    about = {
        "encoder": "fifth-video",
        "shape": json.dumps(asdict(told.shape), sort_keys=True),
        "training": json.dumps(asdict(told) | {"steps": steps, "device": device}, sort_keys=True),
    }
    halves = {name: value.to(torch.float16) for name, value in network.state_dict().items()}
    sha256 = write_weights(out, halves, about)
    say(f"{out}: sha256 {sha256}")
    return sha256


def progress_line(progress: Progress) -> str:
    """Return a line for people."""
    line = f"step {progress.step} of {progress.steps}, loss {progress.loss:.4f}"
    if progress.held_out_db:
        line += ", held out " + " / ".join(f"{db:.2f}" for db in progress.held_out_db) + " dB"
    return line


def _clips(
    data: Path, held_out: Path | None, size: int, quiet: bool
) -> tuple[list[TrainingClip], list[TrainingClip]]:
    """Return clips to train on and chunks to score on; no source is in both."""
    seen = list(picture_clips(data, size, frames=FRAMES))
    if held_out is None:
        sources = sorted({clip.source for clip in seen})
        apart = set(sources[HELD_OUT_SHARE // 2 :: HELD_OUT_SHARE])
        others = [clip for clip in seen if clip.source in apart]
        seen = [clip for clip in seen if clip.source not in apart]
    else:
        others = list(picture_clips(held_out, size, frames=CHUNK_FRAMES, most_of_each=2))
    whole = [clip for clip in others if len(clip.frames) >= CHUNK_FRAMES]
    step = max(1, len(whole) // MOST_HELD_OUT)
    scored = [TrainingClip(clip.source, clip.frames[:CHUNK_FRAMES]) for clip in whole[::step]]
    return seen, scored[:MOST_HELD_OUT]


def _digest(clips: list[TrainingClip]) -> str:
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(clip.frames.tobytes())
    return digest.hexdigest()


def _draw(network: VideoNetwork, chunks: list[torch.Tensor], path: Path) -> None:
    """Write a picture: the middle frame of each chunk, and below it what comes back of 1, 2, ... stages."""
    import cv2

    if not chunks:
        return
    device = next(network.parameters()).device
    columns = []
    with torch.no_grad():
        for chunk in chunks:
            middle = len(chunk) // 2
            rows = [chunk[middle]]
            places = network.places(chunk[None].to(device, torch.float32) / 127.5 - 1, network.shape.stages)
            counts = range(1, network.shape.stages + 1)
            rows += [as_uint8(network.frames(places[..., :n, :])[0, middle]).cpu() for n in counts]
            columns.append(torch.cat(rows, dim=1))
    picture = torch.cat(columns, dim=2).permute(1, 2, 0).numpy()
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))
