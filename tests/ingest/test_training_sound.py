"""`fifth train audio`: a small run of the real thing, on made sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from encoders import load_encoder
from encoders.launch import encode_clip, reconstruct_clip
from encoders.sound_network import RATE, SoundShape
from encoders.training.made_sound import made_sound
from encoders.training.sound import SoundRecipe, SoundTraining
from encoders.training.sound_crops import SoundCrops
from encoders.training.sound_losses import sound_loss
from ingest.errors import WrongUse
from ingest.training_sound import read_sound, train_audio

SHAPE = SoundShape(
    width=32, blocks=2, decoder_width=32, decoder_blocks=2, expansion=2, kernel=3, latent=16, stages=4
)
RECIPE = SoundRecipe(steps=10, batch=2, hops=20, shape=SHAPE)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Training is the same, bit for bit, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sounds(count: int = 2) -> dict[str, np.ndarray]:
    return {f"made-{i}": made_sound(np.random.default_rng(i), 3 * RATE, RATE) for i in range(count)}


def write_sound(path: Path, samples: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples[None] * 32767).astype(np.int16), "s16", "mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sound")
    for name, samples in sounds().items():
        write_sound(made / f"{name}.wav", samples)
    return made


def test_going_on_is_not_stopping() -> None:
    """A run that is cut off after any step and goes on ends with the weights of one that is not."""
    whole = SoundTraining(RECIPE, sounds())
    losses: list[float] = []
    whole.run(lambda _, figures: losses.append(figures["loss"]))
    assert len(losses) == 10
    for cut in (1, 7):
        first = SoundTraining(RECIPE, sounds())
        first.run(lambda *_: None, until=cut)
        second = SoundTraining(replace(RECIPE, steps=10), sounds())
        second.restore({name: value.clone() for name, value in first.state().items()})
        second.run(lambda *_: None)
        ours, theirs = second.tensors(), whole.tensors()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_the_loss_falls_and_so_does_the_held_out_score() -> None:
    """Some dozens of steps make a small network better on sound that it has not seen."""
    training = SoundTraining(replace(RECIPE, steps=60, batch=4), sounds(6))
    held_out = {"other": made_sound(np.random.default_rng(99), 3 * RATE, RATE)}
    before = training.score(held_out)
    losses: list[float] = []
    training.run(lambda _, figures: losses.append(figures["loss"]))
    assert np.mean(losses[-15:]) < 0.9 * np.mean(losses[:15])
    assert training.score(held_out)["mel_l1"] < 0.9 * before["mel_l1"]


def test_the_start_is_a_transform_coder() -> None:
    """Untrained, more quantisers already bring back more of the spectrum."""
    training = SoundTraining(RECIPE, sounds(4))
    held_out = {"other": made_sound(np.random.default_rng(98), 3 * RATE, RATE)}
    scores = [training.score(held_out, stages)["mel_l1"] for stages in (1, 4)]
    assert scores[1] < scores[0]


def test_crops_follow_from_seed_and_step() -> None:
    """The same step of the same seed draws the same crops, in range; another one, others."""
    crops = SoundCrops(sounds(), RATE, context=480, length=4800, batch=8, seed=3)
    later = crops.at(5)
    assert torch.equal(crops.at(5), later)
    assert not torch.equal(crops.at(6), later)
    assert later.shape == (8, 5280)
    assert float(later.abs().max()) <= 1
    with pytest.raises(ValueError, match="no sound to train on"):
        SoundCrops({}, RATE, 0, 1, 1, 0)


def test_the_loss_is_none_where_nothing_differs() -> None:
    """Sound compared with itself differs by nothing; silence and noise, by something finite."""
    sound = torch.from_numpy(sounds(1)["made-0"])[None, : 2 * RATE]
    assert float(sound_loss(sound, sound, RATE)) == 0
    assert 0 < float(sound_loss(torch.zeros_like(sound), sound, RATE)) < 1000
    assert 0 < float(sound_loss(sound, torch.zeros_like(sound), RATE)) < 1000


def test_the_command_makes_the_same_file_again(folder: Path, tmp_path: Path) -> None:
    """Weights made twice are equal byte by byte, and load as an encoder."""
    shape = SHAPE.to_json()
    hashes = [
        train_audio(folder, tmp_path / f"{i}.safetensors", steps=2, batch=2, shape=shape) for i in (1, 2)
    ]
    assert hashes[0] == hashes[1]
    encoder = load_encoder("fifth-audio", weights=str(tmp_path / "1.safetensors"))
    assert encoder.spec.weights_sha256 == hashes[0]
    clip = torch.from_numpy(sounds(1)["made-0"])[None]
    tokens = encode_clip(encoder, clip)
    assert reconstruct_clip(encoder, tokens.tokens, tokens.valid).shape == clip.shape


def test_another_recipe_does_not_go_on(folder: Path, tmp_path: Path) -> None:
    """A state is gone on from with more steps, and refused with another seed."""
    out = tmp_path / "a.safetensors"
    lines: list[str] = []
    train_audio(folder, out, steps=2, batch=2, shape=SHAPE.to_json())
    train_audio(folder, out, steps=3, batch=2, shape=SHAPE.to_json(), says=lines.append)
    assert any("step 3 of 3" in line for line in lines)
    with pytest.raises(WrongUse, match="another recipe or other recordings"):
        train_audio(folder, out, steps=3, batch=2, seed=1, shape=SHAPE.to_json())


def test_sound_is_read_by_name(folder: Path, tmp_path: Path) -> None:
    """Every track of every recording comes at the wanted rate; a folder without sound is refused."""
    found = read_sound(folder, 16_000, lambda line: pytest.fail(line))
    assert sorted(found) == ["made-0.wav:audio", "made-1.wav:audio"]
    assert {len(sound) for sound in found.values()} == {48_000}
    with pytest.raises(WrongUse, match="no sound to train on"):
        train_audio(tmp_path, tmp_path / "x.safetensors")
