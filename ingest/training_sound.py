"""`fifth train audio`: recordings below a folder to the weights of `fifth-audio`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from ingest.clips import Sampling, Wish, read_clips
from ingest.discovery import Walk, find_recordings
from ingest.errors import CannotDecode, CannotOpen, WrongUse
from ingest.opening import open_recording
from ingest.sampling.clip import SoundClip, Window
from ingest.timing import NS

if TYPE_CHECKING:
    from encoders.training.sound import SoundTraining

MOST_SECONDS = 180
"""Of one recording: what is longer is taken from its middle, so that memory is bounded."""
SAVED_EVERY = 100
SCORED_EVERY = 200
SAID_EVERY = 20

Says = Callable[[str], None]


def read_sound(folder: Path, rate: int, says: Says) -> dict[str, np.ndarray]:
    """Return all sound below a folder, float32 [N] mono at this rate, by `recording:track`.

    Recordings that can't be read are said and left out.
    """
    found: dict[str, np.ndarray] = {}
    for candidate in find_recordings([folder], Walk()):
        try:
            found |= {
                f"{candidate.name}:{track}": samples
                for track, samples in _sound_of(candidate.paths, candidate.episode, rate).items()
            }
        except (CannotOpen, CannotDecode) as error:
            says(f"{candidate.name}: left out: {error}")
    return found


def _sound_of(paths: tuple[Path, ...], episode: int | None, rate: int) -> dict[str, np.ndarray]:
    with open_recording(paths, episode=episode) as source:
        recording = source.probe()
        wishes = [Wish(track.name, track) for track in recording.tracks if track.medium == "sound"]
        if not wishes:
            return {}
        too_long = max(0, recording.stop_ns - recording.origin_ns - MOST_SECONDS * NS)
        window = Window(
            0, recording.origin_ns + too_long // 2, recording.stop_ns - (too_long - too_long // 2)
        )
        sampling = Sampling(sample_rate=rate, channels=1)
        clips = read_clips(source, wishes, [window], sampling, lambda _: None)
        return {
            name: media.samples[0] for _, name, media in clips if isinstance(media, SoundClip) and media.valid
        }


def train_audio(
    data: Path,
    out: Path,
    held_out: Path | None = None,
    steps: int = 2000,
    batch: int = 8,
    seed: int = 0,
    device: str = "cpu",
    says: Says = lambda line: None,
    shape: Mapping[str, int] | None = None,
) -> str:
    """Train on the sound below `data`, and write `out`; return its sha256.

    The state of the training lies beside `out` (`.state`) while it runs: the same command goes on from it.
    With more `steps` it goes on, too, as long as the learning rate had not begun to fall: that is the same
    run as if it had had them from the start.

    Raises:
        WrongUse: there is no sound, or the state is of another recipe or other recordings.
    """
    import torch

    from encoders.sound_network import RATE, SoundShape
    from encoders.training.sound import SoundRecipe, SoundTraining
    from encoders.weight_files import write_weights

    recordings = read_sound(data, RATE, says)
    scored = read_sound(held_out, RATE, says) if held_out else {}
    if not recordings:
        raise WrongUse(f"{data}: no sound to train on")
    seconds = sum(len(sound) for sound in recordings.values()) / RATE
    says(f"{seconds:.0f} s of sound in {len(recordings)} tracks")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are then made in one order, whatever the machine has
    try:
        recipe = SoundRecipe(steps=steps, batch=batch, seed=seed, shape=SoundShape(**(shape or {})))
        training = SoundTraining(recipe, recordings, device)
        state = out.with_name(out.name + ".state")
        _restore(training, state, recordings)
        _train(training, state, recordings, scored, says)
        about = {"encoder": "fifth-audio", "shape": json.dumps(recipe.shape.to_json(), sort_keys=True)}
        about["recipe"] = json.dumps(recipe.to_json(), sort_keys=True)
        halves = {name: tensor.to(torch.float16) for name, tensor in training.tensors().items()}
        sha256 = write_weights(out, halves, about)
    finally:
        torch.set_num_threads(threads)
    says(f"wrote {out}, sha256 {sha256}")
    return sha256


def _train(
    training: SoundTraining,
    state: Path,
    recordings: Mapping[str, np.ndarray],
    scored: Mapping[str, np.ndarray],
    says: Says,
) -> None:
    started, first, losses = monotonic(), training.step, []

    def told(step: int, figures: Mapping[str, float]) -> None:
        losses.append(figures["loss"])
        last = step == training.recipe.steps
        if step % SAID_EVERY == 0 or last:
            each = (monotonic() - started) / (step - first)
            mean = sum(losses[-SAID_EVERY:]) / len(losses[-SAID_EVERY:])
            says(f"step {step} of {training.recipe.steps}: loss {mean:.4f}, {each:.2f} s a step")
        if scored and (step % SCORED_EVERY == 0 or last):
            score = ", ".join(f"{name} {value:.4f}" for name, value in training.score(scored).items())
            says(f"step {step}: held out: {score}")
        if step % SAVED_EVERY == 0 or last:
            _save(training, state, recordings)

    training.run(told)


def _identity(training: SoundTraining, recordings: Mapping[str, np.ndarray]) -> str:
    """Return what must be the same for a state to be gone on from; the number of steps may differ."""
    recipe = replace(training.recipe, steps=1).to_json()
    lengths = {name: len(recordings[name]) for name in sorted(recordings)}
    return json.dumps({"recipe": recipe, "recordings": lengths}, sort_keys=True)


def _save(training: SoundTraining, state: Path, recordings: Mapping[str, np.ndarray]) -> None:
    from encoders.weight_files import write_weights

    write_weights(state, training.state(), {"of": _identity(training, recordings)})


def _restore(training: SoundTraining, state: Path, recordings: Mapping[str, np.ndarray]) -> None:
    from encoders.weight_files import weights_from

    if not os.path.lexists(state):
        return
    kept = weights_from(state)
    if kept.about.get("of") != _identity(training, recordings):
        raise WrongUse(f"{state} is of another recipe or other recordings: remove it, or give another --out")
    training.restore(kept.tensors)
