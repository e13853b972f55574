r"""Train a small world model on camera, microphone and joints of a robot, and let it go on by itself.

    python examples/make_recordings.py recordings
    fifth shard recordings/robots world --video frames-dct --size 64 --fps 4 --signal-hz 10 --clip-seconds 1 \
        --map camera=/camera/image/compressed --map microphone=/audio \
        --map action=/joint_states:position,velocity
    python examples/train_world_model.py world run              about two minutes on two free cores
    torchrun --nproc-per-node 2 examples/train_world_model.py world run

Stop it at any time and run it again, with as many processes as you like: it goes on with the next batch. At
the end it takes the first half of a clip, makes up the second, and turns both into `run/continuation.mp4`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from small_gpt import SmallGpt
from torch import Tensor, distributed

from encoders import encoder_for, reconstruct_clip
from shards import Dataset, TokenStream, Vocabulary, open_dataset

TRACKS = ["action", "camera", "microphone"]
SLOT_NS = 500_000_000


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a dataset with the tracks action, camera and microphone")
    parser.add_argument("run", type=Path, help="a folder for the checkpoint, the loss curve and the film")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rows", type=int, default=8, help="rows of a batch, over all processes")
    parser.add_argument("--length", type=int, default=512, help="ids of a row")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--save-every", type=int, default=25)
    parser.add_argument("--stop-after", type=int, default=0, help="stop at this step, as if interrupted")
    return parser.parse_args()


def mean_over_ranks(model: SmallGpt, nats: Tensor, count: Tensor) -> float:
    """Make gradients and loss those of the whole batch, however many processes share it."""
    sums = [nats.detach(), count, *(p.grad for p in model.parameters() if p.grad is not None)]
    flat = torch.cat([part.double().reshape(-1) for part in sums])
    if distributed.is_initialized():
        distributed.all_reduce(flat)
    whole = flat[0] / flat[1]
    at = 2
    for parameter in model.parameters():
        if parameter.grad is not None:
            size = parameter.numel()
            parameter.grad.copy_((flat[at : at + size] / flat[1]).view_as(parameter))
            at += size
    return float(whole)


def train(given: argparse.Namespace, main: bool) -> tuple[SmallGpt, Vocabulary, list[float]]:
    """Train to the last step, from the checkpoint where there is one."""
    file = given.run / "checkpoint.pt"
    stream = TokenStream(given.dataset, tracks=TRACKS, global_batch=given.rows, seed=1, steps=given.steps)
    stream = stream.packed(given.length, slot_ns=SLOT_NS)
    torch.manual_seed(1)
    model = SmallGpt(stream.vocabulary.size, given.width, given.depth)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    curve: list[float] = []
    if file.exists():
        saved = torch.load(file, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        stream.load_state_dict(json.loads(saved["stream"]))
        curve = saved["curve"]
        say(main, f"going on after step {len(curve)}")
    elif main:
        given.run.mkdir(parents=True, exist_ok=True)
        stream.vocabulary.save(given.run / "vocabulary.json")
    last = min(given.stop_after or given.steps, given.steps)
    for batch in stream if len(curve) < last else ():
        step = int(batch["step"])
        for group in optimizer.param_groups:
            group["lr"] = (
                2e-3 * min(1, (step + 1) / 20) * (0.55 + 0.45 * math.cos(math.pi * step / given.steps))
            )
        optimizer.zero_grad()
        nats, count = model(tensor_of(batch["tokens"]), tensor_of(batch["position_ids"]))
        nats.backward()
        curve.append(mean_over_ranks(model, nats, count))
        optimizer.step()
        if step % 10 == 0 or step + 1 == given.steps:
            say(main, f"step {step:4d}  loss {curve[-1]:.3f}")
        if main and (len(curve) % given.save_every == 0 or len(curve) == last):
            save(file, model, optimizer, stream.state_after(batch), curve)
        if len(curve) == last:
            break
    return model, stream.vocabulary, curve


def save(
    file: Path, model: SmallGpt, optimizer: torch.optim.Optimizer, state: Any, curve: list[float]
) -> None:
    """Write the checkpoint whole: what a kill leaves is the one before."""
    parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(parts | {"stream": json.dumps(state), "curve": curve}, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)
    (file.parent / "curve.json").write_text(json.dumps(curve))


def tensor_of(array: Any) -> Tensor:
    """Return a batch's array as int64."""
    return torch.from_numpy(np.asarray(array).astype(np.int64))


@torch.no_grad()
def continued(model: SmallGpt, vocabulary: Vocabulary, ids: np.ndarray, keep: int, length: int) -> np.ndarray:
    """Return a clip whose ids from `keep` on are the model's.

    When which track speaks, and how much, stays as it was recorded; what it says is made up.
    """
    torch.set_num_threads(1)  # one id at a time is too little to share
    made = torch.from_numpy(ids.astype(np.int64))
    chance = torch.Generator().manual_seed(2)
    ranges = [vocabulary.codes_of(track.name) for track in vocabulary.tracks]
    memories: list[list[Tensor]] = [[] for _ in model.blocks]
    begin = max(0, keep - length)
    known = model.go_on(made[begin:keep], begin, memories, length)
    for place in range(keep, len(made)):
        allowed = next((codes for codes in ranges if int(made[place]) in codes), None)
        if allowed is not None:
            made[place] = model.choose(known, allowed, chance)
        known = model.go_on(made[place : place + 1], place, memories, length)
    return made.numpy()


def first_clip(dataset: str, vocabulary: Vocabulary) -> tuple[np.ndarray, int]:
    """Return the ids of a whole clip, and where its second half begins."""
    row = next(
        iter(
            TokenStream(dataset, tracks=TRACKS, shuffle_window=0, epochs=1).packed(
                8192, vocabulary, slot_ns=SLOT_NS
            )
        )
    )
    stop = int(np.argmax(row["tokens"][0] == vocabulary.end_clip)) + 1
    ids = np.asarray(row["tokens"][0][:stop])
    starts = np.flatnonzero(ids == vocabulary.begin(TRACKS[0]))
    return ids, int(starts[len(starts) // 2])


def write_film(dataset: Dataset, vocabulary: Vocabulary, ids: np.ndarray, out: Path) -> None:
    """Turn a clip's ids back into pictures and sound."""
    codes = vocabulary.clips_in(ids)[0]
    layout = next(layout for layout in dataset.layouts.values() if set(TRACKS) <= set(layout.tracks))
    media = {}
    for name in ("camera", "microphone"):
        encoder = encoder_for(dataset.spec(layout.name, name))
        media[name] = reconstruct_clip(encoder, codes[name]).numpy()
    rate = Fraction(layout.track("camera")["rate"])
    with av.open(str(out), "w") as film:
        video = film.add_stream("libx264", rate=rate, options={"crf": "16"})
        video.height, video.width = media["camera"].shape[2:]
        video.pix_fmt = "yuv420p"
        audio_rate = int(Fraction(layout.track("microphone")["rate"]))
        audio = film.add_stream("aac", rate=audio_rate, layout="mono")
        for number, picture in enumerate(media["camera"]):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture.transpose(1, 2, 0)), format="rgb24"
            )
            frame.pts, frame.time_base = number, 1 / rate
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(media["microphone"]), "fltp", "mono")
        sound.sample_rate, sound.pts = audio.rate, 0
        film.mux(audio.encode(sound))
        film.mux(audio.encode(None))


def say(main: bool, text: str) -> None:
    """Print, in one of the processes."""
    if main:
        print(text, flush=True)


def run() -> None:
    """Train, then let the model go on with a clip."""
    given = options()
    if "RANK" in os.environ:  # started by torchrun
        distributed.init_process_group("gloo")
    main = not distributed.is_initialized() or distributed.get_rank() == 0
    model, vocabulary, curve = train(given, main)
    if main and len(curve) < given.steps:
        print(f"stopped after step {len(curve)}; run the same command again to go on")
    elif main:
        print(f"loss {curve[0]:.3f} -> {curve[-1]:.3f} in {len(curve)} steps")
        ids, half = first_clip(given.dataset, vocabulary)
        film = given.run / "continuation.mp4"
        write_film(
            open_dataset(given.dataset),
            vocabulary,
            continued(model, vocabulary, ids, half, given.length),
            film,
        )
        print(f"the second half of {film} is made up")
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    run()
